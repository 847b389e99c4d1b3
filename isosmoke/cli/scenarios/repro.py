"""Sit in a scenario's own sandbox, before its script or after."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from os.path import relpath
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from isosmoke.authoring import editing
from isosmoke.cli.console import Printer
from isosmoke.cli.options import manifest_option, selected
from isosmoke.cli.running import WithCommand, binary_option, engine_option, repeating
from isosmoke.errors import ExitCode, IsosmokeError, UsageError
from isosmoke.execution.session import Request
from isosmoke.host.caller import Caller
from isosmoke.interrupt import Interrupt, interruptible
from isosmoke.keeper.client import StoppedError
from isosmoke.manifest.discovery import located
from isosmoke.manifest.models import Scenario
from isosmoke.reports.summary import Hanging
from isosmoke.repro import bundle, recording, session, target
from isosmoke.repro.session import Manner, Sat
from isosmoke.repro.target import Case
from isosmoke.repro.terminal import seat, write
from isosmoke.text import command_line

_Saving = tuple[Path, Scenario, str]
"""The manifest, the entry to come, and the command that runs it."""


@click.command(cls=WithCommand, options_metavar="[OPTIONS]")
@click.argument("name", required=False)
@click.option(
    "--before/--after",
    "before",
    default=True,
    help="Before the script, or after it beside what it left.  [default: --before]",
)
@click.option("--thaw", is_flag=True, help="What the script left goes on, and is not stopped.")
@click.option("--image", help="Another environment than the scenario's.")
@binary_option
@engine_option
@click.option(
    "--script",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A script that is no scenario yet.",
)
@manifest_option
@click.option("--save", metavar="NAME", help="Make what was typed a scenario of that name.")
@click.option("--owner", "owners", multiple=True, metavar="TASK", help="A task that it guards.")
@click.option("--assertion", metavar="TEXT", help="What must hold, in one sentence.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Sit in the sandbox of a scenario: of the manifest (NAME), a past run (RUN/NAME), a bundle.

    Or with `--script FILE`, `-- COMMAND...` or nothing in a sandbox for what is no scenario yet.
    At a terminal it is a shell with one of its own, else its lines come from stdin. The exit code
    is the shell's.
    """
    manner = Manner(
        after=not options["before"],
        thaw=options["thaw"],
        seat=seat,
        say=_say,
        echo=partial(write, sys.stderr.fileno()),
    )
    with interruptible() as interrupt, _chosen(ctx.obj, options) as chosen:
        saving = _saving(chosen, options)
        code = _exit_code(chosen, manner, interrupt, saving)
    ctx.exit(code)


def _say(line: str) -> None:
    """A fact too long for the terminal goes on below where it began."""
    head, fact = line[: session.INDENT], line[session.INDENT :]
    Printer(stderr=True).print(Hanging(Text(head), fact, session.INDENT))


def _exit_code(chosen: Case, manner: Manner, interrupt: Interrupt, saving: _Saving | None) -> int:
    try:
        sat = session.sit(chosen, manner, interrupt)
    except StoppedError as stopped:
        click.echo(f"isosmoke: ended by {stopped}", err=True)
        terminated = interrupt.reason == "SIGTERM"
        return ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED
    if saving:
        _save(*saving, sat)
    return sat.exit_code


def _saving(chosen: Case, options: dict[str, Any]) -> _Saving | None:
    """The manifest and the entry to come: what is wrong with them is said before anybody types."""
    if options["save"] is None:
        if options["owners"] or options["assertion"]:
            raise UsageError("--owner and --assertion are for --save NAME")
        return None
    surroundings = editing.surroundings(chosen.scenario)
    if chosen.request.manifest is None:
        # The deadline of what is in no manifest is for whoever types, and nobody chose it.
        del surroundings["timeout_seconds"]
    scenario = editing.drafted(
        options["save"],
        owners=options["owners"],
        assertion=options["assertion"] or f"As typed in isosmoke repro {chosen.scenario.name}.",
        **surroundings,
    )
    caller = Caller.here()
    path = options["manifest_path"] or located(caller.working, caller.environment)
    editing.check(path, scenario)
    return path, scenario, command_line(repeating(options, scenario.name))


def _save(path: Path, scenario: Scenario, run: str, sat: Sat) -> None:
    """What was typed is shown where it cannot be kept: nobody types it twice."""
    if not sat.typed:
        click.echo("isosmoke: nothing was typed that bash kept, so nothing is saved", err=True)
        return
    text = recording.script(scenario, sat.typed)
    try:
        script = editing.add(path, scenario, text)
    except IsosmokeError:
        click.echo(text, err=True)
        raise
    click.echo(f"{relpath(path)}: scenario {scenario.name!r} added", err=True)
    click.echo(
        f"{relpath(script)}: made; see that it fails while the bug is there: {run}", err=True
    )


@contextmanager
def _chosen(argv: tuple[str, ...], options: dict[str, Any]) -> Iterator[Case]:
    if sum(map(bool, (argv, options["script"], options["name"]))) > 1:
        raise UsageError("a name, --script or a command after --: give one of them")
    caller = Caller.here()
    request = Request(
        scenarios=(target.loose(argv, options["script"]),),
        binary=options["binary"],
        engine=options["engine"],
        argv=argv,
    )
    name: str = options["name"] or ""
    with ExitStack() as stack:
        if Path(name).is_file():
            found = stack.enter_context(bundle.opened(Path(name), caller, request))
        else:
            found = _named(name, caller, request, options["manifest_path"])
        yield target.with_image(found, options["image"]) if options["image"] else found


def _named(name: str, caller: Caller, request: Request, manifest_path: Path | None) -> Case:
    if not name:
        return Case(request=request, caller=caller)
    if "/" in name:
        return target.recorded(name, caller, request)
    manifest, scenarios = selected((name,), (), manifest_path)
    if len(scenarios) > 1:
        raise UsageError(f"{name} means {len(scenarios)} scenarios", hint="name one of them")
    return Case(
        request=replace(request, scenarios=scenarios, manifest=manifest.path), caller=caller
    )
