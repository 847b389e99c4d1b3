"""The options of the commands that run scenarios, and the command line that repeats one."""

import os
from typing import Any

import click

from isosmoke.engines import ENGINES
from isosmoke.engines.docker import endpoint
from isosmoke.errors import UsageError
from isosmoke.execution.session import AUTO
from isosmoke.results import repeat_command


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


binary_option = click.option(
    "--binary", metavar="PATH", help="The live binary; else $ISOSMOKE_WG, else wg."
)

engine_option = click.option(
    "--engine",
    type=click.Choice([AUTO, *ENGINES]),
    default=AUTO,
    help="auto: bubblewrap for the host's image and imported ones, docker for any other.",
)


def repeating(options: dict[str, Any], *words: str) -> tuple[str, ...]:
    """`isosmoke run` with what these options name of a manifest, binary, engine and daemon."""
    return repeat_command.command(
        *words,
        manifest=str(options["manifest_path"] or ""),
        binary=options["binary"] or "",
        engine="" if options["engine"] == AUTO else options["engine"],
        daemon=endpoint.options(os.environ),
    )
