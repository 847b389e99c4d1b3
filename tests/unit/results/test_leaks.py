"""Classification of survivors."""

from datetime import date
from itertools import starmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.manifest.models import Allowance
from isosmoke.results.leaks import Tolerated, classify_survivors
from isosmoke.sandbox.survivors import Process

TODAY = date(2027, 1, 31)
YESTERDAY, TOMORROW = date(2027, 1, 30), date(2027, 2, 1)


def create_process(*argv: str, pid: int = 2, exe: str = "/usr/bin/x") -> Process:
    """Create a sleeping process with this command line."""
    return Process(pid=pid, ppid=1, argv=argv, cwd="/", exe=exe, age_seconds=1.0, state="S")


def create_allowance(
    command: str, until: date | None = None, reason: str = "It is known."
) -> Allowance:
    """Create an allowance as in a manifest."""
    return Allowance(command=command, reason=reason, until=until)


def test_survivor_without_allowance_is_leaked() -> None:
    """Without allowances every survivor is leaked, in the given order."""
    survivors = (create_process("b"), create_process("a", pid=3))

    verdict = classify_survivors(survivors, (), TODAY)

    assert (verdict.leaked, verdict.tolerated) == (survivors, ())


def test_no_survivor_is_no_leak() -> None:
    """An allowance without a survivor has no effect."""
    verdict = classify_survivors((), (create_allowance("."),), TODAY)

    assert (verdict.leaked, verdict.tolerated) == ((), ())


@pytest.mark.parametrize(
    ("until", "tolerated"), [(None, True), (TOMORROW, True), (TODAY, True), (YESTERDAY, False)]
)
def test_allowance_applies_until_the_end_of_its_day(until: date | None, tolerated: bool) -> None:  # noqa: FBT001 - a table
    """An allowance applies on its last day, but not on the day after."""
    verdict = classify_survivors(
        (create_process("sleep", "9"),), (create_allowance("^sleep 9$", until),), TODAY
    )

    assert bool(verdict.tolerated) is tolerated
    assert bool(verdict.leaked) is not tolerated


def test_allowance_covers_only_matching_survivors() -> None:
    """Only matching survivors are tolerated, with the reason of their allowance."""
    server, stray = create_process("tmux", "-L", "x", "server"), create_process("sleep", "9", pid=3)

    verdict = classify_survivors(
        (stray, server), (create_allowance("tmux .*server", reason="Shared."),), TODAY
    )

    assert verdict.leaked == (stray,)
    assert verdict.tolerated == (Tolerated(server, "Shared."),)


def test_first_current_allowance_gives_the_reason() -> None:
    """If several allowances match, the first one that has not expired provides the reason."""
    allowances = [
        create_allowance("sleep", YESTERDAY, "Expired."),
        create_allowance("awake", None, "Another."),
        create_allowance("sleep", None, "First."),
        create_allowance("sleep", None, "Second."),
    ]

    (tolerated,) = classify_survivors((create_process("sleep", "9"),), allowances, TODAY).tolerated

    assert tolerated.reason == "First."


def test_allowance_is_matched_against_the_quoted_command_line() -> None:
    """The pattern is matched against the command line with shell quoting."""
    survivor = create_process("bash", "-c", "sleep 9")

    assert classify_survivors((survivor,), (create_allowance("-c 'sleep 9'$"),), TODAY).tolerated
    assert classify_survivors((survivor,), (create_allowance("-c sleep"),), TODAY).leaked


ALLOWANCES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "^c$"]), st.sampled_from([None, YESTERDAY, TODAY]))
)


@given(st.lists(st.sampled_from("abcd")), ALLOWANCES)
def test_each_survivor_is_classified_exactly_once(
    names: list[str], allowed: list[tuple[str, date | None]]
) -> None:
    """The leaked and tolerated processes together are the survivors, without duplicates."""
    survivors = [create_process(name, pid=pid) for pid, name in enumerate(names, 2)]
    verdict = classify_survivors(survivors, list(starmap(create_allowance, allowed)), TODAY)

    classified = [*verdict.leaked, *(survivor.process for survivor in verdict.tolerated)]
    assert sorted(classified, key=lambda process: process.pid) == survivors
