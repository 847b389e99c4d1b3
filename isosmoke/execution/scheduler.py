"""The scheduler of a run: concurrency, locks, retries, confirmation in isolation, interrupts."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from time import monotonic
from typing import Literal

from isosmoke.execution.attempt import AttemptRunner
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Scenario
from isosmoke.results.events import Event, ScenarioFinished, ScenarioPostponed, ScenarioStarted
from isosmoke.results.outcome import Ending, MissingRequirement, Stopped
from isosmoke.results.run_results import Attempt, ScenarioResult
from isosmoke.worker_threads import Workers

_GATE_JOBS_PER_CORE = 4


def count_run_jobs() -> int:
    """Return the default number of concurrent scenarios: one per core, to limit the load."""
    return len(os.sched_getaffinity(0))


def count_gate_jobs() -> int:
    """Return the number of concurrent scenarios at a gate.

    It is higher, because a user waits for few scenarios, and failures are confirmed in isolation.
    """
    return _GATE_JOBS_PER_CORE * count_run_jobs()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The options of a run that apply to all of its scenarios.

    No scenario is started once `max_fail` of them have failed; None is no limit. `retries`
    overrides the manifest's, and each scenario runs `repeat` times. `leaks` overrides the
    manifest's leak policy. `evidence` selects the attempts for which evidence is collected; by
    default, those that block.
    """

    jobs: int = 1
    max_fail: int | None = None
    retries: int | None = None
    repeat: int = 1
    leaks: Literal["fail", "report"] | None = None
    evidence: Literal["failed", "always", "never"] = "failed"


class ConcurrencyTracker:
    """The names of the scenarios that run, and of those that ran concurrently."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: set[str] = set()
        self._concurrent: set[str] = set()

    @contextmanager
    def running(self, name: str) -> Iterator[Callable[[], bool]]:
        """Count a scenario as running; yield a function that returns True if none ran with it."""
        with self._lock:
            self._running.add(name)
            self._concurrent.discard(name)
            if len(self._running) > 1:
                self._concurrent |= self._running
        try:
            yield lambda: name not in self._concurrent
        finally:
            with self._lock:
                self._running.discard(name)


@dataclass(slots=True, kw_only=True)
class Scheduler:
    """A single execution of scenarios under a policy, with each step reported to `notify`.

    `argv` replaces every script. `started_at` is the start of the run by `monotonic`. `made` has
    the number of earlier attempts at scenarios. The private fields are the state that the threads
    share.
    """

    scenarios: Sequence[Scenario]
    attempts: AttemptRunner
    policy: Policy
    notify: Callable[[Event], None]
    interrupt: Interrupt
    started_at: float = field(default_factory=monotonic)
    argv: tuple[str, ...] = ()
    made: Mapping[str, int] = field(default_factory=dict)
    _tracker: ConcurrencyTracker = field(default_factory=ConcurrencyTracker, init=False)
    _notify_lock: Lock = field(default_factory=Lock, init=False)
    _locks: dict[str, Lock] = field(init=False)
    _ready_at: dict[str, float] = field(init=False)
    _failed: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._locks = {name: Lock() for scenario in self.scenarios for name in scenario.locks}
        self._ready_at = {scenario.name: monotonic() for scenario in self.scenarios}

    def run(self) -> tuple[ScenarioResult, ...]:
        """Run every scenario; return one result for each, in the given order.

        A scenario that fails concurrently with others is rerun in isolation before it counts.
        """
        with Workers(self.policy.jobs, thread_name_prefix="scenario") as pool:
            results = list(pool.map(self._run_concurrently, self.scenarios))
        return tuple(map(self._confirm_in_isolation, results))

    def _run_concurrently(self, scenario: Scenario) -> ScenarioResult:
        """Run a scenario while holding its locks; defer a failure that others may have caused."""
        with ExitStack() as stack:
            for name in sorted(set(scenario.locks)):
                stack.enter_context(self._locks[name])
            attempts = tuple(self._make_attempts(scenario))
        result = ScenarioResult(scenario=scenario, attempts=attempts)
        if not result.outcome.blocks or attempts[-1].alone or self.interrupt.is_raised:
            return self._finish(result)
        self._failed.add(scenario.name)
        self._ready_at[scenario.name] = monotonic()
        last = replace(attempts[-1], postponed=True)
        result = replace(result, attempts=(*attempts[:-1], last))
        self._report(ScenarioPostponed(result))
        return result

    def _confirm_in_isolation(self, result: ScenarioResult) -> ScenarioResult:
        """Rerun a scenario whose failure was deferred, with no other scenario running."""
        if not result.attempts[-1].postponed:
            return result
        if not self.interrupt.is_raised:
            attempt = self._make_attempt(result.scenario, len(result.attempts) + 1)
            result = replace(result, attempts=(*result.attempts, attempt))
        return self._finish(result)

    def _make_attempts(self, scenario: Scenario) -> Iterator[Attempt]:
        """Yield an attempt, and as many more as the retries allow while the scenario fails."""
        failure = self._check_preconditions(scenario)
        if failure is not None:
            yield Attempt(ending=failure, begun=monotonic() - self.started_at)
            return
        retries = scenario.retries if self.policy.retries is None else self.policy.retries
        for number in range(1, retries + 2):
            attempt = self._make_attempt(scenario, number)
            yield attempt
            if not attempt.outcome.blocks or self.interrupt.is_raised:
                return

    def _check_preconditions(self, scenario: Scenario) -> Ending | None:
        """Return the ending of a scenario that cannot be run; None for any other."""
        if self.interrupt.is_raised:
            return Stopped(self.interrupt.reason)
        if self.policy.max_fail is not None and len(self._failed) >= self.policy.max_fail:
            return Stopped(_explain_limit(self.policy.max_fail))
        missing = self.attempts.find_missing(scenario)
        return MissingRequirement(missing) if missing else None

    def _make_attempt(self, scenario: Scenario, number: int) -> Attempt:
        number += self.made.get(scenario.name, 0)
        now = monotonic()
        offset, waited = now - self.started_at, now - self._ready_at[scenario.name]
        self._report(ScenarioStarted(scenario.name, number, offset))
        with self._tracker.running(scenario.name) as ran_in_isolation:
            attempt = self.attempts.run(scenario, number, self.argv)
            self._ready_at[scenario.name] = monotonic()
            return replace(attempt, alone=ran_in_isolation(), begun=offset, waited=waited)

    def _finish(self, result: ScenarioResult) -> ScenarioResult:
        if result.outcome.blocks:
            self._failed.add(result.name)
        self._report(ScenarioFinished(result))
        return result

    def _report(self, event: Event) -> None:
        with self._notify_lock:
            self.notify(event)


def _explain_limit(max_fail: int) -> str:
    return "an earlier scenario failed" if max_fail == 1 else f"{max_fail} scenarios failed"
