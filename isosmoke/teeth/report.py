"""The results of a measurement: a JSON document, what to fix first, a matrix (pure)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from isosmoke.gate.proofs import teeth_cells
from isosmoke.gate.proofs.teeth_cells import Cell, Flaw, Sabotage, Verdict
from isosmoke.host.binary import COMMAND_NAME
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.teeth import verdicts
from isosmoke.teeth.scenario_rows import Row

LETTERS: Mapping[Verdict, str] = {
    Verdict.BITES: "b",
    Verdict.SURVIVED: "S",
    Verdict.ESCAPED: "X",
    Verdict.EQUIVALENT: "=",
    Verdict.IMPLIED: "s",
    Verdict.VOID: "v",
    Verdict.ERROR: "E",
}
"""The letters of the matrix."""

SURVIVING = frozenset({Verdict.SURVIVED, Verdict.ESCAPED})
"""The verdicts on a run that did not notice its sabotage, a skip included."""

_MAX_GAPS = 20

LEGEND = (
    "b bites, S survived, s implied by a stronger one, X the scenario skips, "
    "= no observable difference, v void, E error"
)


class CellRecord(RecordModel):
    """One sabotage of one subcommand in one scenario."""

    subcommand: Text

    sabotage: Sabotage

    verdict: Verdict

    outcome: Outcome | None
    """The outcome of the sabotaged run; null if it was not run."""

    proves: Text
    """The sentence that the verdict proves; empty if it proves nothing."""

    reason: Text
    """The reason of the outcome, or why the sabotage was not run."""


class ScenarioTeeth(RecordModel):
    """A scenario and its cells; without cells if its honest run did not pass."""

    name: Text

    outcome: Outcome
    """The outcome with the real binary."""

    reason: Text

    seconds: float
    """The duration with the real binary, in seconds."""

    pseudo_tested: tuple[Text, ...]
    """The subcommands of which neither the work nor the output nor the status is noticed."""

    toothless: tuple[Text, ...]
    """The subcommands in `teeth` of its entry that it does not call, or whose failure it misses."""

    cells: tuple[CellRecord, ...]

    flaws: tuple[Text, ...] = ()
    """A reason for each of the toothless subcommands, as a sentence without its subject."""

    receipt: Text | None = None
    """The path of the receipt of its declared teeth; null without one."""

    script_sha256: str | None = None
    """The SHA-256 of its script; null in records of former versions."""


class Gap(RecordModel):
    """A subcommand that a scenario does not test in some respect."""

    scenario: Text

    subcommand: Text

    sabotage: Sabotage
    """The strongest sabotage that the scenario does not notice."""

    pseudo_tested: bool

    shared_by: int
    """The number of scenarios with the same gap."""

    sentence: Text


class Sample(RecordModel):
    """The part of a measurement that its budget allowed."""

    seed: int

    cells_left_out: int


class TeethDocument(RecordModel):
    """The output of `isosmoke teeth --json`; `gaps` is sorted, what to fix first at the top."""

    schema_version: Literal[1] = 1

    measured_at: datetime | None = None
    """The end of the measurement; null in records of former versions."""

    binary: Text
    """The SHA-256 of the live binary."""

    program: Text = COMMAND_NAME
    """The name of the live binary."""

    scenarios: tuple[ScenarioTeeth, ...]

    gaps: tuple[Gap, ...]

    runs: int
    """The number of sabotaged runs."""

    reused: int
    """The number of cells from past measurements of the same inputs."""

    seconds: float

    sample: Sample | None = None
    """Null if every cell was decided."""

    self_test_failed: bool = False
    """Processes were left on purpose, and none of them was reported as a leak."""


def record_rows(
    rows: Sequence[Row],
    declared: Mapping[str, Sequence[str]],
    receipts: Mapping[str, Path],
    scripts: Mapping[str, str],
) -> tuple[ScenarioTeeth, ...]:
    """Return the records of scenarios.

    `declared` has the subcommands that their entries name, `receipts` the paths of receipts, and
    `scripts` the hashes of the scripts.
    """
    flaws = {row.name: _find_flaws(row, declared.get(row.name, ())) for row in rows}
    return tuple(
        ScenarioTeeth(
            name=row.name,
            outcome=row.outcome,
            reason=row.reason,
            seconds=round(row.seconds, 3),
            pseudo_tested=_list_pseudo_tested(row),
            toothless=teeth_cells.list_toothless(flaws[row.name]),
            flaws=tuple(flaw.text for flaw in flaws[row.name] if not flaw.is_undecided),
            cells=tuple(_record_cell(cell, row.program) for cell in row.cells),
            receipt=str(receipts[row.name]) if row.name in receipts else None,
            script_sha256=scripts.get(row.name),
        )
        for row in rows
    )


def _find_flaws(row: Row, declared: Sequence[str]) -> Sequence[Flaw]:
    return (
        teeth_cells.find_flaws(declared, row.subcommands, row.cells, row.program)
        if row.passes
        else ()
    )


def _record_cell(cell: Cell, program: str) -> CellRecord:
    return CellRecord(
        subcommand=cell.subcommand,
        sabotage=cell.sabotage,
        verdict=cell.verdict,
        outcome=cell.outcome,
        proves=teeth_cells.state_proof(cell, program),
        reason=cell.reason,
    )


def _list_pseudo_tested(row: Row) -> tuple[str, ...]:
    return tuple(
        subcommand
        for subcommand in row.subcommands
        if verdicts.is_pseudo_tested(_select(row, subcommand))
    )


def _select(row: Row, subcommand: str) -> list[Cell]:
    return [cell for cell in row.cells if cell.subcommand == subcommand]


def rank_gaps(rows: Iterable[Row]) -> tuple[Gap, ...]:
    """Return one gap for each scenario and subcommand that has one, what to fix first at the top.

    A subcommand of which nothing is tested comes first, then the stronger sabotage, then the gap
    that more scenarios share.
    """
    found = [
        (row, subcommand, cell)
        for row in rows
        for subcommand in row.subcommands
        if (cell := find_strongest(_select(row, subcommand))) is not None
    ]
    shared = Counter((subcommand, cell.sabotage) for _, subcommand, cell in found)
    gaps = [
        Gap(
            scenario=row.name,
            subcommand=subcommand,
            sabotage=cell.sabotage,
            pseudo_tested=subcommand in _list_pseudo_tested(row),
            shared_by=shared[subcommand, cell.sabotage],
            sentence=teeth_cells.state_proof(cell, row.program),
        )
        for row, subcommand, cell in found
    ]
    strength = {sabotage: number for number, sabotage in enumerate(Sabotage)}
    return tuple(
        sorted(
            gaps,
            key=lambda gap: (not gap.pseudo_tested, strength[gap.sabotage], -gap.shared_by),
        )
    )


def find_strongest(cells: Sequence[Cell]) -> Cell | None:
    """Return the cell of the strongest sabotage that was not noticed; None if all were."""
    unnoticed = [cell for cell in cells if cell.verdict in SURVIVING]
    order = list(Sabotage)
    return min(unnoticed, key=lambda cell: order.index(cell.sabotage), default=None)


def render_matrix(document: TeethDocument) -> Iterator[str]:
    """Yield the lines of a table: a row for each subcommand, a column for each sabotage."""
    for scenario in document.scenarios:
        used = {cell.sabotage for cell in scenario.cells}
        columns = [sabotage for sabotage in Sabotage if sabotage in used]
        names = {
            cell.subcommand: teeth_cells.format_command(document.program, cell.subcommand)
            for cell in scenario.cells
        }
        width = max(map(len, names.values()), default=0)
        head = f"{scenario.name}  {scenario.outcome}"
        yield f"{head}: {scenario.reason}" if scenario.reason else head
        if columns:
            yield f"  {'':{width}}  {' '.join(columns)}"
        for name, command in names.items():
            letters = {
                cell.sabotage: LETTERS[cell.verdict]
                for cell in scenario.cells
                if cell.subcommand == name
            }
            cells = " ".join(f"{letters.get(column, ' '):{len(column)}}" for column in columns)
            mark = "  pseudo-tested" if name in scenario.pseudo_tested else ""
            yield f"  {command:{width}}  {cells.rstrip()}{mark}"


def render_gaps(gaps: Iterable[Gap]) -> Iterator[str]:
    """Yield one line for each gap."""
    for gap in gaps:
        nothing = " (neither its work nor its output nor its status is noticed)"
        yield f"{gap.scenario}: {gap.sentence}{nothing if gap.pseudo_tested else ''}"


def render_text(document: TeethDocument, *, is_short: bool) -> Iterator[str]:
    """Yield the lines of the report; a short one has no matrix, but the outcomes that block."""
    if is_short:
        blocking = (scenario for scenario in document.scenarios if scenario.outcome.blocks)
        yield from (f"{each.outcome} {each.name}: {each.reason}" for each in blocking)
    else:
        yield from render_matrix(document)
        yield ""
        if any(scenario.cells for scenario in document.scenarios):
            yield LEGEND
    yield from _list_gaps(document)
    yield f"{document.runs} sabotaged runs, {document.reused} reused, {document.seconds:.0f} s"
    if document.sample is not None:
        left, seed = document.sample.cells_left_out, document.sample.seed
        yield f"a sample (seed {seed}): the budget left out {left} sabotages"
    for scenario in document.scenarios:
        yield from (f"TOOTHLESS {scenario.name}: {flaw}" for flaw in scenario.flaws)
        if scenario.receipt is not None:
            yield f"receipt of {scenario.name}: {scenario.receipt}"
    if document.self_test_failed:
        yield "ERROR processes were left on purpose, and none was reported as a leak"


def _list_gaps(document: TeethDocument) -> Iterator[str]:
    gaps = document.gaps
    if not gaps:
        return
    yield ""
    yield "fix first:"
    yield from (f"  {line}" for line in render_gaps(gaps[:_MAX_GAPS]))
    if len(gaps) > _MAX_GAPS:
        yield f"  and {len(gaps) - _MAX_GAPS} more: --json has all"
