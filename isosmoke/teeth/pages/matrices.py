"""Matrices of scenarios, and the gaps to fix first, as data for a page (pure)."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from isosmoke.gate.proofs import teeth_cells
from isosmoke.gate.proofs.teeth_cells import Sabotage
from isosmoke.reports.html.supplement import Teeth, TeethCell, TeethMatrix, TeethRow
from isosmoke.results.run_record import RunRecord
from isosmoke.teeth import report
from isosmoke.teeth.report import ScenarioTeeth, TeethDocument
from isosmoke.text import escape_controls

_MAX_GAPS = 50
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))


def describe(document: TeethDocument, run: RunRecord | None = None) -> Teeth:
    """Return a measurement for a page; for that of a `run`, with its age and what is stale."""
    gaps = [escape_controls(line) for line in report.render_gaps(document.gaps)]
    return Teeth(
        summary=_summarize(document, run),
        notes=(*_list_notes(document), *(_compare(document, run) if run else ())),
        gaps=tuple(gaps[:_MAX_GAPS]),
        gaps_left_out=len(gaps[_MAX_GAPS:]),
        legend=report.LEGEND,
        matrices=tuple(
            _describe_scenario(
                each,
                is_stale=run is not None and is_stale(each, run),
                program=document.program,
            )
            for each in _sort(document)
        ),
    )


def _summarize(document: TeethDocument, run: RunRecord | None) -> str:
    counts = f"{document.runs} sabotaged runs, {document.reused} cells reused"
    at = document.measured_at
    binary = f"binary {escape_controls(document.binary[:12])}"
    age = f"measured {describe_age(at, run.started_at)}, " if run and at else ""
    return f"{age}{counts}, {binary}"


def describe_age(measured_at: datetime, started_at: datetime) -> str:
    """Return when a measurement was made, relative to the start of a run."""
    distance = started_at - measured_at
    order = "before" if distance >= timedelta(0) else "after"
    seconds = abs(distance).total_seconds()
    for unit, length in _UNITS:
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if number > 1 else ''} {order} this run"
    return f"less than a minute {order} this run"


def _list_notes(document: TeethDocument) -> Iterator[str]:
    if document.sample is not None:
        yield f"A sample: the budget left out {document.sample.cells_left_out} sabotages."
    if document.self_test_failed:
        yield "ERROR: processes were left on purpose, and none was reported as a leak."


def _compare(document: TeethDocument, run: RunRecord) -> Iterator[str]:
    if run.binary and run.binary.sha256 != document.binary:
        yield f"This run tested another binary: {escape_controls(run.binary.sha256[:12])}."
    measured = {scenario.name for scenario in document.scenarios}
    missing = sum(scenario.name not in measured for scenario in run.scenarios)
    if missing:
        scenarios = "scenario" if missing == 1 else "scenarios"
        yield f"{missing} {scenarios} of this run had no part in the measurement."


def is_stale(scenario: ScenarioTeeth, run: RunRecord) -> bool:
    """Return whether the script of a scenario in a run differs from the one that was measured."""
    ran = (item for item in run.scenarios if item.name == scenario.name)
    present = next((item.attempts[-1].script_sha256 for item in ran), None)
    return None not in (present, scenario.script_sha256) and present != scenario.script_sha256


def _sort(document: TeethDocument) -> Sequence[ScenarioTeeth]:
    """Return the scenarios, first those with gaps, in their order."""
    ranks = {gap.scenario: rank for rank, gap in reversed([*enumerate(document.gaps)])}
    return sorted(document.scenarios, key=lambda each: ranks.get(each.name, len(ranks)))


def _describe_scenario(scenario: ScenarioTeeth, *, is_stale: bool, program: str) -> TeethMatrix:
    used = {cell.sabotage for cell in scenario.cells}
    columns = tuple(sabotage for sabotage in Sabotage if sabotage in used)
    names = dict.fromkeys(cell.subcommand for cell in scenario.cells)
    unnoticed = sum(cell.verdict in report.SURVIVING for cell in scenario.cells)
    return TeethMatrix(
        name=escape_controls(scenario.name),
        outcome=scenario.outcome,
        reason=escape_controls(scenario.reason),
        is_stale=is_stale,
        unnoticed=unnoticed,
        columns=tuple(column.value for column in columns),
        rows=tuple(
            TeethRow(
                command=escape_controls(teeth_cells.format_command(program, name)),
                is_pseudo_tested=name in scenario.pseudo_tested,
                cells=tuple(_list_cells(scenario, name, columns)),
            )
            for name in names
        ),
    )


def _list_cells(
    scenario: ScenarioTeeth, subcommand: str, columns: Sequence[Sabotage]
) -> Iterator[TeethCell]:
    """Yield a cell for each sabotage; one that was not decided is empty."""
    cells = {cell.sabotage: cell for cell in scenario.cells if cell.subcommand == subcommand}
    for sabotage in columns:
        cell = cells.get(sabotage)
        if cell is None:
            yield TeethCell()
        else:
            why = ": ".join(filter(None, (cell.verdict.value, cell.proves, cell.reason)))
            letter = report.LETTERS[cell.verdict]
            yield TeethCell(cell.verdict.value, letter, escape_controls(why))
