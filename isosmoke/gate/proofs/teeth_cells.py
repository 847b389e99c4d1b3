"""Cells of a measurement of teeth, each a sabotage of a subcommand, and their judgement (pure).

Both `isosmoke teeth`, which fills them, and the gate, which requires some of them, judge them here.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from isosmoke.dataclass import dataclass
from isosmoke.results.outcome import Outcome


class Sabotage(StrEnum):
    """A way to break a subcommand, the strongest first."""

    ABSENT = "absent"
    FAIL = "fail"
    NOOP = "noop"
    REPLAY = "replay"
    MUTE = "mute"
    LIE = "lie"
    STALE = "stale"
    HANG = "hang"
    AGAINST = "against"
    ORPHAN = "orphan"

    @property
    def description(self) -> str:
        """The broken behaviour; `{command}` stands for the command line of the subcommand."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Sabotage.ABSENT: "`{command}` does not exist",
    Sabotage.FAIL: "`{command}` does nothing and fails",
    Sabotage.NOOP: "`{command}` does nothing",
    Sabotage.REPLAY: "`{command}` only prints its message",
    Sabotage.MUTE: "`{command}` prints nothing",
    Sabotage.LIE: "`{command}` exits with the opposite status",
    Sabotage.STALE: "`{command}` prints the answer of its previous call",
    Sabotage.HANG: "`{command}` never ends",
    Sabotage.AGAINST: "`{command}` is that of the other binary",
    Sabotage.ORPHAN: "`{command}` leaves a process",
}


class Verdict(StrEnum):
    """The result of one sabotage of one subcommand in one scenario."""

    BITES = "BITES"
    """The scenario fails, leaves a process, or misses its deadline in isolation."""

    SURVIVED = "SURVIVED"
    """The scenario passes."""

    ESCAPED = "ESCAPED"
    """The scenario skips."""

    EQUIVALENT = "EQUIVALENT"
    """Not run: the sabotage changes nothing that these calls let a scenario observe."""

    IMPLIED = "IMPLIED"
    """Not run: the scenario did not notice a stronger sabotage."""

    VOID = "VOID"
    """The sabotaged call never happened, or did not report itself."""

    ERROR = "ERROR"
    """The scenario could not be run, or broke its own preparation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One sabotage of one subcommand in one scenario.

    `outcome` is None if it was not run. `reason` explains the verdict; it may be empty.
    """

    subcommand: str
    sabotage: Sabotage
    verdict: Verdict
    outcome: Outcome | None = None
    reason: str = ""
    left_process: bool = False


def format_command(program: str, subcommand: str) -> str:
    """Return the command line of a subcommand; `program` is the name of the binary."""
    return " ".join(filter(None, (program, subcommand)))


def describe_sabotage(sabotage: Sabotage, program: str, subcommand: str) -> str:
    """Return the broken behaviour of a subcommand as a sentence."""
    command = format_command(program, subcommand)
    return sabotage.description.replace("{command}", command)


def state_proof(cell: Cell, program: str) -> str:
    """Return the sentence that a verdict proves; empty if it proves nothing."""
    broken = describe_sabotage(cell.sabotage, program, cell.subcommand)
    match cell.verdict:
        case Verdict.BITES:
            return f"fails if {broken}"
        case Verdict.SURVIVED | Verdict.IMPLIED:
            return f"passes although {broken}"
        case Verdict.ESCAPED:
            return f"skips if {broken}"
        case _:
            return ""


REQUIRED = (Sabotage.NOOP, Sabotage.REPLAY, Sabotage.LIE)
"""The sabotages that a scenario has to notice in a subcommand that its entry declares."""

_NOTICED = frozenset({Verdict.BITES, Verdict.EQUIVALENT})
_UNDECIDED = frozenset({None, Verdict.ERROR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """A reason why a scenario has no teeth in a declared subcommand, as a sentence without subject.

    `sabotage` is None if the subcommand is not called, or if no sabotage of it bites. `verdict` is
    None if the sabotage was not decided.
    """

    subcommand: str
    text: str
    sabotage: Sabotage | None = None
    verdict: Verdict | None = None

    @property
    def is_undecided(self) -> bool:
        """True if only another measurement can tell."""
        return self.sabotage is not None and self.verdict in _UNDECIDED


def find_flaws(
    declared: Sequence[str], called: Sequence[str], cells: Sequence[Cell], program: str
) -> tuple[Flaw, ...]:
    """Return why a scenario has no teeth in the subcommands that its entry declares.

    `called` are the subcommands that it calls, and `program` is the name of the binary. Each of the
    `REQUIRED` sabotages has to bite or to show no difference, and one has to bite.
    """
    return tuple(flaw for name in declared for flaw in _list_flaws(name, called, cells, program))


def _list_flaws(
    name: str, called: Sequence[str], cells: Sequence[Cell], program: str
) -> Iterator[Flaw]:
    command = format_command(program, name)
    if name not in called:
        yield Flaw(subcommand=name, text=f"never calls `{command}`, which its `teeth` names")
        return
    known = {cell.sabotage: cell for cell in cells if cell.subcommand == name}
    for sabotage in REQUIRED:
        cell = known.get(sabotage)
        if cell is None or cell.verdict not in _NOTICED:
            yield _describe_flaw(name, sabotage, cell, program)
    verdicts = [known[sabotage].verdict for sabotage in REQUIRED if sabotage in known]
    if len(verdicts) == len(REQUIRED) and set(verdicts) == {Verdict.EQUIVALENT}:
        yield Flaw(subcommand=name, text=f"no sabotage of `{command}` can be noticed")


def _describe_flaw(name: str, sabotage: Sabotage, cell: Cell | None, program: str) -> Flaw:
    command = format_command(program, name)
    if cell is None:
        text = f"was not measured with {sabotage} of `{command}`"
        return Flaw(subcommand=name, text=text, sabotage=sabotage)
    unknown = f"gives no verdict on {sabotage} of `{command}`: {cell.reason}"
    text = f"{state_proof(cell, program) or unknown} ({sabotage} {cell.verdict})"
    return Flaw(subcommand=name, text=text, sabotage=sabotage, verdict=cell.verdict)


def list_toothless(flaws: Sequence[Flaw]) -> tuple[str, ...]:
    """Return the subcommands with a flaw that no other measurement can remove."""
    return tuple(dict.fromkeys(flaw.subcommand for flaw in flaws if not flaw.is_undecided))
