"""The scheduler of a run: turns, locks, retries, confirmation of failures, interrupts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Literal

from isosmoke.dataclass import dataclass
from isosmoke.execution.attempt import Attempts
from isosmoke.execution.concurrency import start_order
from isosmoke.execution.concurrency.slots import Slots
from isosmoke.execution.concurrency.start_order import Turn
from isosmoke.history.experience import Experience
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Scenario
from isosmoke.results.events import Event, ScenarioFinished, ScenarioPostponed, ScenarioStarted
from isosmoke.results.machine_load import Basis, Doubt
from isosmoke.results.outcome import Ending, MissingRequirement, Outcome, Stopped
from isosmoke.results.run_results import Attempt, ScenarioResult
from isosmoke.worker_threads import Workers

if TYPE_CHECKING:  # only a run with concurrency needs the meter
    from isosmoke.execution.concurrency.meter import Mark, Meter

Confirm = Literal["always", "auto", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The options of a run that apply to all of its scenarios.

    `jobs` is the number of scenarios that run at once; None leaves it to the load of the machine.
    No scenario is started once `max_fail` of them have failed; None is no limit. `retries`
    overrides the manifest's, and each scenario runs `repeat` times. `confirm` selects the failures
    next to other scenarios that are confirmed by another run: all, those that a neighbour may have
    caused, or none; a failure with an outcome that is not in `confirms` never is. `leaks` overrides
    the manifest's leak policy. `evidence` selects the attempts for which evidence is collected; by
    default, those that block.
    """

    jobs: int | None = 1
    max_fail: int | None = None
    retries: int | None = None
    repeat: int = 1
    confirm: Confirm = "auto"
    leaks: Literal["fail", "report"] | None = None
    evidence: Literal["failed", "always", "never"] = "failed"
    confirms: frozenset[Outcome] = frozenset(outcome for outcome in Outcome if outcome.blocks)

    def plan_slots(self, room: int | None = None) -> Slots:
        """Return the slots with which a run begins; `room` is the maximum number of a place."""
        if room is not None:
            return Slots.fixed(room if self.jobs is None else min(room, self.jobs))
        return Slots.adaptive(_count_cores()) if self.jobs is None else Slots.fixed(self.jobs)


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


def _digest_nothing(_: Scenario) -> str:
    """Return no digest: no failure is known."""
    return ""


@dataclass(slots=True, kw_only=True)
class Scheduler:
    """A single execution of scenarios under a policy, with each step reported to `notify`.

    `argv` replaces every script. `started_at` is the start of the run by `monotonic`. `made` has
    the number of earlier attempts at scenarios, and `experience` is that of earlier runs. `digest`
    returns the digest of a scenario's inputs, empty if it is unknown. `meter` is that of this
    machine once several scenarios may run at once. The private fields are the state that the
    threads share.
    """

    scenarios: Sequence[Scenario]
    attempts: Attempts
    policy: Policy
    notify: Callable[[Event], None]
    interrupt: Interrupt
    meter: "Meter | None" = None
    experience: Experience = field(default_factory=Experience)
    digest: Callable[[Scenario], str] = _digest_nothing
    started_at: float = field(default_factory=monotonic)
    argv: tuple[str, ...] = ()
    made: Mapping[str, int] = field(default_factory=dict)
    _tracker: ConcurrencyTracker = field(default_factory=ConcurrencyTracker, init=False)
    _notify_lock: Lock = field(default_factory=Lock, init=False)
    _ready_at: dict[str, float] = field(init=False)
    _failed: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._ready_at = {scenario.name: monotonic() for scenario in self.scenarios}

    def run(self) -> tuple[ScenarioResult, ...]:
        """Run every scenario; return one result for each, in the given order.

        A failure that other scenarios may have caused is confirmed before it counts: in quiet
        company if that may be enough, and if doubts remain, alone.
        """
        in_order = self.policy.jobs == 1
        planned = start_order.plan_turns(self.scenarios, self.experience, in_order=in_order)
        room = self.attempts.slots
        slots = self.policy.plan_slots(room) if len(planned) > 1 else Slots.fixed(1)
        results = self._run_round(planned, slots, self._try)
        results |= self._confirm_in_company(results)
        alone = start_order.plan_single_turns(results)
        results |= self._run_round(alone, Slots.fixed(1), self._confirm(results))
        return tuple(results[number] for number in range(len(self.scenarios)))

    def _confirm_in_company(
        self, results: Mapping[int, ScenarioResult]
    ) -> Mapping[int, ScenarioResult]:
        """Run scenarios together that hardly need a CPU, if the machine is calm otherwise."""
        if self.attempts.slots is not None or not start_order.plan_single_turns(results):
            return {}
        quiet = start_order.plan_quiet_turns(results, _count_cores())
        if len(quiet) <= 1 or not self._prepare_meter().is_calm():
            return {}
        return self._run_round(quiet, start_order.QUIET_SLOTS, self._confirm(results))

    def _run_round(
        self, planned: Sequence[Turn], slots: Slots, perform: Callable[[Turn, bool], ScenarioResult]
    ) -> dict[int, ScenarioResult]:
        """Perform turns, as many at once as the slots permit; return the results by number."""
        if not planned:
            return {}
        waiting, running = list(planned), dict[Future[ScenarioResult], Turn]()
        ended = SimpleQueue[Future[ScenarioResult]]()
        results: dict[int, ScenarioResult] = {}
        most = min(len(planned), slots.most)
        meter = self._prepare_meter() if most > 1 and self.attempts.slots is None else None
        if meter:
            meter.sample()
        with Workers(most, thread_name_prefix="scenario") as pool:
            while waiting or running:
                while (
                    index := start_order.pick_next(waiting, running.values(), slots)
                ) is not None:
                    turn = waiting.pop(index)
                    future = pool.submit(perform, turn, most == 1)
                    running[future] = turn
                    future.add_done_callback(ended.put)
                for future in _wait_for_any(ended, meter.period if meter else None):
                    results[running.pop(future).number] = future.result()
                if meter:
                    meter.sample()
                    used = sum(turn.slots for turn in running.values())
                    slots = slots.adapt(meter.read_pressure(), used=used)
        return results

    def _prepare_meter(self) -> "Meter":
        """Return the meter of this machine, which is created when it is first needed."""
        from isosmoke.execution.concurrency.meter import Meter

        self.meter = self.meter or Meter.of_this_machine()
        return self.meter

    def _try(self, turn: Turn, alone: bool) -> ScenarioResult:  # noqa: FBT001 - see _run_round
        """Run a scenario as often as its retries allow."""
        attempts = tuple(self._make_attempts(turn.scenario, alone=alone))
        return self._conclude(ScenarioResult(scenario=turn.scenario, attempts=attempts))

    def _confirm(
        self, results: Mapping[int, ScenarioResult]
    ) -> Callable[[Turn, bool], ScenarioResult]:
        """Return a function that runs a scenario of `results` once more."""

        def confirm(turn: Turn, alone: bool) -> ScenarioResult:  # noqa: FBT001 - see _run_round
            result = results[turn.number]
            if self.interrupt.is_raised:
                return self._finish(result)
            number = len(result.attempts) + 1
            attempt = self._make_attempt(result.scenario, number, alone=alone)
            return self._conclude(replace(result, attempts=(*result.attempts, attempt)))

        return confirm

    def _conclude(self, result: ScenarioResult) -> ScenarioResult:
        """Report a result as final, or as postponed if its failure is to be confirmed."""
        last = result.attempts[-1]
        is_final = last.outcome not in self.policy.confirms or last.alone or bool(last.basis)
        if is_final or self.interrupt.is_raised:
            return self._finish(result)
        self._failed.add(result.name)
        self._ready_at[result.name] = monotonic()
        attempts = (*result.attempts[:-1], replace(last, postponed=True))
        result = replace(result, attempts=attempts)
        self._report(ScenarioPostponed(result))
        return result

    def _make_attempts(self, scenario: Scenario, *, alone: bool) -> Iterator[Attempt]:
        """Yield an attempt, and as many more as the retries allow while the scenario fails."""
        failure = self._check_preconditions(scenario)
        if failure is not None:
            yield Attempt(ending=failure, begun=monotonic() - self.started_at)
            return
        retries = scenario.retries if self.policy.retries is None else self.policy.retries
        for number in range(1, retries + 2):
            attempt = self._make_attempt(scenario, number, alone=alone)
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

    def _make_attempt(self, scenario: Scenario, number: int, *, alone: bool) -> Attempt:
        number += self.made.get(scenario.name, 0)
        now = monotonic()
        offset, waited = now - self.started_at, now - self._ready_at[scenario.name]
        self._report(ScenarioStarted(scenario.name, number, offset))
        with self._tracker.running(scenario.name) as ran_in_isolation, self._mark() as mark:
            attempt = self.attempts.run(scenario, number, self.argv, alone=alone)
            self._ready_at[scenario.name] = monotonic()
            # Attempts of other runs may share the workers of a place.
            was_alone = ran_in_isolation() and (alone or self.attempts.slots is None)
            attempt = replace(attempt, alone=was_alone, begun=offset, waited=waited)
            if attempt.outcome.blocks and not isinstance(attempt.ending, Stopped):
                attempt = self._examine(scenario, attempt, mark)
        return attempt

    @contextmanager
    def _mark(self) -> "Iterator[Mark | None]":
        """Yield the mark of an attempt during the block; None if nothing can run next to it."""
        if self.meter is None:
            yield None
            return
        with self.meter.mark() as mark:
            yield mark

    def _examine(self, scenario: Scenario, attempt: Attempt, mark: "Mark | None") -> Attempt:
        """Return a failed attempt with the reason why it counts, or the doubts about that."""
        if self.policy.confirm == "never" or attempt.alone:
            basis: Basis = "alone" if attempt.alone else "option"
            return replace(attempt, inputs=self.digest(scenario), basis=basis)
        from isosmoke.execution.concurrency import confirmation_rule

        is_local = self.attempts.is_local(scenario)
        load = self._prepare_meter().measure(mark) if mark and is_local else None
        doubts = confirmation_rule.find_doubts(scenario, attempt, load)
        attempt = replace(attempt, inputs=self.digest(scenario), load=load, doubts=doubts)
        if self.policy.confirm == "always":
            wanted = Doubt(kind="option", text="every failure is to be confirmed")
            return replace(attempt, doubts=(*doubts, wanted))
        if self.experience.is_known(scenario.name, attempt, datetime.now(UTC)):
            return replace(attempt, basis="known")
        return attempt if doubts else replace(attempt, basis="measured")

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


def _count_cores() -> float:
    from isosmoke.execution.concurrency.load_readings import count_cores

    return count_cores()


def _wait_for_any(
    ended: "SimpleQueue[Future[ScenarioResult]]", seconds: float | None
) -> Iterator[Future[ScenarioResult]]:
    """Yield the next future that has ended, and all others that have too; none after `seconds`."""
    try:
        yield ended.get(timeout=seconds)
        while True:
            yield ended.get_nowait()
    except Empty:
        return
