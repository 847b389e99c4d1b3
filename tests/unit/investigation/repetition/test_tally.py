"""The tally of repetitions: what is counted, and what failures have in common."""

from pathlib import Path

from isosmoke.investigation.repetition.tally import Repetition, Tally
from isosmoke.results.leaks import LeakVerdict
from isosmoke.results.outcome import Broke, Ending, Exited, Outcome, Stopped
from isosmoke.results.run_results import Attempt
from support.records import make_output, make_process


def make(  # noqa: PLR0913 - what a repetition can differ in
    number: int,
    ending: Ending | None = None,
    text: str = "",
    *,
    seconds: float = 1.0,
    others: int = 0,
    load: float = 1.0,
    leak: str = "",
) -> Repetition:
    """Return a repetition that began after as many seconds as its number; it passed by default."""
    attempt = Attempt(
        ending=ending or Exited(0),
        output=make_output(text),
        stderr=make_output(text),
        log=Path(f"/logs/{number}"),
        phases={"run": seconds},
        verdict=LeakVerdict((make_process(leak),)) if leak else LeakVerdict(),
    )
    return Repetition(number=number, attempt=attempt, begun=number, others=others, load=load)


def tally_of(*repetitions: Repetition) -> Tally:
    """Return the tally of these repetitions."""
    tally = Tally()
    for repetition in repetitions:
        tally.add(repetition)
    return tally


def test_only_passes_and_failures_are_runs() -> None:
    """A skip, a broken engine and an interrupt say nothing about the failure rate."""
    tally = tally_of(
        make(1),
        make(2, Exited(1)),
        make(3, Exited(77), "reason: no network\n"),
        make(4, Broke("no daemon")),
        make(5, Stopped("SIGINT")),
        make(6, leak="serve"),
    )

    assert (tally.runs, tally.failed, tally.skipped, tally.broken) == (3, 2, 1, 1)
    assert tally.counts[Outcome.LEAK] == 1
    assert tally.skip_reason == "exit 77: no network"
    assert tally.broken_reason == "no daemon"


def test_engine_failures_in_a_row_are_counted() -> None:
    """Any other result shows that the engine works again."""
    broken = Broke("no daemon")

    assert tally_of(make(1, broken), make(2), make(3, broken), make(4, broken)).broken_in_a_row == 2


def test_failures_with_equal_reasons_are_one_group() -> None:
    """Numbers, addresses and hashes in a reason make no new group; the first logs are kept."""
    tally = Tally()
    reasons = [f"pid {number} at 0x{number:x}: refused\n" for number in range(7, 12)]
    kept = [
        tally.add(make(number, Exited(1), text)) for number, text in enumerate(reasons, start=1)
    ]
    tally.add(make(9, Exited(2)))

    assert kept == [True, True, True, False, False]
    assert [(group.count, group.numbers) for group in tally.groups] == [(5, [1, 2, 3]), (1, [9])]
    assert (tally.groups[0].first, tally.groups[0].last) == (1, 5)
    assert tally.groups[0].reason == "exit 1: pid 7 at 0x7: refused"
    assert "5 of 6 failures have the same cause" in next(tally.list_common_facts())


def test_number_of_groups_is_limited() -> None:
    """A scenario whose every failure is different does not use up the memory."""
    words = [f"{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(300)]
    tally = tally_of(*(make(number, Exited(1), word) for number, word in enumerate(words)))

    assert len(tally.groups) == 101
    assert tally.groups[0].reason == "(other failures)"
    assert sum(group.count for group in tally.groups) == 300


def test_common_line_and_leak_are_named() -> None:
    """A last line or a leaked command that most failures share is a fact."""
    tally = tally_of(
        make(1, Exited(1), "refused\n", leak="serve"),
        make(2, Exited(1), "refused\n", leak="serve"),
        make(3, Exited(1), "other\n"),
    )
    facts = [*tally.list_common_facts()]

    assert "2 of 3 failures end with the same line: refused" in facts
    assert "2 of 3 failures left the same process: serve" in facts


def test_common_circumstances_are_named() -> None:
    """Failures differ from passes by their time, duration, load and number of neighbours."""
    passes = [make(number) for number in range(1, 60)]
    failures = [
        make(number, Exited(1), seconds=5.0, others=3, load=9.0) for number in range(60, 66)
    ]
    facts = [*tally_of(*passes, *failures).list_common_facts()]

    assert "all failures began 60.0 s to 65.0 s into 65.0 s" in facts
    assert (
        "all failures ran alongside at least 3 others; none of the 59 repetitions with fewer failed"
        in facts
    )
    assert "failures took 5.00 s, passes 1.00 s (medians)" in facts
    assert "failures met a load average of 9.00, passes 1.00 (medians)" in facts


def test_nothing_is_invented() -> None:
    """Failures that differ in nothing but their number have no circumstances in common."""
    repetitions = [make(number, Exited(number % 2), str(number % 7)) for number in range(70)]
    facts = [*tally_of(*repetitions).list_common_facts()]

    assert not [fact for fact in facts if "began" in fact or "alongside" in fact or "took" in fact]
    assert [*tally_of(make(1), make(2, Exited(1))).list_common_facts()] == []
