"""The sabotages that calls cannot tell apart from the real binary, or from each other."""

import pytest

from isosmoke.gate.proofs.teeth_cells import Sabotage
from isosmoke.teeth import sabotages
from isosmoke.teeth.calls.call_log import CallOutput
from isosmoke.teeth.sabotages import STAGES
from support.call_factories import create_call

READ_ONLY = create_call(effects="")
SILENT = create_call("")
FAILING = create_call("", status=1, effects="")
DISCARDED = create_call(kinds=("null", "null", "null"), stdout=None, stderr=None)
TERMINAL = create_call(kinds=("terminal",) * 3, stdout=None, stderr=None)

EQUIVALENT = {
    "a writer": ((create_call(),), {Sabotage.STALE}),
    "a read-only call": ((READ_ONLY,), {Sabotage.REPLAY, Sabotage.STALE}),
    "an untraced call": ((create_call(effects=None),), {Sabotage.STALE}),
    "a silent writer": ((SILENT,), {Sabotage.MUTE, Sabotage.STALE}),
    "discarded output": ((DISCARDED,), {Sabotage.MUTE, Sabotage.STALE}),
    "a terminal": ((TERMINAL,), {Sabotage.STALE}),
    "a silent failure": (
        (FAILING,),
        {Sabotage.FAIL, Sabotage.REPLAY, Sabotage.MUTE, Sabotage.STALE},
    ),
    "a silent failure with another code": (
        (create_call("", status=2, effects=""),),
        {Sabotage.REPLAY, Sabotage.MUTE, Sabotage.STALE},
    ),
    "a repeated answer": ((create_call(), create_call()), {Sabotage.STALE}),
    "two answers": ((create_call("a"), create_call("b")), set()),
    "a silent read-only call": (
        (create_call("", effects=""),),
        {Sabotage.NOOP, Sabotage.REPLAY, Sabotage.MUTE, Sabotage.STALE},
    ),
}


@pytest.mark.parametrize("case", EQUIVALENT)
def test_equivalent_sabotages(case: str) -> None:
    """A sabotage without an observable difference is equivalent, and no other one is."""
    calls, expected = EQUIVALENT[case]

    assert {each for each in Sabotage if sabotages.is_equivalent(each, calls)} == expected


def test_survivor_implies_weaker_sabotages() -> None:
    """A scenario that does not notice a failure without work cannot notice less than that."""
    calls = (create_call(), create_call("other"))
    implied = {each for each in Sabotage if sabotages.is_implied(each, Sabotage.FAIL, calls)}

    assert implied == {
        *(Sabotage.FAIL, Sabotage.NOOP),
        *(Sabotage.REPLAY, Sabotage.MUTE, Sabotage.LIE),
    }


def test_expected_failure_implies_nothing_that_succeeds() -> None:
    """If a call is to fail, a scenario that accepts a failure may still notice a success."""
    calls = (create_call(status=1), create_call("other", status=1))
    implied = {each for each in Sabotage if sabotages.is_implied(each, Sabotage.FAIL, calls)}

    assert implied == {Sabotage.FAIL, Sabotage.REPLAY, Sabotage.MUTE}


def test_replay_requires_a_complete_answer() -> None:
    """Calls at a terminal, calls without an end and large outputs cannot be replayed."""
    large = create_call(stdout=CallOutput(9, 1, b"1234"))
    unusable = [TERMINAL, create_call(status=None), large, create_call()]

    assert [bool(sabotages.find_unusable(Sabotage.REPLAY, (call,))) for call in unusable] == [
        *(True, True, True, False)
    ]


def test_every_sabotage_has_one_stage_and_a_description() -> None:
    """The stages contain each sabotage once, and each has a sentence."""
    staged = [sabotage for stage in STAGES for sabotage in stage]

    assert sorted(staged) == sorted(Sabotage)
    assert all("{command}" in sabotage.description for sabotage in Sabotage)
