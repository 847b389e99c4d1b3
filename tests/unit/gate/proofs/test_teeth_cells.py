"""Declared teeth: the sabotages that a scenario has to notice in the subcommands of its entry."""

import pytest

from isosmoke.gate.proofs import teeth_cells
from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage, Verdict

S, B, E = Verdict.SURVIVED, Verdict.BITES, Verdict.EQUIVALENT


def create_cells(**found: Verdict) -> list[Cell]:
    """Return cells of one subcommand with these verdicts, by sabotage."""
    return [
        Cell(subcommand="put", sabotage=Sabotage(name), verdict=verdict, reason="no answer")
        for name, verdict in found.items()
    ]


FLAWS = {
    "noticed": (create_cells(noop=B, replay=B, lie=B), []),
    "no difference": (create_cells(noop=B, replay=E, lie=B), []),
    "output not noticed": (create_cells(noop=B, replay=B, lie=B, mute=S), []),
    "work not noticed": (
        create_cells(noop=B, replay=S, lie=B),
        ["passes although `wg put` only prints its message (replay SURVIVED)"],
    ),
    "status implied": (
        create_cells(noop=S, replay=B, lie=Verdict.IMPLIED),
        [
            "passes although `wg put` does nothing (noop SURVIVED)",
            "passes although `wg put` exits with the opposite status (lie IMPLIED)",
        ],
    ),
    "skip": (
        create_cells(noop=B, replay=B, lie=Verdict.ESCAPED),
        ["skips if `wg put` exits with the opposite status (lie ESCAPED)"],
    ),
    "no answer": (
        create_cells(noop=B, replay=Verdict.VOID, lie=B),
        ["gives no verdict on replay of `wg put`: no answer (replay VOID)"],
    ),
    "nothing to notice": (
        create_cells(noop=E, replay=E, lie=E),
        ["no sabotage of `wg put` can be noticed"],
    ),
}


@pytest.mark.parametrize(("cells", "expected"), FLAWS.values(), ids=FLAWS)
def test_declared_subcommand_must_be_noticed(cells: list[Cell], expected: list[str]) -> None:
    """Each flaw names the subcommand and the sabotage; any of them makes it toothless."""
    flaws = teeth_cells.find_flaws(("put",), ("put",), cells, "wg")

    assert [flaw.text for flaw in flaws] == expected
    assert teeth_cells.list_toothless(flaws) == (("put",) if expected else ())


def test_declared_subcommand_must_be_called() -> None:
    """A declared subcommand that the scenario does not call is a flaw, whatever the others are."""
    cells = create_cells(noop=B, replay=B, lie=B)
    flaws = teeth_cells.find_flaws(("put", "list"), ("put",), cells, "wg")

    assert [flaw.text for flaw in flaws] == ["never calls `wg list`, which its `teeth` names"]
    assert teeth_cells.list_toothless(flaws) == ("list",)


UNDECIDED = {
    "not measured": (create_cells(noop=B, lie=B), "was not measured with replay of `wg put`"),
    "error": (create_cells(noop=B, replay=Verdict.ERROR, lie=B), "gives no verdict on replay"),
}


@pytest.mark.parametrize(("cells", "text"), UNDECIDED.values(), ids=UNDECIDED)
def test_undecided_sabotage_is_no_verdict(cells: list[Cell], text: str) -> None:
    """Without a verdict there are no teeth, but the scenario is not shown to lack them."""
    (flaw,) = teeth_cells.find_flaws(("put",), ("put",), cells, "wg")

    assert text in flaw.text
    assert flaw.is_undecided
    assert teeth_cells.list_toothless((flaw,)) == ()
