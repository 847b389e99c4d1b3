"""How a script ended, what that means, and what is to be known of each outcome: two tables."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from signal import Signals
from typing import Literal, NamedTuple, Self, assert_never

SKIP_CODE = 77
"""The exit code of a scenario that cannot run here (GNU automake's convention, and wg's)."""

HARD_ERROR_CODE = 99
"""The exit code of a scenario whose own preparation broke (GNU automake's convention)."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The script exited by itself."""

    code: int


@dataclass(frozen=True, slots=True)
class Signaled:
    """A signal ended the script; never the same as exiting with 128 + number."""

    number: int


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The deadline came first; `after` in seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class Unmet:
    """A requirement was not met, so no sandbox was made."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broke:
    """The engine broke, so nothing is known of the script."""

    message: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run was stopped before the script could end."""

    reason: str


Ending = Exited | Signaled | TimedOut | Unmet | Broke | Stopped


Effect = Literal["passed", "warned", "failed"]
"""What an outcome means for a gate, in the words of in-toto: warned opens it, and is told."""


class Colours(NamedTuple):
    """A colour on a light page and on a dark one, as CSS has it."""

    light: str
    dark: str


class PytestStatus(NamedTuple):
    """What pytest counts an outcome as, its letter, and the colour of its word."""

    category: Literal["passed", "failed", "error"]
    letter: str
    colour: Literal["yellow", "red"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that depends on an outcome alone. Nothing has a default, so that no row leaves one out.

    `is_skip`: nothing was shown to work or to fail. `was_tried`: false where its turn never came.
    `rank` sorts the HTML page, the outcome that needs a look most first. `console` is a style of
    rich, `junit` an element of JUnit XML (empty: none, which is a pass), `trace` a colour name of
    the trace viewer. `pytest` is None where pytest's own status says it.
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
    """What a scenario's run means."""

    facts: Facts  # no member can be made without

    def __new__(cls, word: str, facts: Facts) -> Self:
        """Make a member that is equal to `word`."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.facts = facts
        return member

    PASS = (
        "PASS",
        Facts(
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
        Facts(
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
        Facts(
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
        Facts(
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
        Facts(
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
        Facts(
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
        Facts(
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
        Facts(
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
        """Whether it keeps a gate shut and makes a run fail."""
        return self.facts.effect == "failed"


_CODES = {0: Outcome.PASS, SKIP_CODE: Outcome.SKIP, HARD_ERROR_CODE: Outcome.ERROR}
"""The exit codes that mean something; any other is a failure."""


def judge(ending: Ending, *, leaked: bool) -> Outcome:
    """Return the outcome of an ending; what does not block is LEAK if there was a leak."""
    match ending:
        case Exited(code):
            outcome = _CODES.get(code, Outcome.FAIL)
        case Signaled():
            outcome = Outcome.FAIL
        case TimedOut():
            outcome = Outcome.TIMEOUT
        case Unmet():
            outcome = Outcome.SKIP
        case Broke():
            outcome = Outcome.ERROR
        case Stopped():
            outcome = Outcome.NOT_RUN
        case _:
            assert_never(ending)
    return Outcome.LEAK if leaked and not outcome.blocks else outcome


def count(outcomes: Iterable[Outcome]) -> Mapping[str, int]:
    """Return how many there are of each outcome that occurs, in the order of the outcomes."""
    found = Counter(outcomes)
    return {one.value: found[one] for one in Outcome if one in found}


def sort_counts(counts: Mapping[str, int]) -> tuple[tuple[Outcome, int], ...]:
    """Return each outcome that occurs with its number, in the order of the outcomes."""
    return tuple((one, counts[one]) for one in Outcome if counts.get(one))


def describe_counts(counts: Iterable[tuple[str, int]]) -> str:
    """Return `2 PASS, 1 FAIL`, in the order given; empty for no counts."""
    return ", ".join(f"{number} {outcome}" for outcome, number in counts)


def describe(ending: Ending) -> str:
    """The ending in a few words, as reports print it."""
    match ending:
        case Exited(code):
            return f"exit {code}"
        case Signaled(number):
            return f"ended by {signal_name(number)}"
        case TimedOut(after):
            return f"still running after {after:g} s"
        case Unmet(reason) | Stopped(reason):
            return reason
        case Broke(message):
            return message
        case _:
            assert_never(ending)


def told_by(ending: Ending, words: Callable[[str], str]) -> Ending:
    """The same ending, its text as `words` has it."""
    match ending:
        case Unmet(text) | Broke(text) | Stopped(text):
            return type(ending)(words(text))
        case Exited() | Signaled() | TimedOut():
            return ending
        case _:
            assert_never(ending)


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; the bare number for one that has no name."""
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"
