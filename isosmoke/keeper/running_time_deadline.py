"""A deadline that counts only the time in which isosmoke itself ran."""

from collections.abc import Callable
from time import monotonic

SLICE_SECONDS = 0.25
"""The maximum wait between two looks at a deadline, in seconds."""

_MAX_COUNTED = 2 * SLICE_SECONDS


class Deadline:
    """A deadline for a sandbox, so many seconds after its creation.

    A sandbox waits for isosmoke when it prints a lot. A stop of isosmoke (Ctrl-Z, SIGSTOP, a slow
    reader of its own output) must not cost the sandbox its time. Between two looks at the deadline,
    at most half a second therefore counts; look every `SLICE_SECONDS` while isosmoke waits.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._remaining, self._clock = seconds, clock
        self._seen_at = clock()

    def look(self) -> float:
        """Count the time since the last look, and return the remaining seconds, at least 0."""
        now = self._clock()
        self._remaining -= min(now - self._seen_at, _MAX_COUNTED)
        self._seen_at = now
        return max(0.0, self._remaining)
