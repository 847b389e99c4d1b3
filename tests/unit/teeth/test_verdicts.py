"""The verdict on each cell, and what several cells show together."""

from dataclasses import replace

import pytest

from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage, Verdict
from isosmoke.results.leaks import LeakVerdict
from isosmoke.results.outcome import Broke, Exited, TimedOut
from isosmoke.results.run_results import Attempt
from isosmoke.sandbox.survivors import Process
from isosmoke.teeth import verdicts
from isosmoke.teeth.calls.call_log import Call
from support import result_factories
from support.call_factories import create_call

LEFT = Process(pid=7, ppid=1, argv=("x",), cwd="/", exe="/x", age_seconds=1.0, state="S")
LEAK = Attempt(ending=Exited(0), verdict=LeakVerdict((LEFT,), ()))
CROWDED = Attempt(ending=TimedOut(5), alone=False)

CASES = {
    "pass": (Sabotage.LIE, Attempt(ending=Exited(0)), Verdict.SURVIVED),
    "fail": (Sabotage.LIE, Attempt(ending=Exited(1)), Verdict.BITES),
    "leak": (Sabotage.ORPHAN, LEAK, Verdict.BITES),
    "skip": (Sabotage.LIE, Attempt(ending=Exited(77)), Verdict.ESCAPED),
    "timeout in isolation": (Sabotage.LIE, Attempt(ending=TimedOut(5)), Verdict.BITES),
    "timeout under load": (Sabotage.LIE, CROWDED, Verdict.ERROR),
    "timeout of a hang": (Sabotage.HANG, CROWDED, Verdict.BITES),
    "hard error": (Sabotage.LIE, Attempt(ending=Exited(99)), Verdict.ERROR),
    "broken engine": (Sabotage.LIE, Attempt(ending=Broke("gone")), Verdict.ERROR),
}


@pytest.mark.parametrize("case", CASES)
def test_verdict_on_a_result(case: str) -> None:
    """The verdict follows from the outcome, if the sabotage was applied."""
    sabotage, attempt, expected = CASES[case]
    result = result_factories.make_result(attempt)
    calls = (create_call(applied=sabotage.value),)

    assert verdicts.judge(("put", sabotage), result, calls).verdict is expected


@pytest.mark.parametrize("calls", [(), (create_call(),)], ids=["no call", "other call"])
def test_sabotage_that_did_not_report_itself_is_void(calls: tuple[Call, ...]) -> None:
    """A failure counts only if the sabotage was applied."""
    result = result_factories.make_result(Attempt(ending=Exited(1)))
    cell = verdicts.judge(("put", Sabotage.LIE), result, calls)

    assert cell.verdict is Verdict.VOID


def test_unknown_calls_are_an_error() -> None:
    """Without a log there is no verdict."""
    result = result_factories.make_result(Attempt(ending=Exited(1)))

    assert verdicts.judge(("put", Sabotage.LIE), result, None).verdict is Verdict.ERROR


def create_cells(**found: Verdict) -> list[Cell]:
    """Return cells of one subcommand with these verdicts, by sabotage."""
    return [
        Cell(subcommand="put", sabotage=Sabotage(name), verdict=verdict)
        for name, verdict in found.items()
    ]


S, B, E = Verdict.SURVIVED, Verdict.BITES, Verdict.EQUIVALENT

PSEUDO = {
    "nothing noticed": (create_cells(replay=S, mute=S, lie=S), True),
    "one implied": (create_cells(replay=Verdict.IMPLIED, mute=S, lie=S), True),
    "status noticed": (create_cells(replay=S, mute=S, lie=B), False),
    "no difference": (create_cells(replay=E, mute=E, lie=E), False),
    "only a difference in the status": (create_cells(replay=E, mute=E, lie=S), True),
    "not all run": (create_cells(replay=S, lie=S), False),
    "one void": (create_cells(replay=Verdict.VOID, mute=S, lie=S), False),
}


@pytest.mark.parametrize("case", PSEUDO)
def test_pseudo_tested(case: str) -> None:
    """A subcommand is pseudo-tested if neither work nor output nor status is noticed."""
    cells, expected = PSEUDO[case]

    assert verdicts.is_pseudo_tested(cells) is expected


def test_self_test_needs_one_leak() -> None:
    """The self-test fails if processes were left and none was found; without any it is silent."""
    survived = create_cells(orphan=S)
    found = [replace(cell, verdict=B, left_process=True) for cell in survived]

    assert verdicts.has_failed_self_test(survived)
    assert not verdicts.has_failed_self_test([*survived, *found])
    assert not verdicts.has_failed_self_test(create_cells(orphan=Verdict.VOID, lie=S))


@pytest.mark.parametrize(("argv", "is_left"), [(("x",), False), (("isosmoke-orphan",), True)])
def test_self_test_needs_the_process_that_was_left_on_purpose(
    argv: tuple[str, ...], *, is_left: bool
) -> None:
    """A leak of the scenario itself does not show that isosmoke found the one of the sabotage."""
    leak = replace(LEAK, verdict=LeakVerdict((replace(LEFT, argv=argv),), ()))
    calls = (create_call(applied="orphan"),)
    cell = verdicts.judge(("put", Sabotage.ORPHAN), result_factories.make_result(leak), calls)

    assert (cell.verdict, cell.left_process) == (Verdict.BITES, is_left)


def test_cell_is_not_run_after_a_stronger_survivor() -> None:
    """A weaker sabotage is implied by a survivor, and by nothing else."""
    calls = (create_call(),)
    decided = verdicts.decide_without_run(("put", Sabotage.REPLAY), calls, create_cells(noop=S))

    assert decided is not None
    assert (decided.verdict, decided.reason) == (Verdict.IMPLIED, "noop was not noticed")
    assert (
        verdicts.decide_without_run(("put", Sabotage.REPLAY), calls, create_cells(noop=B)) is None
    )
