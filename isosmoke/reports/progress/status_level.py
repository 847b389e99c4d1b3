"""The levels of `--status-level`: which scenarios have a line on the console during a run."""

from enum import IntEnum, auto
from typing import Literal, get_args

from isosmoke.results.outcome import Outcome

StatusLevel = Literal["none", "fail", "retry", "slow", "pass", "skip", "all"]

STATUS_LEVELS: tuple[StatusLevel, ...] = get_args(StatusLevel)
"""The levels; each of them shows everything that those before it show."""

QUIET: StatusLevel = "retry"
"""The level of `--quiet`."""

_SLOW_FACTOR = 2.0
_SLOW_SECONDS = 1.0


class _Rank(IntEnum):
    NONE = 0
    FAIL = auto()
    RETRY = auto()
    SLOW = auto()
    PASS = auto()
    SKIP = auto()
    ALL = auto()


def is_slow(seconds: float, usual: float | None) -> bool:
    """Return whether a duration is twice the usual one or more, and longer by a second or more."""
    if usual is None:
        return False
    return seconds >= max(_SLOW_FACTOR * usual, usual + _SLOW_SECONDS)


def shows(level: StatusLevel, outcome: Outcome, *, slow: bool, postponed: bool = False) -> bool:
    """Return whether a level shows the line of a scenario.

    `postponed` is a failure that does not count yet, because it will be confirmed.
    """
    return _find_level(outcome, slow=slow, postponed=postponed) <= _Rank[level.upper()]


def _find_level(outcome: Outcome, *, slow: bool, postponed: bool) -> _Rank:
    """Return the lowest level that shows a line."""
    if outcome.facts.is_skip or not outcome.facts.was_tried:
        return _Rank.SKIP
    if outcome.blocks and not postponed:
        return _Rank.FAIL
    if postponed or outcome.facts.effect == "warned":
        return _Rank.RETRY
    return _Rank.SLOW if slow else _Rank.PASS
