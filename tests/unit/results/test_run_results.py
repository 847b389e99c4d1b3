"""What the data of a run says of itself: reasons, last words, retries, and who was alone."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.results.leaks import Tolerated, Verdict
from isosmoke.results.outcome import (
    Broke,
    Ending,
    Exited,
    Outcome,
    Signaled,
    Stopped,
    TimedOut,
    Unmet,
)
from isosmoke.results.run_results import Attempt, Captured, ScenarioResult, last_words
from isosmoke.sandbox.processes import Process
from support import result_factories


def said(text: str) -> Captured:
    """An output that is short enough to be kept whole."""
    return Captured(head=text.encode(), size=len(text.encode()))


def left(*argv: str, pid: int = 7) -> Process:
    """A process that outlived its scenario."""
    return Process(pid=pid, ppid=1, argv=argv, cwd="/", exe="/bin/x", age_seconds=1.0, state="S")


def result(*attempts: Attempt) -> ScenarioResult:
    """The result that these attempts make."""
    return result_factories.result(*attempts)


PASSED, FAILED, SKIPPED = (
    Attempt(ending=Exited(0)),
    Attempt(ending=Exited(1)),
    Attempt(ending=Exited(77)),
)
CROWDED = Attempt(ending=Exited(1), alone=False)

SLEEP, SERVE = left("sleep", "9"), left("serve", pid=8)

REASONS: list[tuple[str, Attempt, str]] = [
    ("a plain pass", PASSED, ""),
    ("a pass that complained", Attempt(ending=Exited(0), stderr=said("warning\n")), ""),
    ("a silent failure", FAILED, "exit 1"),
    ("a failure", Attempt(ending=Exited(1), stderr=said("a\nit broke\n\n")), "exit 1: it broke"),
    ("a signal", Attempt(ending=Signaled(11), stderr=said("ouch")), "ended by SIGSEGV: ouch"),
    ("a deadline", Attempt(ending=TimedOut(180)), "still running after 180 s"),
    ("a skip", Attempt(ending=Exited(77), stderr=said("SKIP: no tmux")), "exit 77: SKIP: no tmux"),
    ("a requirement", Attempt(ending=Unmet("variable X not set")), "variable X not set"),
    ("a broken engine", Attempt(ending=Broke("no daemon")), "no daemon"),
    ("an interrupt", Attempt(ending=Stopped("SIGINT")), "SIGINT"),
    ("a leak", Attempt(ending=Exited(0), verdict=Verdict((SLEEP,))), "left 1 process: sleep 9"),
    (
        "a failure with leaks",
        Attempt(ending=Exited(2), verdict=Verdict((SLEEP, SERVE)), stderr=said("x")),
        "exit 2: x, left 2 processes: sleep 9; serve",
    ),
    (
        "many alike",
        Attempt(ending=Exited(0), verdict=Verdict((SLEEP,) * 5)),
        "left 5 processes: sleep 9",
    ),
    (
        "many unlike",
        Attempt(ending=Exited(0), verdict=Verdict(tuple(left(name) for name in "abcde"))),
        "left 5 processes: a; b; c and 2 more",
    ),
    (
        "a long command",
        Attempt(ending=Exited(0), verdict=Verdict((left("/opt/b/serve", "--name", "x" * 99),))),
        f"left 1 process: serve --name {'x' * 46}…",
    ),
    (
        "what is tolerated",
        Attempt(ending=Exited(0), verdict=Verdict((), (Tolerated(SLEEP, "Known."),))),
        "",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("attempt", "reason"), [row[1:] for row in REASONS], ids=[row[0] for row in REASONS]
)
def test_reason_says_why_in_one_line(attempt: Attempt, reason: str) -> None:
    """A reason is the ending, the script's last words and what it left; a plain pass has none."""
    assert attempt.reason == reason


@pytest.mark.parametrize(
    "attempt",
    [
        Attempt(ending=Broke("bwrap: no\nbwrap: really not")),
        Attempt(ending=Unmet("a\r\nb")),
        Attempt(ending=Exited(0), verdict=Verdict((left("bash", "-c", "while :\ndo :\ndone"),))),
        Attempt(ending=Exited(1), stderr=said("first\nnext\u2028same\x85 line\x0b")),
    ],
    ids=["engine", "requirement", "command line", "last words"],
)
def test_reason_is_one_line_whatever_it_tells(attempt: Attempt) -> None:
    """A reason never breaks its line, so that a report can put it behind a name."""
    assert len(attempt.reason.splitlines()) == 1


WG_BANNER = (
    "============================================================",
    "  SMOKE SCENARIO FAILED: chat-loads-history",
    "  reason: history was empty after reconnect  ",
    "============================================================",
    "",
)

LAST_WORDS: list[tuple[str, tuple[str, ...], str]] = [
    ("nothing", (), ""),
    ("blank lines", ("", "   "), ""),
    ("a rule alone", ("=====", "-----"), ""),
    ("one line", ("it broke",), "it broke"),
    ("trailing rule", ("  it broke  ", "=======", ""), "it broke"),
    ("a banner of wg", WG_BANNER, "history was empty after reconnect"),
    ("in any case", ("REASON: Loud", "more"), "Loud"),
    ("behind a mark", ("# reason: hidden",), "hidden"),
    ("the last reason", ("reason: old", "reason: new", "bye"), "new"),
    ("a reason without words", ("reason:", "real words"), "real words"),
    ("a reason inside a sentence", ("for a reason: none", "end"), "end"),
    ("other scripts", ("失敗しました", "***"), "失敗しました"),
]


@pytest.mark.parametrize(
    ("lines", "words"), [row[1:] for row in LAST_WORDS], ids=[row[0] for row in LAST_WORDS]
)
def test_last_words_prefer_a_stated_reason(lines: tuple[str, ...], words: str) -> None:
    """A line that states a reason wins over the last line with words; rules are no words."""
    assert last_words(lines) == words


@given(st.lists(st.text()))
def test_last_words_come_from_the_lines(lines: list[str]) -> None:
    """Whatever was printed, the last words are part of one of its lines."""
    words = last_words(tuple(lines))

    assert any(words in line for line in [*lines, ""])


def test_last_lines_cross_from_head_to_tail_where_nothing_is_missing() -> None:
    """Where all was kept, a line may begin in the head and end in the tail."""
    whole = Captured(head=b"one\ntw", tail=b"o\nthree\n", size=14)

    assert whole.left_out == 0
    assert whole.last_lines(2) == ("two", "three")
    assert whole.last_lines(9) == ("one", "two", "three")


def test_last_lines_never_join_what_did_not_follow() -> None:
    """Where something is missing, the head is not shown as if the tail came right after it."""
    gapped = Captured(head=b"one\ntw", tail=b"o\nthree\n", size=1000)

    assert gapped.left_out == 1000 - 14
    assert gapped.last_lines(9) == ("o", "three")


def test_last_lines_of_any_bytes_are_text() -> None:
    """Bytes that are no text are shown, not refused."""
    assert Captured(head=b"\xff\xfe ok", size=5).last_lines(1) == ("\ufffd\ufffd ok",)


OUTCOMES: list[tuple[str, ScenarioResult, Outcome, int, bool]] = [
    ("pass", result(PASSED), Outcome.PASS, 0, False),
    ("fail", result(FAILED), Outcome.FAIL, 0, False),
    ("fail, pass", result(FAILED, PASSED), Outcome.FLAKY, 0, False),
    ("fail, fail, pass", result(FAILED, CROWDED, PASSED), Outcome.FLAKY, 0, False),
    ("crowded fail, pass alone", result(CROWDED, PASSED), Outcome.FLAKY, 0, True),
    ("crowded fails, pass alone", result(CROWDED, CROWDED, PASSED), Outcome.FLAKY, 0, True),
    ("crowded fail, fail alone", result(CROWDED, FAILED), Outcome.FAIL, 0, False),
    (
        "crowded fail, crowded pass",
        result(CROWDED, Attempt(ending=Exited(0), alone=False)),
        Outcome.FLAKY,
        0,
        False,
    ),
    ("fail, timeout", result(FAILED, Attempt(ending=TimedOut(1))), Outcome.TIMEOUT, 0, False),
    ("skip", result(SKIPPED), Outcome.SKIP, 0, False),
    ("fail, skip", result(FAILED, SKIPPED), Outcome.FAIL, 0, False),
    ("crowded fail, skip alone", result(CROWDED, SKIPPED), Outcome.FAIL, 0, False),
]


@pytest.mark.parametrize(
    ("told", "outcome", "telling", "sensitive"),
    [row[1:] for row in OUTCOMES],
    ids=[row[0] for row in OUTCOMES],
)
def test_result_is_what_its_attempts_amount_to(
    told: ScenarioResult,
    outcome: Outcome,
    telling: int,
    sensitive: bool,  # noqa: FBT001 - a table
) -> None:
    """A pass after a failure is FLAKY, a skip never undoes one, and the first failure is shown."""
    assert told.outcome is outcome
    assert told.telling is told.attempts[telling]
    assert told.load_sensitive is sensitive


def test_leak_under_the_report_policy_passes_and_is_still_told() -> None:
    """Where leaks do not block, the outcome is the script's, and the reason names what it left."""
    attempt = Attempt(ending=Exited(0), verdict=Verdict((SLEEP,)), leak_blocks=False)

    assert attempt.outcome is Outcome.PASS
    assert attempt.leaks == (SLEEP,)
    assert attempt.reason == "left 1 process: sleep 9"


@pytest.mark.parametrize(
    ("ending", "broken"), [(Broke("no daemon"), True), (Exited(99), False), (Exited(1), False)]
)
def test_infrastructure_means_that_the_engine_broke(ending: Ending, broken: bool) -> None:  # noqa: FBT001 - a table
    """Only a broken engine is infrastructure; a script that says ERROR itself is not."""
    assert result(Attempt(ending=ending)).infrastructure is broken


def test_seconds_add_up_over_phases_and_attempts() -> None:
    """A scenario took as long as every phase of every attempt together."""
    once = Attempt(ending=Exited(1), phases={"create": 0.5, "run": 1.0})

    assert once.seconds == 1.5
    assert result(once, once).seconds == 3.0


def test_counts_name_each_outcome_that_occurs() -> None:
    """A run counts how many of its scenarios came out each way, and how many were skipped."""
    skipped = result(Attempt(ending=Exited(77)))
    run = result_factories.run(result(FAILED, PASSED), skipped, result(PASSED), result(PASSED))

    assert list(run.counts.items()) == [("PASS", 2), ("FLAKY", 1), ("SKIP", 1)]
    assert run.skipped == 1


def test_failure_before_the_engine_broke_is_no_infrastructure() -> None:
    """What failed once is known to fail, whatever happened to the engine afterwards."""
    attempts = (Attempt(ending=Exited(1), alone=False), Attempt(ending=Broke("no daemon")))

    assert not result(*attempts).infrastructure


def texts(value: object) -> Iterator[str]:
    """Every text in a tree of dataclasses, tuples and mappings, but for names."""
    match value:
        case str():
            yield value
        case tuple():
            yield from (text for one in value for text in texts(one))
        case dict():
            yield from (text for one in value.values() for text in texts(one))
        case _ if is_dataclass(value):
            for one in fields(value):
                yield from texts(getattr(value, one.name))
        case _:
            pass


@pytest.mark.parametrize("ending", [Broke("secret"), Unmet("secret"), Stopped("secret")])
def test_no_text_of_an_attempt_escapes_its_teller(ending: Ending) -> None:
    """Each text that a script or an engine may have put into an attempt is told in other words."""
    process = Process(
        pid=7,
        ppid=1,
        argv=("secret", "secret"),
        cwd="secret",
        exe="secret",
        age_seconds=1.0,
        state="word",
        listens=("secret",),
    )
    attempt = Attempt(
        ending=ending,
        verdict=Verdict((process,), (Tolerated(process, "word"),)),
        environment={"NAME": "secret"},
    )
    told = attempt.told_by(lambda text: text.replace("secret", "word"))

    assert list(texts(attempt)).count("secret") == 12
    assert set(texts(told)) <= {"word", ""}
    assert told.told_by(str) == told
    assert Attempt(ending=Exited(3)).told_by(str.upper).ending == Exited(3)
