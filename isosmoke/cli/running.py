"""Options, progress display and repeat commands shared by the commands that run scenarios."""

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
    """A click command that takes everything after `--` as a command line, not as names."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, has_dashes, argv = _split(args)
        if has_dashes and not argv:
            raise UsageError("no command after --", hint=f"{ctx.command_path} -- cargo test")
        ctx.obj = tuple(argv)
        return super().parse_args(ctx, own)


def _split(args: list[str]) -> tuple[list[str], bool, list[str]]:
    if "--" not in args:
        return args, False, []
    index = args.index("--")
    return args[:index], True, args[index + 1 :]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The values of `--binary` and `--engine`.

    If `binary` is None, $ISOSMOKE_WG and PATH decide.
    """

    binary: str | None = None
    engine: str = AUTO


_ENGINE_HELP = (
    "Select the engine; auto is bubblewrap for the host and for imported images, else docker."
)


def engine_option(
    help_text: str = _ENGINE_HELP,
) -> Callable[[Command], Command]:
    """Return a decorator that adds `--engine` to a command, with this help text."""
    choice = click.Choice([AUTO, *ENGINES])
    return click.option("--engine", type=choice, default=AUTO, help=help_text)


def engine_options(command: Command) -> Command:
    """Add the options of an `EngineOptions` to a command."""
    binary = click.option(
        "--binary",
        metavar="PATH",
        help="Test this live binary.  [default: $ISOSMOKE_WG, else wg on PATH]",
    )
    return binary(engine_option()(command))


def build_repeat_command(
    manifest: Path | None, options: EngineOptions, *arguments: str
) -> tuple[str, ...]:
    """Return `isosmoke run` with this manifest, binary, engine and daemon, then `arguments`."""
    return repeat_command.build_run_command(
        *arguments,
        manifest=str(manifest or ""),
        binary=options.binary or "",
        engine="" if options.engine == AUTO else options.engine,
        daemon=endpoint.build_arguments(os.environ),
    )


def create_progress(repeat: Repeat, *, stderr: bool = False, live: bool = True) -> Progress:
    """Return a display of run events on stdout or stderr; `live` redraws terminal lines."""
    console = Printer(stderr=stderr)
    return Progress(console, live=live and console.is_live, repeat=repeat)
