"""The distribution of concurrent attempts over lanes, for charts of a run."""

from collections.abc import Iterator
from itertools import accumulate

from isosmoke.results.records.attempt import AttemptRecord
from isosmoke.results.run_record import RunRecord

NamedAttempt = tuple[str, AttemptRecord]
"""The name of a scenario and one of its attempts."""


def assign_lanes(run: RunRecord) -> list[list[NamedAttempt]]:
    """Distribute all attempts with a duration over as few lanes as possible, without overlap."""
    lanes: list[list[NamedAttempt]] = []
    for named in sorted(_list_attempts(run), key=lambda item: item[1].begun):
        start = to_microseconds(named[1].begun)
        free = (lane for lane in lanes if _find_end(lane[-1][1]) <= start)
        lane = next(free, None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(named)
    return lanes


def to_microseconds(seconds: float) -> int:
    """Return a time as an integer, so that rounding makes no attempts overlap."""
    return round(seconds * 1_000_000)


def _find_end(attempt: AttemptRecord) -> int:
    *_, end = accumulate((attempt.begun, *attempt.phases.values()))
    return to_microseconds(end)


def _list_attempts(run: RunRecord) -> Iterator[NamedAttempt]:
    for scenario in run.scenarios:
        yield from ((scenario.name, attempt) for attempt in scenario.attempts if attempt.phases)
