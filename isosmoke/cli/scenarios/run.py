"""Run scenarios, or any command as one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import click

from isosmoke.cli.json_documents import Written
from isosmoke.cli.options import (
    ScenarioSelection,
    json_option,
    selected,
    selection_options,
    warn,
)
from isosmoke.cli.reporting import Chosen, Reporting, chosen, report_option
from isosmoke.cli.rerun_options import PastSelection, narrowed, past_options
from isosmoke.cli.running import (
    EngineOptions,
    WithCommand,
    engine_options,
    progress,
    repeating,
)
from isosmoke.errors import UsageError
from isosmoke.execution import session
from isosmoke.execution.scheduler import Policy, jobs_of_a_run
from isosmoke.execution.session import Request
from isosmoke.history import layout
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.manifest.filters import Expression
from isosmoke.reports import agent
from isosmoke.repro import bundle, target
from isosmoke.repro.shell_input import write
from isosmoke.results import repeat_command
from isosmoke.results.events import Event
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_record import RunRecord
from isosmoke.text import printable

DOCUMENTS = {
    "record": Written("run --json, show --json, --report json", RunRecord),
}
"""The kinds of JSON documents that this command is about."""


Evidence = Literal["failed", "always", "never"]
Leaks = Literal["fail", "report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What is run: scenarios of a manifest, the command `argv`, or the scenario of a bundle."""

    selection: ScenarioSelection
    past: PastSelection
    argv: tuple[str, ...]
    timeout: int | None
    bundle: Path | None
    tested: EngineOptions
    policy: Policy

    @property
    def choose_scenarios(self) -> bool:
        """Whether anything chooses among the scenarios of a manifest."""
        return self.selection != ScenarioSelection() or self.past.is_given


@click.command(cls=WithCommand, options_metavar="[OPTIONS]")
@selection_options
@past_options
@engine_options
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="How many at once; by default one a core."
)
@click.option(
    "--leaks", type=click.Choice(get_args(Leaks)), help="Over what the manifest says of leaks."
)
@click.option(
    "--evidence",
    type=click.Choice(get_args(Evidence)),
    default="failed",
    help="Of which attempts to keep what they wrote and showed.",
)
@click.option("--fail-fast/--keep-going", help="Start nothing more once a scenario failed.")
@click.option("--timeout", type=click.IntRange(min=1), help="Seconds for a command after --.")
@report_option
@click.option(
    "--bundle",
    "bundled",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The scenario of a file that isosmoke bundle wrote.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    names: tuple[str, ...],
    manifest_path: Path | None,
    owners: tuple[str, ...],
    expression: Expression | None,
    last_failed: bool,
    rerun: str | None,
    binary: str | None,
    engine: str,
    jobs: int | None,
    leaks: Leaks | None,
    evidence: Evidence,
    fail_fast: bool,
    timeout: int | None,
    reports: tuple[str, ...],
    bundled: Path | None,
    as_json: bool,
) -> None:
    """Run scenarios by name or glob (none: all), or with `-- COMMAND...` any command as one.

    Each runs in a fresh sandbox. A process that outlives its scenario makes it fail.
    """
    options = _Options(
        selection=ScenarioSelection(
            names=names, owners=owners, expression=expression, manifest=manifest_path
        ),
        past=PastSelection(last_failed=last_failed, rerun=rerun),
        argv=ctx.obj,
        timeout=timeout,
        bundle=bundled,
        tested=EngineOptions(binary=binary, engine=engine),
        policy=Policy(
            jobs=jobs or jobs_of_a_run(), fail_fast=fail_fast, leaks=leaks, evidence=evidence
        ),
    )
    caller = Caller.here()
    wanted = chosen((*reports, *(["json=-"] if as_json else [])))
    reporting = Reporting(wanted, caller.environment)
    screen = _screen(wanted, caller, partial(_repeat, options), live=not options.argv)
    with (
        interruptible() as interrupt,
        _requested(options, reporting, caller) as (request, user),
    ):
        result = session.execute(
            request, user, notify=reporting.beside(screen), interrupt=interrupt
        )
    warn(result)
    reporting.finish(result)
    ctx.exit(reporting.exit_code(session.exit_code(result)))


def _screen(
    wanted: Chosen, caller: Caller, repeat: Repeat, *, live: bool
) -> Callable[[Event], None]:
    if (wanted.screen or agent.preferred(caller.environment)) == "agent":
        return agent.Terse(partial(click.echo, err=wanted.stdout_taken, nl=False), repeat)
    return progress(repeat, stderr=wanted.stdout_taken, live=live)


@contextmanager
def _requested(
    options: _Options, reporting: Reporting, caller: Caller
) -> Iterator[tuple[Request, Caller]]:
    """What to run, and where its caller stands; a bundle is unpacked for as long as it is run."""
    if options.bundle is None:
        yield _request(options, reporting), caller
        return
    if options.argv or options.choose_scenarios or options.timeout:
        raise UsageError("--bundle has its own scenario, as it was: choose no other")
    request = replace(_base_request(options), record_in=layout.top(caller.working))
    with bundle.opened(options.bundle, caller, request) as opened:
        for note in opened.notes:
            click.echo(printable(f"NOTE {note}"), err=True)
        yield opened.request, opened.caller


def _base_request(options: _Options) -> Request:
    """What every request has, without a scenario."""
    return Request(
        scenarios=(),
        binary=options.tested.binary,
        engine=options.tested.engine,
        policy=options.policy,
    )


def _request(options: _Options, reporting: Reporting) -> Request:
    if options.argv:
        return _command_request(options, reporting)
    if options.timeout:
        raise UsageError("--timeout is for a command", hint="set timeout_seconds in the manifest")
    manifest, scenarios = selected(options.selection)
    scenarios, rerun_of = narrowed(manifest, scenarios, options.past)
    return replace(
        _base_request(options),
        scenarios=scenarios,
        rerun_of=rerun_of,
        manifest=manifest.path,
        retention=manifest.record,
    )


def _command_request(options: _Options, reporting: Reporting) -> Request:
    if options.choose_scenarios:
        raise UsageError("a command after -- runs without a manifest: give one or the other")
    output = sys.stderr if reporting.chosen.stdout_taken else sys.stdout
    timeout = options.timeout or target.LOOSE_SECONDS
    return replace(
        _base_request(options),
        scenarios=(target.loose(options.argv, timeout=timeout),),
        argv=options.argv,
        on_output=reporting.borne(partial(write, output.fileno())),
    )


def _repeat(options: _Options, name: str) -> tuple[str, ...]:
    if options.bundle:
        return repeat_command.command("--bundle", str(options.bundle))
    words = ("--", *options.argv) if options.argv else (name,)
    return repeating(options.selection.manifest, options.tested, *words)
