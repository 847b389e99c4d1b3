"""Find scenarios that cannot fail: break one subcommand at a time, and see which of them notice."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import (
    ScenarioSelection,
    json_option,
    parse_duration,
    select_scenarios,
    selection_options,
)
from isosmoke.cli.report_files import resolve_target, write
from isosmoke.cli.running import (
    EngineOptions,
    engine_options,
    jobs_option,
    open_place,
    place_option,
)
from isosmoke.errors import ExitCode, IsosmokeError, UsageError
from isosmoke.execution.concurrency.load_readings import count_cores
from isosmoke.gate.proofs.teeth_cells import REQUIRED, Sabotage
from isosmoke.gate.proofs.teeth_receipt import TeethStatement
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.manifest.models import Scenario
from isosmoke.manifest.validation.value_types import COMMAND_PATTERN_HINT, is_command_pattern
from isosmoke.reports import agent
from isosmoke.results.events import Event, ScenarioFinished
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.record_base import render_json
from isosmoke.teeth import measured_document, measurement, report
from isosmoke.teeth import receipt_writer as teeth_receipts
from isosmoke.teeth.explaining import explainer, explanation
from isosmoke.teeth.explaining.explanation import ExplanationDocument
from isosmoke.teeth.measurement import MeasurementSettings
from isosmoke.teeth.pages import kept, page
from isosmoke.teeth.report import TeethDocument
from isosmoke.text import escape_controls

if TYPE_CHECKING:
    from isosmoke.cluster.pool import Pool

DOCUMENTS = {
    "teeth": DocumentKind("teeth --json", TeethDocument),
    "teeth-receipt": DocumentKind("what teeth leaves in .isosmoke/proofs", TeethStatement),
    "teeth-explanation": DocumentKind(
        "teeth NAME --explain SUBCOMMAND --json", ExplanationDocument
    ),
}
"""The kinds of JSON documents that this command reads or writes."""

_OWN_PATTERNS = "a gate accepts no measurement by other patterns than [gate] teeth_patterns"


def _check_patterns(
    _ctx: click.Context, _param: click.Parameter, patterns: tuple[str, ...]
) -> tuple[str, ...]:
    for pattern in patterns:
        if not is_command_pattern(pattern):
            raise click.BadParameter(f"{pattern!r} is not a pattern: {COMMAND_PATTERN_HINT}")
    return patterns


@click.command()
@selection_options
@engine_options
@jobs_option("Run this many scenarios at once.  [default: one per core]")
@place_option
@click.option(
    "--sabotage",
    "chosen",
    multiple=True,
    type=click.Choice([sabotage.value for sabotage in Sabotage if sabotage != Sabotage.AGAINST]),
    help="Apply this sabotage; repeatable.  [default: all]",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="PATH",
    help="Also run each subcommand with this other binary, such as an older one.",
)
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    metavar="WORDS",
    callback=_check_patterns,
    help="Name subcommands by WORDS, such as 'at _ *': _ and * match any word, and * is part of "
    "the name; repeatable; no receipts.  [default: teeth_patterns in the table [gate]]",
)
@click.option(
    "--budget",
    callback=parse_duration,
    metavar="TIME",
    help="Start no sabotaged run after TIME, such as 60s or 10m; a random sample is run.",
)
@click.option("--seed", type=int, default=0, help="Select the sample of --budget.  [default: 0]")
@click.option(
    "--explain",
    "explained",
    metavar="SUBCOMMAND",
    help="Sabotage each call of SUBCOMMAND alone, and show which calls of the scenario NAME are "
    "not noticed, with their lines.",
)
@click.option(
    "--declared",
    is_flag=True,
    help="Only sabotage what `teeth` in the entries names, with noop, replay and lie.",
)
@click.option(
    "--receipts",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIRECTORY",
    help="Also write the receipts to DIRECTORY, such as `proofs` next to the manifest.",
)
@click.option("--html", metavar="FILE", help="Also write an HTML page to FILE.")
@click.option("--fresh", is_flag=True, help="Ignore the results of past measurements.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    selection: ScenarioSelection,
    tested: EngineOptions,
    jobs: int | None,
    place: str | None,
    chosen: tuple[str, ...],
    against: Path | None,
    patterns: tuple[str, ...],
    budget: float | None,
    seed: int,
    explained: str | None,
    declared: bool,
    receipts: Path | None,
    html: str | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Break each subcommand that a scenario calls, and report what the scenario does not notice.

    Scenarios are selected by name or glob (default: all). The first run of each is with the real
    binary. Then one subcommand at a time is broken, each time in a fresh sandbox: it fails, does
    nothing, only prints its message, prints nothing, exits with the opposite status, and so on.

    For each scenario with `teeth` in its entry, a receipt says whether it notices the failures of
    these subcommands; `[gate] require_teeth = true` in a manifest requires one.

    \b
    Exit codes: 0 measured · 1 a scenario does not pass with the real binary, or does not
    notice a failure of a subcommand that `teeth` in its entry names
    77 every scenario was skipped · 125 also: a process left on purpose was not found
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    if explained is not None and (html is not None or budget is not None):
        raise UsageError("--explain cannot be combined with --html or --budget")
    if declared and (chosen or explained is not None):
        raise UsageError("--declared cannot be combined with --sabotage or --explain")
    if html is not None:
        resolve_target(html)  # report a file that cannot be written before anything runs
    manifest, scenarios = select_scenarios(selection)
    settings = MeasurementSettings(
        manifest=manifest,
        scenarios=_select_declaring(scenarios) if declared else scenarios,
        sabotages=_choose_sabotages(REQUIRED if declared else chosen, against=against is not None),
        binary=tested.binary,
        engine=tested.engine,
        jobs=jobs or ceil(count_cores()),
        against=against,
        patterns=patterns or None,
        budget=budget,
        seed=seed,
        fresh=fresh,
        declared=declared,
    )
    _refuse_receipts(settings, receipts, place)
    caller = Caller.current()
    if explained is not None:
        _explain(settings, explained, caller, place, as_json=as_json, has_jobs=jobs is not None)
        return
    with interruptible() as interrupt, open_place(place, manifest.path, caller, interrupt) as pool:
        settings = _choose_place(settings, pool, place, has_jobs=jobs is not None)
        measured = measurement.measure(
            settings, caller, notify=_create_counter(), interrupt=interrupt
        )
    saved = teeth_receipts.save_all(measured, settings, caller, also_in=receipts)
    _warn_of_patterns(settings)
    document = measured_document.create(measured, settings, saved)
    if not measured.stopped:
        _save(document, caller)
    if html is not None:
        write(html, page.render(document))
    _print(document, caller, as_json=as_json)
    ctx.exit(_choose_exit(document, measured.stopped))


def _refuse_receipts(
    settings: MeasurementSettings, receipts: Path | None, place: str | None
) -> None:
    """Raise an error if receipts are wanted that no gate would accept."""
    if receipts is not None and settings.has_own_patterns:
        raise UsageError(_OWN_PATTERNS, hint="add the patterns to the manifest, and omit --pattern")
    if receipts is not None and place is not None:
        raise UsageError(
            "a measurement in a place has no receipts, as no gate could know its workers",
            hint="omit --place or --receipts",
        )


def _warn_of_patterns(settings: MeasurementSettings) -> None:
    if settings.has_own_patterns and any(scenario.teeth for scenario in settings.scenarios):
        click.echo(f"WARNING: no receipts: {_OWN_PATTERNS}", err=True)


def _save(document: TeethDocument, caller: Caller) -> None:
    """Keep a measurement for later reports, or print a warning that it could not be kept."""
    try:
        kept.save(document, caller.working)
    except IsosmokeError as error:
        message = f"WARNING: this measurement is not recorded: {error.message}"
        click.echo(escape_controls(message), err=True)


def _choose_place(
    settings: MeasurementSettings, pool: "Pool | None", name: str | None, *, has_jobs: bool
) -> MeasurementSettings:
    """Return the settings for a place; by default, all of its slots are used."""
    if pool is None:
        return settings
    jobs = settings.jobs if has_jobs else pool.slots
    return replace(settings, place=pool, place_name=name or "", jobs=jobs)


def _explain(
    settings: MeasurementSettings,
    subcommand: str,
    caller: Caller,
    place: str | None,
    *,
    as_json: bool,
    has_jobs: bool,
) -> None:
    if len(settings.scenarios) > 1:
        names = ", ".join(scenario.name for scenario in settings.scenarios[:3])
        raise UsageError(
            f"--explain needs one scenario, and {len(settings.scenarios)} are selected: {names}",
            hint="pass the NAME of one",
        )
    path = settings.manifest.path
    with interruptible() as interrupt, open_place(place, path, caller, interrupt) as pool:
        document = explainer.explain(
            _choose_place(settings, pool, place, has_jobs=has_jobs),
            subcommand,
            caller,
            notify=_create_counter(),
            interrupt=interrupt,
        )
    if as_json:
        click.echo(render_json(document), nl=False)
    else:
        for line in explanation.render(document):
            click.echo(escape_controls(line))


def _print(document: TeethDocument, caller: Caller, *, as_json: bool) -> None:
    if as_json:
        click.echo(render_json(document), nl=False)
        return
    is_short = agent.select_report(caller.environment) == "agent"
    for line in report.render_text(document, is_short=is_short):
        click.echo(escape_controls(line))


def _select_declaring(scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
    """Return the scenarios that declare teeth.

    Raises:
        UsageError: if there is none.
    """
    declaring = tuple(scenario for scenario in scenarios if scenario.teeth)
    if not declaring:
        raise UsageError(
            "no selected scenario declares teeth",
            hint='add teeth = ["SUBCOMMAND"] to its entry in the manifest',
        )
    return declaring


def _choose_sabotages(chosen: Sequence[str], *, against: bool) -> tuple[Sabotage, ...]:
    """Return the sabotages, the strongest first; the other binary is one of them if given."""
    wanted = [Sabotage(name) for name in chosen] or [*Sabotage]
    others = {sabotage for sabotage in wanted if sabotage is not Sabotage.AGAINST}
    names = others | ({Sabotage.AGAINST} if against else set())
    return tuple(sabotage for sabotage in Sabotage if sabotage in names)


def _create_counter() -> Callable[[Event], None]:
    """Return a handler that shows the number of finished runs on a terminal."""
    finished: list[str] = []

    def count(event: Event) -> None:
        if isinstance(event, ScenarioFinished) and sys.stderr.isatty():
            finished.append(event.result.name)
            click.echo(f"\r{len(finished)} runs", nl=False, err=True)

    return count


def _is_toothless(document: TeethDocument) -> bool:
    return any(scenario.toothless for scenario in document.scenarios)


def _choose_exit(document: TeethDocument, stopped: str) -> ExitCode:
    outcomes = [scenario.outcome for scenario in document.scenarios]
    if stopped:
        return ExitCode.for_signal(stopped)
    if document.self_test_failed:
        return ExitCode.INFRASTRUCTURE
    if any(outcome.blocks for outcome in outcomes) or _is_toothless(document):
        return ExitCode.BLOCKED
    if all(outcome is Outcome.SKIP for outcome in outcomes):
        return ExitCode.ALL_SKIPPED
    return ExitCode.OK
