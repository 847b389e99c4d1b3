"""The command line: commands by name, each in its own file; errors become text here only."""

import os
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from isosmoke import __version__
from isosmoke.cli import streams
from isosmoke.errors import ExitCode, IsosmokeError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "run": "Run scenarios, or any command as one.",
    "repro": "Sit in a scenario's own sandbox, before its script or after.",
    "bundle": "Write one file that reproduces a scenario elsewhere.",
    "gate": "Say whether a task may be done: run what guards it.",
    "receipt": "Say whether a gate's verdict still holds.",
    "audit": "Name the done tasks that no receipt speaks for.",
    "report": "Make any report of a past run.",
    "list": "List the scenarios of a manifest.",
    "runs": "List the runs of the past.",
    "show": "Show a run again, or all that is known of a scenario.",
    "logs": "Print what a scenario printed.",
    "history": "Say what came of a scenario, run after run.",
    "schema": "Print the JSON schema of a manifest, or of what isosmoke writes.",
    "doctor": "Say what works here, and what would mend the rest.",
    "demo": "Show every kind of outcome, with nothing to install.",
    "done": "Mark a task done with wg, once its scenarios let it.",
    "bridge": "Gate every bare `wg done` by isolated runs.",
    "init": "Set a repository up: a manifest, a first scenario, the agents' rule.",
    "new": "Add a scenario, with a script that fails until it is written.",
    "image": "Keep clean environments, by name.",
    "check": "Refuse a manifest that lost or weakened something.",
    "agent-guide": "Print the rule for agents, for prompt templates.",
    "completion": "Make bash, zsh or fish complete isosmoke's words.",
    "sweep": "Remove what dead runs left behind.",
}


def _loaded(name: str) -> click.Command:
    command: click.Command = import_module(f"isosmoke.cli.{name.replace('-', '_')}").command
    return command


class _Commands(click.Group):
    """Imports a command when it is used, so that `--help` and completion stay light."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if ctx.resilient_parsing:
            from isosmoke.cli import outline

            return outline.kept(cmd_name, partial(_loaded, cmd_name))
        return _loaded(cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[Any]]":
        from click.shell_completion import CompletionItem

        named = [(name, text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=text) for name, text in named]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            ctx.fail(f"no command '{args[0]}'; there are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except IsosmokeError as error:
            complain(error)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            streams.mute()
            ctx.exit(ExitCode.INFRASTRUCTURE)
        except OSError as error:
            streams.mute()
            complain(IsosmokeError(str(error)))
            ctx.exit(ExitCode.INFRASTRUCTURE)


def complain(error: IsosmokeError) -> None:
    """What is wrong, and what to do next, on stderr, if that takes it."""
    try:
        click.echo(f"isosmoke: {error.message}", err=True)
        if error.hint:
            click.echo(f"  try: {error.hint}", err=True)
    except OSError:
        streams.mute()


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
        from isosmoke.engines import endpoint

        os.environ.update(endpoint.asked(host, context))
