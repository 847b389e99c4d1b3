"""What commands that run scenarios share: their options, their progress, the repeating command."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from isosmoke.cli.console import Printer
from isosmoke.cli.options import Command
from isosmoke.engines import AUTO, ENGINES
from isosmoke.engines.docker import endpoint
from isosmoke.errors import UsageError
from isosmoke.reports.progress import Progress
from isosmoke.results import repeat_command
from isosmoke.results.repeat_command import Repeat


class WithCommand(click.Command):
    """Everything after `--` is a command, not a name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, found, rest = _split(args)
        if found and not rest:
            raise UsageError("no command after --", hint=f"{ctx.command_path} -- cargo test")
        ctx.obj = tuple(rest)
        return super().parse_args(ctx, own)


def _split(args: list[str]) -> tuple[list[str], bool, list[str]]:
    if "--" not in args:
        return args, False, []
    at = args.index("--")
    return args[:at], True, args[at + 1 :]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What is tested, and on which engine: `--binary` and `--engine`.

    `binary` None leaves it to $ISOSMOKE_WG and PATH.
    """

    binary: str | None = None
    engine: str = AUTO


_AUTO_MEANS = "auto: bubblewrap for the host's image and imported ones, docker for any other."


def engine_option(
    meaning: str | None = _AUTO_MEANS,
) -> Callable[[Command], Command]:
    """Return the decorator that gives a command `--engine`, explained by `meaning`."""
    choice = click.Choice([AUTO, *ENGINES])
    return click.option("--engine", type=choice, default=AUTO, help=meaning)


def engine_options(command: Command) -> Command:
    """Give a command the options of an `EngineOptions`."""
    binary = click.option(
        "--binary", metavar="PATH", help="The live binary; else $ISOSMOKE_WG, else wg."
    )
    return binary(engine_option()(command))


def repeating(manifest: Path | None, options: EngineOptions, *words: str) -> tuple[str, ...]:
    """Return `isosmoke run` with this manifest, binary, engine and daemon, then `words`."""
    return repeat_command.command(
        *words,
        manifest=str(manifest or ""),
        binary=options.binary or "",
        engine="" if options.engine == AUTO else options.engine,
        daemon=endpoint.options(os.environ),
    )


def progress(repeat: Repeat, *, stderr: bool = False, live: bool = True) -> Progress:
    """Return what shows a run's events on stdout or stderr; `live` redraws lines of a terminal."""
    console = Printer(stderr=stderr)
    return Progress(console, live=live and console.is_live, repeat=repeat)
