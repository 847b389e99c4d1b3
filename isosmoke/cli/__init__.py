"""The command line: one module per command, and the only place where errors become text."""

import os
import re
import sys
from collections.abc import Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, NoReturn

import click

from isosmoke import __version__
from isosmoke.errors import ExitCode, IsosmokeError, convert_os_error
from isosmoke.inherited_state import importing
from isosmoke.text import suggest_match, wrap_words

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_HERE = Path(__file__).parent

CONFIGURED = frozenset(
    {
        *("run", "watch", "demo", "repro", "teeth", "stress", "bisect"),
        *("show", "history", "runs", "flaky"),
    }
)
"""The commands that read the user's configuration: none that gates, proves or audits."""

_HELP_ERRORS: tuple[type[click.UsageError], ...] = (
    (click.exceptions.NoArgsIsHelpError,)
    if hasattr(click.exceptions, "NoArgsIsHelpError")  # since click 8.2
    else ()
)
"""The errors that show the help of a command."""

GROUPS = {
    "scenarios": "Run scenarios",
    "examining": "Examine a scenario",
    "gating": "Gate tasks",
    "past_runs": "Inspect past runs",
    "project": "Set up a project or a machine",
}
"""The packages of commands, mapped to their headings in `--help`."""


@cache
def find_commands() -> Mapping[str, str]:
    """Map the name of every command to its module; each module of a group is a command."""
    return {
        name.replace("_", "-"): f"{group}.{name}"
        for group in GROUPS
        for _, name, _ in iter_modules([str(_HERE / group)])
    }


def read_summary(name: str) -> str:
    """Return the first line of a command's module without importing the module."""
    module = _HERE / find_commands()[name].replace(".", "/")
    file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    with file.open(encoding="utf-8") as source:
        return source.readline().strip().strip('"')


def _load(name: str) -> click.Command:
    """Import a command."""
    with importing():
        command: click.Command = import_module(f"isosmoke.cli.{find_commands()[name]}").command
    return command


class _Commands(click.Group):
    """The command group; it imports a command on first use to keep `--help` and completion fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(find_commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in find_commands():
            return None
        if ctx.resilient_parsing:
            from isosmoke.cli import command_outlines

            return command_outlines.load_command(cmd_name, partial(_load, cmd_name))
        return _load(cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[Any]]":
        from click.shell_completion import CompletionItem

        names = [name for name in find_commands() if name.startswith(incomplete)]
        items = [CompletionItem(name, help=read_summary(name)) for name in names]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group, heading in GROUPS.items():
            prefix = f"{group}."
            names = [name for name, module in find_commands().items() if module.startswith(prefix)]
            with formatter.section(heading):
                formatter.write_dl([(name, read_summary(name)) for name in names])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = find_commands()
        if args[0] not in names and ctx.resilient_parsing:
            return args[0], click.Command(args[0], add_help_option=False), []  # nothing to complete
        if args[0] not in names:
            suggestion = suggest_match(args[0], names) or f"; available: {', '.join(names)}"
            message = f"unknown command '{args[0]}'{suggestion}"
            ctx.fail(_wrap_for_stderr(message, start=len("Error: ")))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if isinstance(error, _HELP_ERRORS):
                raise
            suggestion = _suggest_choice(error)
            message = _wrap_for_stderr(f"{error.format_message()}{suggestion}", len("Error: "))
            raise click.UsageError(message, error.ctx) from error
        except IsosmokeError as error:
            print_error(error)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            silence_broken_streams()
            ctx.exit(ExitCode.INFRASTRUCTURE)
        except KeyboardInterrupt:
            ctx.exit(ExitCode.INTERRUPTED)
        except OSError as error:
            silence_broken_streams()
            print_error(convert_os_error(error))
            ctx.exit(ExitCode.INFRASTRUCTURE)
        except MemoryError:
            hint = "end other programs, or raise the limit of this shell: ulimit -v"
            print_error(IsosmokeError("there is not enough memory for isosmoke", hint))
            ctx.exit(ExitCode.INFRASTRUCTURE)


def _suggest_choice(error: click.UsageError) -> str:
    """Return a suggestion for a mistyped value of a parameter with fixed values; else empty."""
    if not isinstance(error, click.BadParameter):
        return ""
    mistyped = re.match(r"'(.*)' is not one of", error.message)
    if error.param is None or not isinstance(error.param.type, click.Choice) or not mistyped:
        return ""
    return suggest_match(mistyped[1], list(map(str, error.param.type.choices)))


def print_error(error: IsosmokeError) -> None:
    """Print the error and its hint to stderr; do nothing if stderr cannot be written."""
    try:
        for message, hint in error.parts:
            lines = f"isosmoke: {message}".splitlines()
            click.echo("\n".join(map(_wrap_for_stderr, lines)), err=True)
            if hint:
                click.echo(f"  try: {hint}", err=True)
    except OSError:
        silence_broken_streams()


def _wrap_for_stderr(line: str, start: int = 0) -> str:
    """Wrap a line at words if stderr is a terminal; it begins at column `start`."""
    if sys.stderr is None or not sys.stderr.isatty():
        return line
    width = os.get_terminal_size(sys.stderr.fileno()).columns
    return wrap_words(line, width, start=start, indent=2)


def silence_broken_streams() -> frozenset[int]:
    """Redirect stdout and stderr to /dev/null if they cannot be flushed.

    Python flushes both at exit, and exits with 120 if that fails. Return the descriptors of those
    whose reader has gone.
    """
    unread = set()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            with Path(os.devnull).open("wb") as devnull:
                os.dup2(devnull.fileno(), stream.fileno())
            if isinstance(error, BrokenPipeError):
                unread.add(stream.fileno())
    return frozenset(unread)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="isosmoke %(version)s")
@click.option("--host", metavar="URL", help="Set the socket of the docker or podman daemon.")
@click.option("--context", metavar="NAME", help="Select the docker daemon by Docker context.")
@click.pass_context
def cli(ctx: click.Context, /, *, host: str | None, context: str | None) -> None:
    """Run smoke scenarios in fresh sandboxes with the live binary and exact leak detection.

    \b
    Exit codes: 0 nothing blocks · 1 a scenario blocks · 2 usage or manifest error
    4 nothing selected · 77 everything skipped · 125 engine or infrastructure
    error · 130, 143 interrupted
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    if host or context:
        from isosmoke.engines import daemon_options

        os.environ.update(daemon_options.build_variables(host, context))
    if ctx.invoked_subcommand in CONFIGURED:
        from isosmoke.cli.configuration import click_defaults

        click_defaults.apply(ctx, ctx.invoked_subcommand, os.environ)


def run() -> NoReturn:
    """Run the command line and exit; report an unexpected error in a file, with exit code 125."""
    try:
        cli(prog_name="isosmoke")
    except Exception as error:  # noqa: BLE001 - any other error says nothing about a scenario
        from isosmoke.cli import bug_report

        print_error(bug_report.report(error, sys.argv))
        silence_broken_streams()
    sys.exit(ExitCode.INFRASTRUCTURE)
