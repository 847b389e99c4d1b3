"""How a script ended, and what that means: the one decision table."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from signal import Signals

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


class Outcome(StrEnum):
    """What a scenario's run means."""

    PASS = "PASS"  # noqa: S105 - a word, not a password
    FLAKY = "FLAKY"
    SKIP = "SKIP"
    LEAK = "LEAK"
    FAIL = "FAIL"
    TIMEOUT = "TIMEOUT"
    ERROR = "ERROR"
    NOT_RUN = "NOT_RUN"

    @property
    def blocks(self) -> bool:
        """Whether it keeps a gate shut and makes a run fail."""
        return self not in (Outcome.PASS, Outcome.FLAKY, Outcome.SKIP)


def judge(ending: Ending, *, leaked: bool) -> Outcome:
    """The outcome of an ending; a leak turns a pass or a skip into LEAK and hides nothing else."""
    outcome = _without_leak(ending)
    return Outcome.LEAK if leaked and outcome in (Outcome.PASS, Outcome.SKIP) else outcome


def _without_leak(ending: Ending) -> Outcome:
    match ending:
        case Exited(code):
            return _CODES.get(code, Outcome.FAIL)
        case _:
            return _OTHERS[type(ending)]


_CODES = {0: Outcome.PASS, SKIP_CODE: Outcome.SKIP, HARD_ERROR_CODE: Outcome.ERROR}
"""The exit codes that mean something; any other is a failure."""

_OTHERS: dict[type[Ending], Outcome] = {
    Signaled: Outcome.FAIL,
    TimedOut: Outcome.TIMEOUT,
    Unmet: Outcome.SKIP,
    Broke: Outcome.ERROR,
    Stopped: Outcome.NOT_RUN,
}


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


def told_by(ending: Ending, words: Callable[[str], str]) -> Ending:
    """The same ending, its text as `words` has it."""
    match ending:
        case Unmet(text) | Broke(text) | Stopped(text):
            return type(ending)(words(text))
        case _:
            return ending


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; the bare number for one that has no name."""
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"
