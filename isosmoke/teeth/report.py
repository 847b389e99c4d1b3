"""The results of a measurement: a JSON document, what to fix first, a matrix (pure)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from isosmoke.results.outcome import Outcome
from isosmoke.results.run_record import RecordModel, Text
from isosmoke.teeth import verdicts
from isosmoke.teeth.rows import Row
from isosmoke.teeth.sabotages import Sabotage
from isosmoke.teeth.verdicts import Cell, Verdict

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

    binary: Text
    """The SHA-256 of the live binary."""

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
    rows: Sequence[Row], declared: Mapping[str, Sequence[str]]
) -> tuple[ScenarioTeeth, ...]:
    """Return the records of scenarios; `declared` has the subcommands that their entries name."""
    return tuple(
        ScenarioTeeth(
            name=row.name,
            outcome=row.outcome,
            reason=row.reason,
            seconds=round(row.seconds, 3),
            pseudo_tested=_list_pseudo_tested(row),
            toothless=_list_toothless(row, declared.get(row.name, ())),
            cells=tuple(map(_record_cell, row.cells)),
        )
        for row in rows
    )


def _list_toothless(row: Row, declared: Sequence[str]) -> tuple[str, ...]:
    return verdicts.list_toothless(declared, row.subcommands, row.cells) if row.passes else ()


def _record_cell(cell: Cell) -> CellRecord:
    return CellRecord(
        subcommand=cell.subcommand,
        sabotage=cell.sabotage,
        verdict=cell.verdict,
        outcome=cell.outcome,
        proves=state_proof(cell),
        reason=cell.reason,
    )


def state_proof(cell: Cell) -> str:
    """Return the sentence that a verdict proves; empty if it proves nothing."""
    broken = cell.sabotage.description.format(command=format_command(cell.subcommand))
    match cell.verdict:
        case Verdict.BITES:
            return f"fails if {broken}"
        case Verdict.SURVIVED | Verdict.IMPLIED:
            return f"passes although {broken}"
        case Verdict.ESCAPED:
            return f"skips if {broken}"
        case _:
            return ""


def format_command(subcommand: str) -> str:
    """Return the command line of a subcommand, as a scenario writes it."""
    return " ".join(filter(None, ("wg", subcommand)))


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
        if (cell := _find_strongest(_select(row, subcommand))) is not None
    ]
    shared = Counter((subcommand, cell.sabotage) for _, subcommand, cell in found)
    gaps = [
        Gap(
            scenario=row.name,
            subcommand=subcommand,
            sabotage=cell.sabotage,
            pseudo_tested=subcommand in _list_pseudo_tested(row),
            shared_by=shared[subcommand, cell.sabotage],
            sentence=state_proof(cell),
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


def _find_strongest(cells: Sequence[Cell]) -> Cell | None:
    """Return the cell of the strongest sabotage that was not noticed, skips included."""
    unnoticed = [cell for cell in cells if cell.verdict in {Verdict.SURVIVED, Verdict.ESCAPED}]
    order = list(Sabotage)
    return min(unnoticed, key=lambda cell: order.index(cell.sabotage), default=None)


def render_matrix(scenarios: Iterable[ScenarioTeeth]) -> Iterator[str]:
    """Yield the lines of a table: a row for each subcommand, a column for each sabotage."""
    for scenario in scenarios:
        used = {cell.sabotage for cell in scenario.cells}
        columns = [sabotage for sabotage in Sabotage if sabotage in used]
        names = dict.fromkeys(cell.subcommand for cell in scenario.cells)
        width = max([len(format_command(name)) for name in names], default=0)
        head = f"{scenario.name}  {scenario.outcome}"
        yield f"{head}: {scenario.reason}" if scenario.reason else head
        if columns:
            yield f"  {'':{width}}  {' '.join(columns)}"
        for name in names:
            letters = {
                cell.sabotage: LETTERS[cell.verdict]
                for cell in scenario.cells
                if cell.subcommand == name
            }
            cells = " ".join(f"{letters.get(column, ' '):{len(column)}}" for column in columns)
            mark = "  pseudo-tested" if name in scenario.pseudo_tested else ""
            yield f"  {format_command(name):{width}}  {cells.rstrip()}{mark}"


def render_gaps(gaps: Iterable[Gap]) -> Iterator[str]:
    """Yield one line for each gap."""
    for gap in gaps:
        nothing = " (neither its work nor its output nor its status is noticed)"
        yield f"{gap.scenario}: {gap.sentence}{nothing if gap.pseudo_tested else ''}"
