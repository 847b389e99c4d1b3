"""Receipts of teeth: in-toto statements that bind a measurement to a scenario and a binary (pure).

A receipt holds for one state of the scenario's entry, its script, the files that the script reads,
the binary, and the program that sabotages it. It is not signed: it detects changes, not forgery.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from isosmoke import __version__
from isosmoke.dataclass import dataclass
from isosmoke.gate import in_toto
from isosmoke.gate.in_toto import InTotoModel, Resource, ResultPredicate, ResultStatement
from isosmoke.gate.proofs import teeth_cells
from isosmoke.gate.proofs.proof import BOUND
from isosmoke.gate.proofs.teeth_cells import Cell, Flaw, Sabotage, Verdict
from isosmoke.host.git import Checkout
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.document_base import Text

_PROGRAM = "sabotage-program"

_BITING = frozenset({Outcome.FAIL, Outcome.LEAK, Outcome.TIMEOUT})


class MeasuredCell(InTotoModel):
    """One sabotage of a declared subcommand; `outcome` is absent if it was not run."""

    subcommand: Text
    sabotage: Sabotage
    verdict: Verdict
    outcome: Outcome | None = None
    reason: Text = ""


class TeethCircumstances(InTotoModel):
    """The fields of a receipt that in-toto does not define; `tested_at` is in UTC (RFC 3339).

    `declared` are the subcommands in `teeth` of the entry, and `called` those that the scenario
    calls, as named with the `patterns`.
    """

    scenario: Text
    tested_at: str
    manifest: Text
    binary: Text
    declared: tuple[Text, ...]
    called: tuple[Text, ...]
    cells: tuple[MeasuredCell, ...]
    patterns: tuple[Text, ...] = ()
    repository: Checkout | None = None
    engine: str
    version: str = __version__


class TeethPredicate(ResultPredicate):
    """PASSED if the scenario has teeth in each subcommand that it declares."""

    isosmoke: TeethCircumstances


class TeethStatement(ResultStatement):
    """A receipt of teeth; its subject is the binary that was sabotaged."""

    predicate: TeethPredicate

    @property
    def circumstances(self) -> TeethCircumstances:
        """The fields that are isosmoke's own."""
        return self.predicate.isosmoke


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A scenario as it is now: its inputs, and the hashes of the sabotage program and the binary.

    `binary` is None if any binary will do.
    """

    scenario: Scenario
    inputs: Sequence[Resource]
    program: str
    binary: str | None


def create_receipt(
    circumstances: TeethCircumstances, inputs: Sequence[Resource], *, binary: str, program: str
) -> TeethStatement:
    """Return the receipt of a measurement, bound to the inputs and the hashes of both programs."""
    has_teeth = not _find_flaws(circumstances)
    names = (circumstances.scenario,)
    predicate = TeethPredicate(
        configuration=(
            *inputs,
            in_toto.create_hashed_resource(_PROGRAM, "stand-in", program),
            in_toto.create_named_resource("engine", circumstances.engine),
        ),
        result="PASSED" if has_teeth else "FAILED",
        passed_tests=names if has_teeth else (),
        warned_tests=(),
        failed_tests=() if has_teeth else names,
        isosmoke=circumstances,
    )
    subject = in_toto.create_hashed_resource("binary", circumstances.binary, binary)
    return TeethStatement(subject=(subject,), predicate=predicate)


def record_cell(cell: Cell) -> MeasuredCell:
    """Return a cell in the form of a receipt."""
    return MeasuredCell(
        subcommand=cell.subcommand,
        sabotage=cell.sabotage,
        verdict=cell.verdict,
        outcome=cell.outcome,
        reason=cell.reason,
    )


def parse(text: bytes, origin: str) -> TeethStatement:
    """Parse a receipt; `origin` names it in errors.

    Raises:
        RecordError: if `text` is not a receipt of teeth, or has an unknown version.
    """
    hint = "remove it, and measure again"
    return in_toto.parse(TeethStatement, text, kind=f"{origin}: not a receipt of teeth", hint=hint)


def find_difference(receipt: TeethStatement, present: Present) -> str:
    """Return what changed since a receipt of the same scenario; empty if it still holds."""
    return next(_list_differences(receipt, present), "")


def _list_differences(receipt: TeethStatement, present: Present) -> Iterator[str]:
    configuration = receipt.predicate.configuration
    (subject, *_) = receipt.subject
    yield from in_toto.find_bound_differences(
        configuration, present.inputs, BOUND, binaries=(subject.sha256,)
    )
    programs = [item.sha256 for item in configuration if item.name.startswith(f"{_PROGRAM} ")]
    if programs != [present.program]:
        yield "the program that sabotages the binary changed"
    if present.binary is not None and subject.sha256 != present.binary:
        yield f"it is of another binary than the one that is tested now ({subject.name})"


def find_contradiction(receipt: TeethStatement, scenario: Scenario) -> str:
    """Return what contradicts the rest of a receipt, or its scenario; empty if nothing does."""
    about, predicate = receipt.circumstances, receipt.predicate
    expected = (about.scenario,) if predicate.result == "PASSED" else ()
    keys = [(cell.subcommand, cell.sabotage) for cell in about.cells]
    if set(about.declared) != set(scenario.teeth):
        return "it is of other declared subcommands"
    if len(set(keys)) < len(keys):
        return "it has two verdicts on one sabotage"
    if predicate.passed_tests != expected or (predicate.result == "PASSED") == bool(
        _find_flaws(about)
    ):
        return "its result contradicts its verdicts"
    for cell in about.cells:
        if not _is_possible(cell):
            return f"{cell.verdict} contradicts the outcome of {cell.sabotage}"
    return ""


def _is_possible(cell: MeasuredCell) -> bool:
    """Return whether a verdict that counts as teeth can follow from the outcome of its run."""
    match cell.verdict:
        case Verdict.BITES:
            return cell.outcome in _BITING
        case Verdict.EQUIVALENT:
            return cell.outcome is None
        case _:
            return True


def find_flaw(receipt: TeethStatement) -> Flaw | None:
    """Return why the scenario of a receipt has no teeth; None if it has."""
    return next(iter(_find_flaws(receipt.circumstances)), None)


def _find_flaws(about: TeethCircumstances) -> Sequence[Flaw]:
    cells = [
        Cell(
            subcommand=cell.subcommand,
            sabotage=cell.sabotage,
            verdict=cell.verdict,
            outcome=cell.outcome,
            reason=cell.reason,
        )
        for cell in about.cells
    ]
    return teeth_cells.find_flaws(about.declared, about.called, cells, PurePath(about.binary).name)
