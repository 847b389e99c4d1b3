"""A stress run: one scenario again and again, each time in a fresh sandbox."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from threading import Lock
from time import monotonic

from isosmoke.dataclass import dataclass
from isosmoke.execution.attempt import Attempts
from isosmoke.interrupt import Interrupt
from isosmoke.investigation.repetition.tally import Repetition, Tally
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import MissingRequirement
from isosmoke.results.run_results import Attempt
from isosmoke.worker_threads import Workers

STRESS = "stress"
"""The directory of the records of stress runs, next to that of all other runs."""

_MAX_BROKEN_IN_A_ROW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StressLimits:
    """The end of a stress run: a number of repetitions, of seconds, of failures, or an interrupt.

    None is no limit. At least one repetition runs, however short the time is. `jobs` of them run
    at the same time.
    """

    count: int | None = None
    seconds: float | None = None
    max_fail: int | None = None
    jobs: int = 1


@dataclass(slots=True, kw_only=True)
class Stress:
    """A stress run in progress; `notify` is called after each repetition, by one thread at a time.

    `stopped` says why it ended before its limits; empty if it did not. The log of a repetition is
    removed unless it is one of the first failures of its kind.
    """

    scenario: Scenario
    attempts: Attempts
    limits: StressLimits
    interrupt: Interrupt
    notify: Callable[[Repetition], object]
    tally: Tally = field(default_factory=Tally)
    stopped: str = ""
    seconds: float = 0.0
    _started_at: float = field(default_factory=monotonic)
    _lock: Lock = field(default_factory=Lock, init=False)
    _claimed: int = field(default=0, init=False)
    _running: dict[int, int] = field(default_factory=dict, init=False)

    @property
    def jobs(self) -> int:
        """The number of concurrent repetitions: one for a scenario that holds a lock."""
        wanted = 1 if self.scenario.locks else self.limits.jobs
        return wanted if self.limits.count is None else min(wanted, self.limits.count)

    def run(self) -> Tally:
        """Repeat the scenario until a limit is reached, and return the tally."""
        self._started_at = monotonic()
        if missing := self.attempts.find_missing(self.scenario):
            attempt = Attempt(ending=MissingRequirement(missing))
            self._add(Repetition(number=1, attempt=attempt, begun=0.0, others=0, load=_read_load()))
        else:
            with Workers(self.jobs, thread_name_prefix="stress") as pool:
                for worker in [pool.submit(self._repeat) for _ in range(self.jobs)]:
                    worker.result()
        self.seconds = monotonic() - self._started_at
        self.stopped = self.interrupt.reason or self._explain_broken()
        return self.tally

    def _repeat(self) -> None:
        while number := self._claim():
            begun = monotonic() - self._started_at
            attempt = self.attempts.run(self.scenario, number)
            with self._lock:
                others = self._running.pop(number)
                self._add(
                    Repetition(
                        number=number,
                        attempt=attempt,
                        begun=begun,
                        others=others,
                        load=_read_load(),
                    )
                )

    def _add(self, repetition: Repetition) -> None:
        if not self.tally.add(repetition) and repetition.attempt.log:
            with suppress(OSError):
                repetition.attempt.log.unlink()
        self.seconds = monotonic() - self._started_at
        self.notify(repetition)

    def _claim(self) -> int:
        """Return the number of the next repetition; 0 if none starts any more."""
        with self._lock:
            if self._is_over():
                return 0
            self._claimed += 1
            self._running[self._claimed] = 0
            others = len(self._running) - 1
            self._running = {number: max(seen, others) for number, seen in self._running.items()}
            return self._claimed

    def _is_over(self) -> bool:
        limits = self.limits
        reached = (
            (limits.count, self._claimed),
            (limits.seconds, monotonic() - self._started_at if self._claimed else 0.0),
            (limits.max_fail, self.tally.failed),
            (_MAX_BROKEN_IN_A_ROW, self.tally.broken_in_a_row),
        )
        return self.interrupt.is_raised or any(
            limit is not None and value >= limit for limit, value in reached
        )

    def _explain_broken(self) -> str:
        if self.tally.broken_in_a_row < _MAX_BROKEN_IN_A_ROW:
            return ""
        return f"the engine failed {self.tally.broken_in_a_row} times in a row"


def _read_load() -> float:
    """Return the load average over one minute; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return 0.0
