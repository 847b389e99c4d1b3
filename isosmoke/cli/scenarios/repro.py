"""Open a shell in the sandbox of a scenario, before or after its script."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from os.path import relpath
from pathlib import Path

import click

from isosmoke.authoring import new_scenario
from isosmoke.authoring.manifest_places import find_own_manifest
from isosmoke.cli.console import create_printer
from isosmoke.cli.options import (
    ScenarioSelection,
    manifest_option,
    select_scenarios,
)
from isosmoke.cli.running import (
    EngineOptions,
    WithCommand,
    build_repeat_command,
    engine_options,
)
from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.execution.request import Request
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt, exit_on_signal, interruptible
from isosmoke.keeper.exchange import StoppedError
from isosmoke.manifest.models import Scenario
from isosmoke.reports.summary import HangingText
from isosmoke.repro import bundle_reader, script_from_shell, session, target
from isosmoke.repro.session import ShellOptions, ShellResult
from isosmoke.repro.shell_user import local_user, write_until_interrupted
from isosmoke.repro.target import Case
from isosmoke.text import Line, quote_command

_Saving = tuple[Path, Scenario, str]
"""A manifest, the scenario to add to it, and the command that runs the scenario."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """The sandbox to open: that of a name, a script, a command, or an empty one."""

    name: str
    argv: tuple[str, ...]
    script: Path | None
    image: str | None
    manifest: Path | None
    tested: EngineOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """The scenario to save the typed commands as; if `name` is None, nothing is saved."""

    name: str | None
    owners: tuple[str, ...]
    assertion: str | None


@click.command(cls=WithCommand, options_metavar="[OPTIONS]")
@click.argument("name", required=False)
@click.option(
    "--before/--after",
    "before",
    default=True,
    help="Open the shell before the script, or after it with its leftovers.  [default: --before]",
)
@click.option(
    "--thaw", is_flag=True, help="Resume leftover processes instead of leaving them frozen."
)
@click.option("--image", help="Override the scenario's image.")
@engine_options
@click.option(
    "--script",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Use a script that is not yet a scenario.",
)
@manifest_option()
@click.option("--save", metavar="NAME", help="Save the typed commands as scenario NAME.")
@click.option(
    "--owner",
    "owners",
    multiple=True,
    metavar="TASK",
    help="Set a task that owns the saved scenario; repeatable.",
)
@click.option(
    "--assertion", metavar="TEXT", help="State in one sentence what the saved scenario verifies."
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    name: str | None,
    before: bool,
    thaw: bool,
    image: str | None,
    tested: EngineOptions,
    script: Path | None,
    manifest_path: Path | None,
    save: str | None,
    owners: tuple[str, ...],
    assertion: str | None,
) -> None:
    """Open a shell in the sandbox of a scenario.

    NAME is a scenario of the manifest, RUN/NAME of a past run, or the file of a bundle. Without
    NAME, open a sandbox for `--script FILE`, for the command given after `--`, or an empty one. On
    a terminal, the shell is interactive; otherwise it reads commands from stdin. The exit code is
    that of the shell.
    """
    opened = _Target(
        name=name or "",
        argv=ctx.obj,
        script=script,
        image=image,
        manifest=manifest_path,
        tested=tested,
    )
    draft = _Draft(name=save, owners=owners, assertion=assertion)
    with interruptible() as interrupt, _open_case(opened, interrupt) as case:
        manner = ShellOptions(
            after=not before,
            thaw=thaw,
            open_user=partial(local_user, interrupt),
            print_line=_print_fact,
            echo=partial(write_until_interrupted, sys.stderr.fileno(), interrupt),
        )
        saving = _prepare_saving(case, opened, draft)
        code = _run_shell(case, manner, interrupt, saving)
    ctx.exit(code)


def _print_fact(line: str) -> None:
    """Print a fact with a hanging indent for terminals narrower than the line."""
    head, fact = line[: session.LABEL_WIDTH], line[session.LABEL_WIDTH :]
    create_printer(stderr=True).print(HangingText(Line(head), fact, session.LABEL_WIDTH))


def _run_shell(
    case: Case, manner: ShellOptions, interrupt: Interrupt, saving: _Saving | None
) -> int:
    try:
        sat = session.open_shell(case, manner, interrupt)
    except StoppedError as stopped:
        click.echo(f"isosmoke: terminated by {stopped}", err=True)
        return interrupt.exit_code
    if saving:
        _save(*saving, sat)
    return sat.exit_code


def _prepare_saving(case: Case, opened: _Target, draft: _Draft) -> _Saving | None:
    """Check the scenario to save, so that errors are reported before the user types anything."""
    if draft.name is None:
        if draft.owners or draft.assertion:
            raise UsageError(
                "--owner and --assertion require --save", hint="pass --save NAME as well"
            )
        return None
    surroundings = new_scenario.select_sandbox_settings(case.scenario)
    if case.request.manifest is None:
        # The timeout outside of a manifest suits an interactive user; no manifest declares it.
        del surroundings["timeout_seconds"]
    scenario = new_scenario.draft_scenario(
        draft.name,
        owners=draft.owners,
        assertion=draft.assertion or f"As typed in isosmoke repro {case.scenario.name}.",
        **surroundings,
    )
    caller = Caller.current()
    path = opened.manifest or find_own_manifest(caller.working, caller.environment)
    new_scenario.check(path, scenario)
    repeat = build_repeat_command(opened.manifest, opened.tested, scenario.name)
    return path, scenario, quote_command(repeat)


def _save(path: Path, scenario: Scenario, run: str, sat: ShellResult) -> None:
    """Save the typed commands; print them if that fails, so that they need not be typed again."""
    if not sat.typed:
        click.echo("isosmoke: nothing saved: bash recorded no commands", err=True)
        return
    text = script_from_shell.render_script(scenario, sat.typed)
    try:
        script = new_scenario.add(path, scenario, text)
    except IsosmokeError:
        click.echo(text, err=True)
        raise
    click.echo(f"{relpath(path)}: scenario {scenario.name!r} added", err=True)
    click.echo(f"{relpath(script)}: created; check that it fails with the bug: {run}", err=True)


@contextmanager
def _open_case(opened: _Target, interrupt: Interrupt) -> Iterator[Case]:
    if sum(map(bool, (opened.argv, opened.script, opened.name))) > 1:
        raise UsageError(
            "NAME, --script and a command after -- cannot be combined",
            hint="pass only one of them",
        )
    caller = Caller.current()
    request = Request(
        scenarios=(target.create_scenario(opened.argv, opened.script),),
        binary=opened.tested.binary,
        engine=opened.tested.engine,
        argv=opened.argv,
        recalls=True,
    )
    with ExitStack() as stack:
        if Path(opened.name).is_file():
            guard = exit_on_signal(interrupt)
            case = stack.enter_context(
                bundle_reader.opened(Path(opened.name), caller, request, guard)
            )
        else:
            case = _find_case(opened.name, caller, request, opened.manifest)
        yield target.replace_image(case, opened.image) if opened.image else case


def _find_case(name: str, caller: Caller, request: Request, manifest_path: Path | None) -> Case:
    if not name:
        return Case(request=request, caller=caller)
    if "/" in name:
        return target.load_recorded(name, caller, request)
    manifest, scenarios = select_scenarios(
        ScenarioSelection(names=(name,), manifest_path=manifest_path)
    )
    if len(scenarios) > 1:
        raise UsageError(f"{name} matches {len(scenarios)} scenarios", hint="name one of them")
    return Case(
        request=replace(request, scenarios=scenarios, manifest=manifest.path), caller=caller
    )
