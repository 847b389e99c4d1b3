"""Endings of scripts, the outcomes that they result in, and the properties of each outcome."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from signal import Signals
from typing import Literal, NamedTuple, Self, assert_never

from isosmoke.dataclass import dataclass

SKIP_CODE = 77
"""The exit code of a scenario that cannot run here (GNU automake's convention, and wg's)."""

HARD_ERROR_CODE = 99
"""The exit code of a scenario whose own preparation broke (GNU automake's convention)."""


@dataclass(frozen=True, slots=True)
class Exited:
    """An exit of the script with a code."""

    code: int


@dataclass(frozen=True, slots=True)
class Signaled:
    """The end of the script by a signal; this differs from an exit with 128 + number."""

    number: int


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The expiry of the deadline; `after` is in seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class MissingRequirement:
    """A missing requirement, because of which no sandbox was created."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broke:
    """A failure of the engine, after which nothing is known about the script."""

    message: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """A stop of the run before the script ended."""

    reason: str


Ending = Exited | Signaled | TimedOut | MissingRequirement | Broke | Stopped


Effect = Literal["passed", "warned", "failed"]
"""The effect of an outcome on a gate, in in-toto's terms: warned opens it and is reported."""


class Colours(NamedTuple):
    """A CSS colour for a light page and one for a dark page."""

    light: str
    dark: str


class PytestStatus(NamedTuple):
    """The pytest category of an outcome, its letter, and the colour of its name."""

    category: Literal["passed", "failed", "error"]
    letter: str
    colour: Literal["yellow", "red"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeFacts:
    """The properties of an outcome. They have no defaults, so that each outcome sets all of them.

    `is_skip` is true if nothing was shown to work or to fail. `was_tried` is false if the scenario
    did not start. `rank` sorts the HTML page, most urgent first. `console` is a style of rich,
    `junit` an element of JUnit XML (empty for a pass), and `trace` a colour name of the trace
    viewer. `pytest` is None if pytest has a status for the outcome.
    """

    effect: Effect
    is_skip: bool
    was_tried: bool
    rank: int
    console: str
    page: Colours
    junit: Literal["", "skipped", "failure", "error"]
    trace: Literal["good", "bad", "grey", "terrible"]
    pytest: PytestStatus | None


class Outcome(StrEnum):
    """The outcome of a scenario."""

    facts: OutcomeFacts  # Required by the constructor.

    def __new__(cls, value: str, facts: OutcomeFacts) -> Self:
        """Create a member that is equal to `value`."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.facts = facts
        return member

    PASS = (
        "PASS",
        OutcomeFacts(
            effect="passed",
            is_skip=False,
            was_tried=True,
            rank=7,
            console="bold green",
            page=Colours("#14682f", "#5fd38a"),
            junit="",
            trace="good",
            pytest=None,
        ),
    )
    FLAKY = (
        "FLAKY",
        OutcomeFacts(
            effect="warned",
            is_skip=False,
            was_tried=True,
            rank=4,
            console="bold yellow",
            page=Colours("#855300", "#f0b429"),
            junit="",
            trace="bad",
            pytest=PytestStatus("passed", "~", "yellow"),
        ),
    )
    SKIP = (
        "SKIP",
        OutcomeFacts(
            effect="warned",
            is_skip=True,
            was_tried=True,
            rank=5,
            console="bold yellow",
            page=Colours("#4a5560", "#a9b4be"),
            junit="skipped",
            trace="grey",
            pytest=None,
        ),
    )
    LEAK = (
        "LEAK",
        OutcomeFacts(
            effect="failed",
            is_skip=False,
            was_tried=True,
            rank=1,
            console="bold red",
            page=Colours("#8b1a8b", "#e48be4"),
            junit="failure",
            trace="terrible",
            pytest=PytestStatus("failed", "L", "red"),
        ),
    )
    FAIL = (
        "FAIL",
        OutcomeFacts(
            effect="failed",
            is_skip=False,
            was_tried=True,
            rank=0,
            console="bold red",
            page=Colours("#b3151e", "#ff8080"),
            junit="failure",
            trace="terrible",
            pytest=None,
        ),
    )
    TIMEOUT = (
        "TIMEOUT",
        OutcomeFacts(
            effect="failed",
            is_skip=False,
            was_tried=True,
            rank=2,
            console="bold red",
            page=Colours("#a33a00", "#ff9d66"),
            junit="failure",
            trace="terrible",
            pytest=PytestStatus("failed", "T", "red"),
        ),
    )
    ERROR = (
        "ERROR",
        OutcomeFacts(
            effect="failed",
            is_skip=False,
            was_tried=True,
            rank=3,
            console="bold red",
            page=Colours("#b3151e", "#ff8080"),
            junit="error",
            trace="terrible",
            pytest=PytestStatus("error", "E", "red"),
        ),
    )
    NOT_RUN = (
        "NOT_RUN",
        OutcomeFacts(
            effect="failed",
            is_skip=False,
            was_tried=False,
            rank=6,
            console="bold dim",
            page=Colours("#4a5560", "#a9b4be"),
            junit="skipped",
            trace="grey",
            pytest=None,
        ),
    )

    @property
    def blocks(self) -> bool:
        """True if the outcome keeps a gate shut and makes a run fail."""
        return self.facts.effect == "failed"


_CODES = {0: Outcome.PASS, SKIP_CODE: Outcome.SKIP, HARD_ERROR_CODE: Outcome.ERROR}
"""The exit codes with a special meaning; any other is a failure."""


def judge(ending: Ending, *, leaked: bool) -> Outcome:
    """Return the outcome of an ending; a leak turns an outcome that does not block into LEAK."""
    match ending:
        case Exited(code):
            outcome = _CODES.get(code, Outcome.FAIL)
        case Signaled():
            outcome = Outcome.FAIL
        case TimedOut():
            outcome = Outcome.TIMEOUT
        case MissingRequirement():
            outcome = Outcome.SKIP
        case Broke():
            outcome = Outcome.ERROR
        case Stopped():
            outcome = Outcome.NOT_RUN
        case _:
            assert_never(ending)
    return Outcome.LEAK if leaked and not outcome.blocks else outcome


def judge_attempts(repetitions: Iterable[Sequence[Outcome]]) -> Outcome:
    """Return the outcome of a scenario: of its only repetition, or of several.

    Of several, it is the outcome of the first that blocks, else FLAKY if one is, else SKIP if one
    is. Each repetition has the outcomes of its attempts, of which there is at least one.
    """
    outcomes = [judge_repetition(attempts) for attempts in repetitions]
    blocking = (outcome for outcome in outcomes if outcome.blocks)
    lesser = (outcome for outcome in (Outcome.FLAKY, Outcome.SKIP) if outcome in outcomes)
    return next(blocking, next(lesser, Outcome.PASS))


def judge_repetition(attempts: Sequence[Outcome]) -> Outcome:
    """Return the outcome of the last attempt, or FLAKY if it passed after a failure.

    A final skip does not cancel an earlier failure.
    """
    last = attempts[-1]
    if last is Outcome.SKIP:
        return next((outcome for outcome in attempts if outcome.blocks), last)
    return Outcome.FLAKY if last is Outcome.PASS and len(attempts) > 1 else last


def find_reported(attempts: Sequence[Outcome]) -> int:
    """Return the index of the attempt that reports show: the first that failed, else was skipped.

    Otherwise it is the last.
    """
    failed = (index for index, outcome in enumerate(attempts) if outcome.blocks)
    skipped = (index for index, outcome in enumerate(attempts) if outcome.facts.is_skip)
    return next(failed, next(skipped, len(attempts) - 1))


def count(outcomes: Iterable[Outcome]) -> Mapping[str, int]:
    """Return the number of each outcome that occurs, in the order of the outcomes."""
    counter = Counter(outcomes)
    return {outcome.value: counter[outcome] for outcome in Outcome if outcome in counter}


def sort_counts(counts: Mapping[str, int]) -> tuple[tuple[Outcome, int], ...]:
    """Return the outcomes that occur and their numbers, in the order of the outcomes."""
    return tuple((outcome, counts[outcome]) for outcome in Outcome if counts.get(outcome))


def describe_counts(counts: Iterable[tuple[str, int]]) -> str:
    """Return a text such as `2 PASS, 1 FAIL`, in the given order; empty for no counts."""
    return ", ".join(f"{number} {outcome}" for outcome, number in counts)


def describe(ending: Ending) -> str:
    """Return a short description of an ending for reports."""
    match ending:
        case Exited(code):
            return f"exit {code}"
        case Signaled(number):
            return f"ended by {name_signal(number)}"
        case TimedOut(after):
            return f"still running after {after:g} s"
        case MissingRequirement(reason) | Stopped(reason):
            return reason
        case Broke(message):
            return message
        case _:
            assert_never(ending)


def transform_texts(ending: Ending, transform: Callable[[str], str]) -> Ending:
    """Return a copy of an ending with `transform` applied to its text."""
    match ending:
        case MissingRequirement(text) | Broke(text) | Stopped(text):
            return type(ending)(transform(text))
        case Exited() | Signaled() | TimedOut():
            return ending
        case _:
            assert_never(ending)


def name_signal(number: int) -> str:
    """Return the name of a signal, such as `SIGTERM`, or `signal N` if it has none."""
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"
