"""The outcome of each ending, with and without a leak."""

from functools import partial
from typing import Any, get_args

import pytest

from isosmoke.results.outcome import (
    Broke,
    Ending,
    Exited,
    MissingRequirement,
    Outcome,
    Signaled,
    Stopped,
    TimedOut,
    describe,
    judge,
    name_signal,
    transform_texts,
)

TABLE: list[tuple[Ending, Outcome, Outcome]] = [
    (Exited(0), Outcome.PASS, Outcome.LEAK),
    (Exited(77), Outcome.SKIP, Outcome.LEAK),
    (MissingRequirement("no tmux"), Outcome.SKIP, Outcome.LEAK),
    (Exited(99), Outcome.ERROR, Outcome.ERROR),
    (Exited(1), Outcome.FAIL, Outcome.FAIL),
    (Exited(76), Outcome.FAIL, Outcome.FAIL),
    (Exited(78), Outcome.FAIL, Outcome.FAIL),
    (Exited(98), Outcome.FAIL, Outcome.FAIL),
    (Exited(100), Outcome.FAIL, Outcome.FAIL),
    (Exited(124), Outcome.FAIL, Outcome.FAIL),
    (Exited(143), Outcome.FAIL, Outcome.FAIL),
    (Exited(255), Outcome.FAIL, Outcome.FAIL),
    (Signaled(15), Outcome.FAIL, Outcome.FAIL),
    (Signaled(9), Outcome.FAIL, Outcome.FAIL),
    (Signaled(77), Outcome.FAIL, Outcome.FAIL),
    (TimedOut(180), Outcome.TIMEOUT, Outcome.TIMEOUT),
    (Broke("no daemon"), Outcome.ERROR, Outcome.ERROR),
    (Stopped("SIGINT"), Outcome.NOT_RUN, Outcome.NOT_RUN),
]

BLOCKING = {
    Outcome.PASS: False,
    Outcome.FLAKY: False,
    Outcome.SKIP: False,
    Outcome.LEAK: True,
    Outcome.FAIL: True,
    Outcome.TIMEOUT: True,
    Outcome.ERROR: True,
    Outcome.NOT_RUN: True,
}

REDACTED: list[tuple[Ending, Ending]] = [
    (Exited(3), Exited(3)),
    (Signaled(15), Signaled(15)),
    (TimedOut(0.5), TimedOut(0.5)),
    (MissingRequirement("pw"), MissingRequirement("PW")),
    (Broke("pw"), Broke("PW")),
    (Stopped("pw"), Stopped("PW")),
]
"""Each kind of ending, and the same ending with its text in upper case."""

DESCRIPTIONS: list[tuple[Ending, str]] = [
    (Exited(0), "exit 0"),
    (Exited(143), "exit 143"),
    (Signaled(15), "ended by SIGTERM"),
    (Signaled(250), "ended by signal 250"),
    (TimedOut(180), "still running after 180 s"),
    (TimedOut(0.5), "still running after 0.5 s"),
    (MissingRequirement("command 'tmux' not found"), "command 'tmux' not found"),
    (Broke("no daemon"), "no daemon"),
    (Stopped("SIGINT"), "SIGINT"),
]


@pytest.mark.parametrize(("ending", "clean", "leaking"), TABLE, ids=str)
def test_judge_follows_the_published_table(
    ending: Ending, clean: Outcome, leaking: Outcome
) -> None:
    """Each ending has the outcome of the published table, with and without a leak."""
    assert judge(ending, leaked=False) is clean
    assert judge(ending, leaked=True) is leaking


def test_tables_cover_every_kind_of_ending() -> None:
    """Each kind of ending is in all tables of this file."""
    kinds = set(get_args(Ending))

    assert {type(ending) for ending, _, _ in TABLE} == kinds
    assert {type(ending) for ending, _ in DESCRIPTIONS} == kinds
    assert {type(ending) for ending, _ in REDACTED} == kinds


@pytest.mark.parametrize(("ending", "redacted"), REDACTED, ids=str)
def test_transform_applies_to_every_text_of_an_ending(ending: Ending, redacted: Ending) -> None:
    """The transform is applied to each text of an ending."""
    assert transform_texts(ending, str.upper) == redacted


def test_unknown_ending_is_an_error() -> None:
    """An object that is not an ending is an error."""
    unknown: Any = object()

    for function in (
        describe,
        partial(judge, leaked=False),
        partial(transform_texts, transform=str),
    ):
        with pytest.raises(AssertionError, match="unreachable"):
            function(unknown)


@pytest.mark.parametrize("code", range(256))
def test_only_exit_zero_passes(code: int) -> None:
    """Only exit code 0 passes and only 77 skips; any other keeps the gate shut."""
    outcome = judge(Exited(code), leaked=False)

    assert (outcome is Outcome.PASS) == (code == 0)
    assert outcome.blocks == (code not in (0, 77))
    assert judge(Exited(code), leaked=True).blocks


def test_outcomes_block_as_published() -> None:
    """Exactly the published outcomes keep the gate shut."""
    assert {outcome: outcome.blocks for outcome in Outcome} == BLOCKING


@pytest.mark.parametrize(("ending", "text"), DESCRIPTIONS, ids=str)
def test_describe_distinguishes_endings(ending: Ending, text: str) -> None:
    """The description of an exit code differs from that of a signal."""
    assert describe(ending) == text


@pytest.mark.parametrize(
    ("number", "name"), [(9, "SIGKILL"), (34, "SIGRTMIN"), (40, "signal 40"), (0, "signal 0")]
)
def test_unnamed_signal_is_described_by_number(number: int, name: str) -> None:
    """A signal without a name is described by its number."""
    assert name_signal(number) == name
