"""Which survivors count as leaked."""

from datetime import date
from itertools import starmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.manifest.models import Allowance
from isosmoke.results.leaks import Tolerated, tell_apart
from isosmoke.sandbox.processes import Process

TODAY = date(2027, 1, 31)
YESTERDAY, TOMORROW = date(2027, 1, 30), date(2027, 2, 1)


def process(*argv: str, pid: int = 2, exe: str = "/usr/bin/x") -> Process:
    """A sleeping process with this command line."""
    return Process(pid=pid, ppid=1, argv=argv, cwd="/", exe=exe, age_seconds=1.0, state="S")


def allowance(command: str, until: date | None = None, reason: str = "It is known.") -> Allowance:
    """An allowance as a manifest states it."""
    return Allowance(command=command, reason=reason, until=until)


def test_survivor_without_allowance_is_leaked() -> None:
    """Where nothing is allowed every survivor is leaked, in the order it was listed."""
    survivors = (process("b"), process("a", pid=3))

    verdict = tell_apart(survivors, (), TODAY)

    assert (verdict.leaked, verdict.tolerated) == (survivors, ())


def test_no_survivor_is_no_leak() -> None:
    """An allowance for something that is not there changes nothing."""
    verdict = tell_apart((), (allowance("."),), TODAY)

    assert (verdict.leaked, verdict.tolerated) == ((), ())


@pytest.mark.parametrize(
    ("until", "tolerated"), [(None, True), (TOMORROW, True), (TODAY, True), (YESTERDAY, False)]
)
def test_allowance_holds_to_the_end_of_its_day(until: date | None, tolerated: bool) -> None:  # noqa: FBT001 - a table
    """An allowance covers its last day whole, and not one day more."""
    verdict = tell_apart((process("sleep", "9"),), (allowance("^sleep 9$", until),), TODAY)

    assert bool(verdict.tolerated) is tolerated
    assert bool(verdict.leaked) is not tolerated


def test_allowance_covers_only_what_it_matches() -> None:
    """Only the survivors that match are tolerated, each with the reason of its allowance."""
    server, stray = process("tmux", "-L", "x", "server"), process("sleep", "9", pid=3)

    verdict = tell_apart((stray, server), (allowance("tmux .*server", reason="Shared."),), TODAY)

    assert verdict.leaked == (stray,)
    assert verdict.tolerated == (Tolerated(server, "Shared."),)


def test_first_current_allowance_gives_the_reason() -> None:
    """Where several match, the first that has not expired is the reason told."""
    several = [
        allowance("sleep", YESTERDAY, "Expired."),
        allowance("awake", None, "Another."),
        allowance("sleep", None, "First."),
        allowance("sleep", None, "Second."),
    ]

    (tolerated,) = tell_apart((process("sleep", "9"),), several, TODAY).tolerated

    assert tolerated.reason == "First."


def test_allowance_is_matched_against_the_quoted_command_line() -> None:
    """An argument with spaces is one word of the text that the pattern is held against."""
    survivor = process("bash", "-c", "sleep 9")

    assert tell_apart((survivor,), (allowance("-c 'sleep 9'$"),), TODAY).tolerated
    assert tell_apart((survivor,), (allowance("-c sleep"),), TODAY).leaked


ALLOWANCES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "^c$"]), st.sampled_from([None, YESTERDAY, TODAY]))
)


@given(st.lists(st.sampled_from("abcd")), ALLOWANCES)
def test_each_survivor_is_told_exactly_once(
    names: list[str], allowed: list[tuple[str, date | None]]
) -> None:
    """Leaked and tolerated together are the survivors, none lost and none doubled."""
    survivors = [process(name, pid=pid) for pid, name in enumerate(names, 2)]
    verdict = tell_apart(survivors, list(starmap(allowance, allowed)), TODAY)

    told = [*verdict.leaked, *(one.process for one in verdict.tolerated)]
    assert sorted(told, key=lambda one: one.pid) == survivors
