"""Results of attempts, scenarios and runs: reasons, retries and load sensitivity."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import pytest

from isosmoke.results.leaks import LeakVerdict, Tolerated
from isosmoke.results.outcome import (
    Broke,
    Ending,
    Exited,
    MissingRequirement,
    Outcome,
    Signaled,
    Stopped,
    TimedOut,
)
from isosmoke.results.run_results import Attempt, CapturedOutput, ScenarioResult
from isosmoke.sandbox.survivors import Process
from support import result_factories


def capture(text: str) -> CapturedOutput:
    """Create an output that is short enough to be kept completely."""
    return CapturedOutput(head=text.encode(), size=len(text.encode()))


def create_process(*argv: str, pid: int = 7) -> Process:
    """Create a process that outlived its scenario."""
    return Process(pid=pid, ppid=1, argv=argv, cwd="/", exe="/bin/x", age_seconds=1.0, state="S")


def create_result(*attempts: Attempt) -> ScenarioResult:
    """Create the result of these attempts."""
    return result_factories.make_result(*attempts)


PASSED, FAILED, SKIPPED = (
    Attempt(ending=Exited(0)),
    Attempt(ending=Exited(1)),
    Attempt(ending=Exited(77)),
)
CONCURRENT = Attempt(ending=Exited(1), alone=False)

SLEEP, SERVE = create_process("sleep", "9"), create_process("serve", pid=8)

REASONS: list[tuple[str, Attempt, str]] = [
    ("a plain pass", PASSED, ""),
    ("a pass that complained", Attempt(ending=Exited(0), stderr=capture("warning\n")), ""),
    ("a silent failure", FAILED, "exit 1"),
    ("a failure", Attempt(ending=Exited(1), stderr=capture("a\nit broke\n\n")), "exit 1: it broke"),
    ("a signal", Attempt(ending=Signaled(11), stderr=capture("ouch")), "ended by SIGSEGV: ouch"),
    ("a deadline", Attempt(ending=TimedOut(180)), "still running after 180 s"),
    ("a skip", Attempt(ending=Exited(77), stderr=capture("SKIP: none")), "exit 77: SKIP: none"),
    (
        "a requirement",
        Attempt(ending=MissingRequirement("variable X not set")),
        "variable X not set",
    ),
    (
        "a reached limit",
        Attempt(ending=Signaled(9), reached_limits=("the limit of 64 MiB memory was reached",)),
        "ended by SIGKILL: the limit of 64 MiB memory was reached",
    ),
    (
        "a missing program",
        Attempt(ending=Exited(127), stderr=capture("wg: not found"), missing_program="no wg here"),
        "exit 127: wg: not found (no wg here)",
    ),
    ("a broken engine", Attempt(ending=Broke("no daemon")), "no daemon"),
    ("an interrupt", Attempt(ending=Stopped("SIGINT")), "SIGINT"),
    ("a leak", Attempt(ending=Exited(0), verdict=LeakVerdict((SLEEP,))), "left 1 process: sleep 9"),
    (
        "a failure with leaks",
        Attempt(ending=Exited(2), verdict=LeakVerdict((SLEEP, SERVE)), stderr=capture("x")),
        "exit 2: x, left 2 processes: sleep 9; serve",
    ),
    (
        "identical leaks",
        Attempt(ending=Exited(0), verdict=LeakVerdict((SLEEP,) * 5)),
        "left 5 processes: sleep 9",
    ),
    (
        "different leaks",
        Attempt(
            ending=Exited(0), verdict=LeakVerdict(tuple(create_process(name) for name in "abcde"))
        ),
        "left 5 processes: a; b; c and 2 more",
    ),
    (
        "a long command",
        Attempt(
            ending=Exited(0),
            verdict=LeakVerdict((create_process("/opt/b/serve", "--name", "x" * 99),)),
        ),
        f"left 1 process: serve --name {'x' * 46}…",
    ),
    (
        "a tolerated process",
        Attempt(ending=Exited(0), verdict=LeakVerdict((), (Tolerated(SLEEP, "Known."),))),
        "",
    ),
]


@pytest.mark.parametrize(
    ("attempt", "reason"), [row[1:] for row in REASONS], ids=[row[0] for row in REASONS]
)
def test_reason_explains_outcome(attempt: Attempt, reason: str) -> None:
    """The reason combines ending, stderr and leaks; it is empty for a clean pass."""
    assert attempt.reason == reason


@pytest.mark.parametrize(
    "attempt",
    [
        Attempt(ending=Broke("bwrap: no\nbwrap: really not")),
        Attempt(ending=MissingRequirement("a\r\nb")),
        Attempt(
            ending=Exited(0),
            verdict=LeakVerdict((create_process("bash", "-c", "while :\ndo :\ndone"),)),
        ),
        Attempt(ending=Exited(1), stderr=capture("first\nnext\u2028same\x85 line\x0b")),
    ],
    ids=["engine", "requirement", "command line", "stderr"],
)
def test_reason_is_always_one_line(attempt: Attempt) -> None:
    """A reason is a single line, so that a report can append it to a name."""
    assert len(attempt.reason.splitlines()) == 1


def test_last_lines_span_head_and_tail() -> None:
    """Without a gap, a line may start in the head and end in the tail."""
    whole = CapturedOutput(head=b"one\ntw", tail=b"o\nthree\n", size=14)

    assert whole.left_out == 0
    assert whole.last_lines(2) == ("two", "three")
    assert whole.last_lines(9) == ("one", "two", "three")


def test_last_lines_exclude_head_before_a_gap() -> None:
    """With a gap, the head is not joined with the tail."""
    gapped = CapturedOutput(head=b"one\ntw", tail=b"o\nthree\n", size=1000)

    assert gapped.left_out == 1000 - 14
    assert gapped.last_lines(9) == ("o", "three")


def test_last_lines_replace_invalid_bytes() -> None:
    """Bytes that are not UTF-8 are replaced."""
    assert CapturedOutput(head=b"\xff\xfe ok", size=5).last_lines(1) == ("\ufffd\ufffd ok",)


OUTCOMES: list[tuple[str, ScenarioResult, Outcome, int, bool]] = [
    ("pass", create_result(PASSED), Outcome.PASS, 0, False),
    ("fail", create_result(FAILED), Outcome.FAIL, 0, False),
    ("fail, pass", create_result(FAILED, PASSED), Outcome.FLAKY, 0, False),
    ("fail, fail, pass", create_result(FAILED, CONCURRENT, PASSED), Outcome.FLAKY, 0, False),
    ("concurrent fail, isolated pass", create_result(CONCURRENT, PASSED), Outcome.FLAKY, 0, True),
    (
        "concurrent fails, isolated pass",
        create_result(CONCURRENT, CONCURRENT, PASSED),
        Outcome.FLAKY,
        0,
        True,
    ),
    ("concurrent fail, isolated fail", create_result(CONCURRENT, FAILED), Outcome.FAIL, 0, False),
    (
        "concurrent fail, concurrent pass",
        create_result(CONCURRENT, Attempt(ending=Exited(0), alone=False)),
        Outcome.FLAKY,
        0,
        False,
    ),
    (
        "fail, timeout",
        create_result(FAILED, Attempt(ending=TimedOut(1))),
        Outcome.TIMEOUT,
        0,
        False,
    ),
    ("skip", create_result(SKIPPED), Outcome.SKIP, 0, False),
    ("fail, skip", create_result(FAILED, SKIPPED), Outcome.FAIL, 0, False),
    ("concurrent fail, isolated skip", create_result(CONCURRENT, SKIPPED), Outcome.FAIL, 0, False),
]


@pytest.mark.parametrize(
    ("scenario_result", "outcome", "reported", "is_sensitive"),
    [row[1:] for row in OUTCOMES],
    ids=[row[0] for row in OUTCOMES],
)
def test_result_combines_attempts(
    scenario_result: ScenarioResult,
    outcome: Outcome,
    reported: int,
    is_sensitive: bool,  # noqa: FBT001 - a table
) -> None:
    """A pass after a failure is FLAKY, and a skip does not cancel a failure."""
    assert scenario_result.outcome is outcome
    assert scenario_result.reported_attempt is scenario_result.attempts[reported]
    assert scenario_result.load_sensitive is is_sensitive


def test_leak_under_report_policy_passes_and_is_reported() -> None:
    """If leaks do not block, the outcome is that of the script, and the reason names the leak."""
    attempt = Attempt(ending=Exited(0), verdict=LeakVerdict((SLEEP,)), leak_blocks=False)

    assert attempt.outcome is Outcome.PASS
    assert attempt.leaks == (SLEEP,)
    assert attempt.reason == "left 1 process: sleep 9"


@pytest.mark.parametrize(
    ("ending", "broken"), [(Broke("no daemon"), True), (Exited(99), False), (Exited(1), False)]
)
def test_engine_failure_is_infrastructure(ending: Ending, broken: bool) -> None:  # noqa: FBT001 - a table
    """Only a failed engine counts as infrastructure, not a script that exits with ERROR."""
    assert create_result(Attempt(ending=ending)).is_infrastructure is broken


def test_seconds_add_up_over_phases_and_attempts() -> None:
    """The duration of a scenario is the sum of all phases of all attempts."""
    once = Attempt(ending=Exited(1), phases={"create": 0.5, "run": 1.0})

    assert once.seconds == 1.5
    assert create_result(once, once).seconds == 3.0


def test_counts_have_each_outcome_that_occurs() -> None:
    """A run counts its scenarios by outcome, and the skipped ones."""
    skipped = create_result(Attempt(ending=Exited(77)))
    run = result_factories.make_run(
        create_result(FAILED, PASSED), skipped, create_result(PASSED), create_result(PASSED)
    )

    assert list(run.counts.items()) == [("PASS", 2), ("FLAKY", 1), ("SKIP", 1)]
    assert run.skipped == 1


def test_failure_before_engine_failure_is_not_infrastructure() -> None:
    """A failure of the scenario counts, even if the engine failed afterwards."""
    attempts = (Attempt(ending=Exited(1), alone=False), Attempt(ending=Broke("no daemon")))

    assert not create_result(*attempts).is_infrastructure


def find_texts(value: object) -> Iterator[str]:
    """Yield every text in a tree of dataclasses, tuples and mappings, except names."""
    match value:
        case str():
            yield value
        case tuple():
            yield from (text for item in value for text in find_texts(item))
        case dict():
            yield from (text for item in value.values() for text in find_texts(item))
        case _ if is_dataclass(value):
            for field in fields(value):
                yield from find_texts(getattr(value, field.name))
        case _:
            pass


@pytest.mark.parametrize(
    "ending", [Broke("secret"), MissingRequirement("secret"), Stopped("secret")]
)
def test_transform_applies_to_every_text_of_an_attempt(ending: Ending) -> None:
    """The transform is applied to each text that a script or an engine may have produced."""
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
        verdict=LeakVerdict((process,), (Tolerated(process, "word"),)),
        environment={"NAME": "secret"},
        missing_program="secret",
    )
    redacted = attempt.transform_texts(lambda text: text.replace("secret", "word"))

    assert list(find_texts(attempt)).count("secret") == 13
    assert set(find_texts(redacted)) <= {"word", ""}
    assert redacted.transform_texts(str) == redacted
    assert Attempt(ending=Exited(3)).transform_texts(str.upper).ending == Exited(3)


REPEATED = [
    ((PASSED, PASSED), Outcome.PASS, PASSED),
    ((PASSED, FAILED, PASSED), Outcome.FAIL, FAILED),
    ((PASSED, SKIPPED, PASSED), Outcome.SKIP, SKIPPED),
    ((FAILED, SKIPPED), Outcome.FAIL, FAILED),
]


@pytest.mark.parametrize(("attempts", "outcome", "reported"), REPEATED)
def test_every_repetition_counts(
    attempts: tuple[Attempt, ...], outcome: Outcome, reported: Attempt
) -> None:
    """A later repetition cancels no failure or skip, and the report shows the one that counts."""
    result = create_result(attempts[0])
    for number, attempt in enumerate(attempts[1:], start=2):
        result = result.add_repetition(number, [attempt])

    assert result.outcome is outcome
    assert result.reported_attempt.ending == reported.ending
    assert len(result.repetitions) == len(attempts)


def test_repetition_that_passes_on_retry_is_flaky() -> None:
    """A failure that a retry cancels makes the whole result flaky; it is sensitive to load here."""
    alone = create_result(PASSED).add_repetition(2, [FAILED, PASSED]).add_repetition(3, [PASSED])
    crowded = create_result(PASSED).add_repetition(2, [CONCURRENT, PASSED])

    assert (alone.outcome, alone.load_sensitive) == (Outcome.FLAKY, False)
    assert (crowded.outcome, crowded.load_sensitive) == (Outcome.FLAKY, True)
    assert (alone.failures, crowded.failures) == (0, 0)
