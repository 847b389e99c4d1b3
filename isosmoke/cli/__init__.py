"""The command line: commands by name, each in its own file; errors become text here only."""

import os
import sys
from collections.abc import Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import click

from isosmoke import __version__
from isosmoke.errors import ExitCode, IsosmokeError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_HERE = Path(__file__).parent

GROUPS = {
    "scenarios": "Run scenarios",
    "gating": "Gate tasks",
    "past_runs": "Look at past runs",
    "project": "Set up a project or a machine",
}
"""The packages of commands, each with its heading in `--help`."""


@cache
def commands() -> Mapping[str, str]:
    """Map the name of every command to its module or package: each one of a group is a command."""
    return {
        name.replace("_", "-"): f"{group}.{name}"
        for group in GROUPS
        for _, name, _ in iter_modules([str(_HERE / group)])
    }


def summary(name: str) -> str:
    """Return the first line of a command's module, which is not imported for it."""
    module = _HERE / commands()[name].replace(".", "/")
    file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    with file.open(encoding="utf-8") as source:
        return source.readline().strip().strip('"')


def _loaded(name: str) -> click.Command:
    command: click.Command = import_module(f"isosmoke.cli.{commands()[name]}").command
    return command


class _Commands(click.Group):
    """Imports a command when it is used, so that `--help` and completion stay light."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in commands():
            return None
        if ctx.resilient_parsing:
            from isosmoke.cli import completion_cache

            return completion_cache.kept(cmd_name, partial(_loaded, cmd_name))
        return _loaded(cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[Any]]":
        from click.shell_completion import CompletionItem

        names = [name for name in commands() if name.startswith(incomplete)]
        items = [CompletionItem(name, help=summary(name)) for name in names]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group, heading in GROUPS.items():
            names = [name for name, module in commands().items() if module.startswith(f"{group}.")]
            with formatter.section(heading):
                formatter.write_dl([(name, summary(name)) for name in names])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in commands() and not ctx.resilient_parsing:
            ctx.fail(f"no command '{args[0]}'; there are {', '.join(commands())}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except IsosmokeError as error:
            complain(error)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            mute()
            ctx.exit(ExitCode.INFRASTRUCTURE)
        except OSError as error:
            mute()
            complain(IsosmokeError(str(error)))
            ctx.exit(ExitCode.INFRASTRUCTURE)


def complain(error: IsosmokeError) -> None:
    """What is wrong, and what to do next, on stderr, if that takes it."""
    try:
        click.echo(f"isosmoke: {error.message}", err=True)
        if error.hint:
            click.echo(f"  try: {error.hint}", err=True)
    except OSError:
        mute()


def mute() -> None:
    """Redirect to nowhere whichever of stdout and stderr cannot be flushed.

    Python flushes both when it exits, and where that fails it exits with 120.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="isosmoke %(version)s")
@click.option("--host", metavar="URL", help="The daemon of docker and podman, by its socket.")
@click.option("--context", metavar="NAME", help="The daemon of docker, by a Docker context.")
def cli(host: str | None, context: str | None) -> None:
    """Run smoke scenarios in fresh sandboxes, with the live binary and exact leak verdicts.

    \b
    Exit codes: 0 nothing blocks · 1 a scenario blocks · 2 usage or manifest
    4 nothing selected · 77 everything was skipped · 125 engine or
    infrastructure · 130, 143 interrupted
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    if host or context:
        from isosmoke.engines.docker import endpoint

        os.environ.update(endpoint.asked(host, context))
