"""Deadlines that count only the time in which isosmoke ran, with a clock that a test sets."""

from dataclasses import dataclass

import pytest

from isosmoke.keeper.running_time_deadline import SLICE_SECONDS, Deadline


@dataclass
class Clock:
    """A clock that shows a given time in seconds."""

    now: float = 1000.0

    def read(self) -> float:
        """Return the time."""
        return self.now


def test_time_between_frequent_looks_counts() -> None:
    """The remaining time falls as the clock runs, and never below zero."""
    clock = Clock()
    deadline = Deadline(1.0, clock.read)
    remaining = []
    for _ in range(5):
        clock.now += SLICE_SECONDS
        remaining.append(deadline.look())

    assert remaining == pytest.approx([0.75, 0.5, 0.25, 0.0, 0.0])


@pytest.mark.parametrize("stopped", [5.0, 86_400.0])
def test_stop_counts_as_half_a_second_at_most(stopped: float) -> None:
    """The deadline moves on by at most half a second, however long isosmoke is stopped."""
    clock = Clock()
    deadline = Deadline(3.0, clock.read)
    clock.now += stopped

    assert deadline.look() == pytest.approx(2.5)
