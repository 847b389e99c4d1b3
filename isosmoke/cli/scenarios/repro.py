"""Sit in a scenario's own sandbox, before its script or after."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from os.path import relpath
from pathlib import Path

import click
from rich.text import Text

from isosmoke.authoring import new_scenario
from isosmoke.cli.console import Printer
from isosmoke.cli.options import ScenarioSelection, manifest_file, manifest_option, selected
from isosmoke.cli.running import EngineOptions, WithCommand, engine_options, repeating
from isosmoke.errors import ExitCode, IsosmokeError, UsageError
from isosmoke.execution.session import Request
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt, interruptible
from isosmoke.keeper.client import StoppedError
from isosmoke.manifest.models import Scenario
from isosmoke.reports.summary import Hanging
from isosmoke.repro import bundle, session, target, typed_script
from isosmoke.repro.session import Manner, Sat
from isosmoke.repro.shell_input import seat, write
from isosmoke.repro.target import Case
from isosmoke.text import command_line

_Saving = tuple[Path, Scenario, str]
"""The manifest, the entry to come, and the command that runs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Whose sandbox is opened, and how it is made: a name, a script, a command or none of them."""

    name: str
    argv: tuple[str, ...]
    script: Path | None
    image: str | None
    manifest: Path | None
    tested: EngineOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """The scenario that what was typed becomes; `name` None saves nothing."""

    name: str | None
    owners: tuple[str, ...]
    assertion: str | None


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
@engine_options
@click.option(
    "--script",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A script that is no scenario yet.",
)
@manifest_option()
@click.option("--save", metavar="NAME", help="Make what was typed a scenario of that name.")
@click.option("--owner", "owners", multiple=True, metavar="TASK", help="A task that it guards.")
@click.option("--assertion", metavar="TEXT", help="What must hold, in one sentence.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    name: str | None,
    before: bool,
    thaw: bool,
    image: str | None,
    binary: str | None,
    engine: str,
    script: Path | None,
    manifest_path: Path | None,
    save: str | None,
    owners: tuple[str, ...],
    assertion: str | None,
) -> None:
    """Sit in the sandbox of a scenario: of the manifest (NAME), a past run (RUN/NAME), a bundle.

    Or with `--script FILE`, `-- COMMAND...` or nothing in a sandbox for what is no scenario yet.
    At a terminal it is a shell with one of its own, else its lines come from stdin. The exit code
    is the shell's.
    """
    manner = Manner(
        after=not before,
        thaw=thaw,
        seat=seat,
        say=_say,
        echo=partial(write, sys.stderr.fileno()),
    )
    place = _Place(
        name=name or "",
        argv=ctx.obj,
        script=script,
        image=image,
        manifest=manifest_path,
        tested=EngineOptions(binary=binary, engine=engine),
    )
    draft = _Draft(name=save, owners=owners, assertion=assertion)
    with interruptible() as interrupt, _opened(place) as chosen:
        saving = _saving(chosen, place, draft)
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


def _saving(chosen: Case, place: _Place, draft: _Draft) -> _Saving | None:
    """The manifest and the entry to come: what is wrong with them is said before anybody types."""
    if draft.name is None:
        if draft.owners or draft.assertion:
            raise UsageError("--owner and --assertion are for --save NAME")
        return None
    surroundings = new_scenario.surroundings(chosen.scenario)
    if chosen.request.manifest is None:
        # The deadline of what is in no manifest is for whoever types, and nobody chose it.
        del surroundings["timeout_seconds"]
    scenario = new_scenario.drafted(
        draft.name,
        owners=draft.owners,
        assertion=draft.assertion or f"As typed in isosmoke repro {chosen.scenario.name}.",
        **surroundings,
    )
    path = manifest_file(place.manifest)
    new_scenario.check(path, scenario)
    return path, scenario, command_line(repeating(place.manifest, place.tested, scenario.name))


def _save(path: Path, scenario: Scenario, run: str, sat: Sat) -> None:
    """What was typed is shown where it cannot be kept: nobody types it twice."""
    if not sat.typed:
        click.echo("isosmoke: nothing was typed that bash kept, so nothing is saved", err=True)
        return
    text = typed_script.script(scenario, sat.typed)
    try:
        script = new_scenario.add(path, scenario, text)
    except IsosmokeError:
        click.echo(text, err=True)
        raise
    click.echo(f"{relpath(path)}: scenario {scenario.name!r} added", err=True)
    click.echo(
        f"{relpath(script)}: made; see that it fails while the bug is there: {run}", err=True
    )


@contextmanager
def _opened(place: _Place) -> Iterator[Case]:
    if sum(map(bool, (place.argv, place.script, place.name))) > 1:
        raise UsageError("a name, --script or a command after --: give one of them")
    caller = Caller.here()
    request = Request(
        scenarios=(target.loose(place.argv, place.script),),
        binary=place.tested.binary,
        engine=place.tested.engine,
        argv=place.argv,
    )
    with ExitStack() as stack:
        if Path(place.name).is_file():
            found = stack.enter_context(bundle.opened(Path(place.name), caller, request))
        else:
            found = _named(place.name, caller, request, place.manifest)
        yield target.with_image(found, place.image) if place.image else found


def _named(name: str, caller: Caller, request: Request, manifest_path: Path | None) -> Case:
    if not name:
        return Case(request=request, caller=caller)
    if "/" in name:
        return target.recorded(name, caller, request)
    manifest, scenarios = selected(ScenarioSelection(names=(name,), manifest=manifest_path))
    if len(scenarios) > 1:
        raise UsageError(f"{name} means {len(scenarios)} scenarios", hint="name one of them")
    return Case(
        request=replace(request, scenarios=scenarios, manifest=manifest.path), caller=caller
    )
