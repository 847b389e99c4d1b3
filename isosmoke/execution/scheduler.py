"""Many scenarios: several at once, locks, retries, confirmation alone, interrupts."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Literal

from isosmoke.engines.base import Engine
from isosmoke.execution.requirements import Requirements
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Scenario
from isosmoke.results.attempts import Attempt, ScenarioResult
from isosmoke.results.events import Event, ScenarioFinished, ScenarioPostponed, ScenarioStarted
from isosmoke.results.leaks import Verdict, tell_apart
from isosmoke.results.outcome import Broke, Ending, Stopped, Unmet, judge
from isosmoke.runner import job_builder, sandbox_run
from isosmoke.runner.job_builder import RunContext
from isosmoke.runner.output import Capture
from isosmoke.runner.sandbox_run import SandboxRun
from isosmoke.sandbox.processes import Process
from isosmoke.sandbox.spec import Job
from isosmoke.threads import Workers

if TYPE_CHECKING:
    from isosmoke.execution.services import Services

Engines = Callable[[Scenario], Engine]
"""The engine that makes a scenario's sandbox."""


_GATE_JOBS_PER_CORE = 4


def jobs_of_a_run() -> int:
    """How many scenarios run together where nobody says: one a core, so that few are hurried."""
    return len(os.sched_getaffinity(0))


def jobs_of_a_gate() -> int:
    """More at a gate: somebody waits for few scenarios, and what fails is confirmed alone."""
    return _GATE_JOBS_PER_CORE * jobs_of_a_run()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a run goes about its scenarios; `leaks` overrides what the manifest says.

    `evidence` says of which attempts it is collected: by default of those that block.
    """

    jobs: int = 1
    fail_fast: bool = False
    leaks: Literal["fail", "report"] | None = None
    evidence: Literal["failed", "always", "never"] = "failed"


class _Crowd:
    """Who runs beside whom."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: set[str] = set()
        self._crowded: set[str] = set()

    @contextmanager
    def member(self, name: str) -> Iterator[Callable[[], bool]]:
        """Be counted; what it yields says, at the end, whether `name` was alone all the time."""
        with self._lock:
            self._running.add(name)
            self._crowded.discard(name)
            self._mark()
        try:
            yield lambda: name not in self._crowded
        finally:
            with self._lock:
                self._running.discard(name)

    def _mark(self) -> None:
        if len(self._running) > 1:
            self._crowded |= self._running


@dataclass(slots=True, kw_only=True)
class Schedule:
    """One run's scenarios, on their way to their results; `begun` as `monotonic` counts."""

    engines: Engines
    context: RunContext
    requirements: Requirements
    policy: Policy
    record: Path
    notify: Callable[[Event], None]
    interrupt: Interrupt
    begun: float = field(default_factory=monotonic)
    argv: tuple[str, ...] = ()
    echo: Callable[[bytes], object] | None = None
    _crowd: _Crowd = field(default_factory=_Crowd)
    _locks: dict[str, Lock] = field(default_factory=dict)
    _telling: Lock = field(default_factory=Lock)
    _postponed: set[str] = field(default_factory=set)
    _ready: dict[str, float] = field(default_factory=dict)
    _daemons: "dict[str, Services]" = field(default_factory=dict)
    _failed: bool = False

    def run(self, scenarios: Sequence[Scenario]) -> tuple[ScenarioResult, ...]:
        """Every scenario's result, in the order given; nothing is left out, whatever happens.

        What fails beside others is run again alone before it counts.
        """
        self._locks.update((name, Lock()) for one in scenarios for name in one.locks)
        self._ready.update((one.name, monotonic()) for one in scenarios)
        with Workers(self.policy.jobs, thread_name_prefix="scenario") as pool:
            first = list(pool.map(self._together, scenarios))
        return tuple(
            self._confirmed(scenario, result)
            for scenario, result in zip(scenarios, first, strict=True)
        )

    def _together(self, scenario: Scenario) -> ScenarioResult:
        result = ScenarioResult(scenario=scenario, attempts=tuple(self._attempts(scenario)))
        alone = result.attempts[-1].alone
        if result.outcome.blocks and not alone and not self.interrupt.raised:
            self._failed = True
            self._postponed.add(scenario.name)
            self._ready[scenario.name] = monotonic()
            last = replace(result.attempts[-1], postponed=True)
            result = replace(result, attempts=(*result.attempts[:-1], last))
            self._tell(ScenarioPostponed(result))
        else:
            self._finish(result)
        return result

    def _confirmed(self, scenario: Scenario, result: ScenarioResult) -> ScenarioResult:
        if scenario.name not in self._postponed:
            return result
        if not self.interrupt.raised:
            again = self._attempt(scenario, len(result.attempts) + 1)
            result = replace(result, attempts=(*result.attempts, again))
        self._finish(result)
        return result

    def _attempts(self, scenario: Scenario) -> Iterator[Attempt]:
        """One, and as many more as the scenario's retries allow while it fails."""
        with ExitStack() as held:
            for name in sorted(set(scenario.locks)):
                held.enter_context(self._locks[name])
            hindrance = self._hindrance(scenario)
            if hindrance is not None:
                yield Attempt(ending=hindrance, begun=monotonic() - self.begun)
                return
            for number in range(1, scenario.retries + 2):
                attempt = self._attempt(scenario, number)
                yield attempt
                if not attempt.outcome.blocks or self.interrupt.raised:
                    return

    def _attempt(self, scenario: Scenario, number: int) -> Attempt:
        now = monotonic()
        begun, waited = now - self.begun, now - self._ready[scenario.name]
        self._tell(ScenarioStarted(scenario.name, number, begun))
        with self._crowd.member(scenario.name) as alone:
            try:
                attempt = self._observed(scenario, number)
            except OSError as error:
                attempt = Attempt(ending=Broke(f"nothing was tried: {error}"))
            self._ready[scenario.name] = monotonic()
            told = attempt.told_by(self.context.redactor(scenario).text)
            return replace(told, alone=alone(), begun=begun, waited=waited)

    def _hindrance(self, scenario: Scenario) -> Ending | None:
        if self.interrupt.raised:
            return Stopped(self.interrupt.reason)
        if self._failed and self.policy.fail_fast:
            return Stopped("an earlier scenario failed")
        unmet = self.requirements.unmet(scenario)
        if scenario.services and not unmet:
            unmet = self._daemon(scenario).unmet(scenario.services)
        return Unmet(self.context.redactor(scenario).text(unmet)) if unmet else None

    def _observed(self, scenario: Scenario, number: int) -> Attempt:
        environment = job_builder.build_environment(scenario, self.context)
        log = self.record / scenario.name / f"output-{number}.log"
        redactor = self.context.redactor(scenario)
        run = SandboxRun()
        with (
            Capture(log, scenario.limits.output, redactor=redactor, echo=self.echo) as capture,
            run.record_errors(),
            self._services(scenario, number, run) as places,
        ):
            job = self._job(scenario, places)
            environment = job.environment
            sandbox_run.run_job(
                job,
                self.engines(scenario),
                capture=capture,
                interrupt=self.interrupt,
                wants_evidence=partial(self._wants_evidence, scenario),
                run=run,
            )
        return Attempt(
            ending=run.ending,
            verdict=_verdict(scenario, run.survivors),
            leak_blocks=(self.policy.leaks or scenario.leaks.policy) == "fail",
            output=capture.output,
            stderr=capture.stderr,
            log=capture.log,
            unlogged=capture.unlogged,
            phases=run.phases,
            environment=job_builder.redact_environment(scenario, environment),
            evidence=run.evidence,
            left_behind=run.cleanup_failures,
        )

    def _job(self, scenario: Scenario, places: Mapping[str, str]) -> Job:
        if self.argv:
            return job_builder.build_job(scenario, self.argv, self.context, places)
        return job_builder.build_script_job(scenario, self.context, places)

    def _wants_evidence(
        self, scenario: Scenario, ending: Ending, survivors: tuple[Process, ...]
    ) -> bool:
        if isinstance(ending, Stopped) or self.policy.evidence == "never":
            return False
        leaked = bool(_verdict(scenario, survivors).leaked)
        return self.policy.evidence == "always" or judge(ending, leaked=leaked).blocks

    @contextmanager
    def _services(
        self, scenario: Scenario, number: int, run: SandboxRun
    ) -> Iterator[Mapping[str, str]]:
        """The scenario's services, fresh for each attempt; yields where they are."""
        if not scenario.services:
            yield {}
            return
        from isosmoke.execution.services import Attempted

        attempted = Attempted(
            scenario=scenario,
            number=number,
            record=self.record,
            caller=self.context.caller,
            redactor=self.context.redactor(scenario),
            interrupt=self.interrupt,
        )
        with ExitStack() as stack:
            with run.phase("services"):
                places = stack.enter_context(self._daemon(scenario).beside(attempted))
            yield places

    def _daemon(self, scenario: Scenario) -> "Services":
        """What starts services: asked for once for each engine, as its answers are kept."""
        from isosmoke.execution.services import Services

        engine = self.engines(scenario)
        with self._telling:
            return self._daemons.setdefault(engine.name, Services(engine))

    def _finish(self, result: ScenarioResult) -> None:
        self._failed = self._failed or result.outcome.blocks
        self._tell(ScenarioFinished(result))

    def _tell(self, event: Event) -> None:
        with self._telling:
            self.notify(event)


def _verdict(scenario: Scenario, survivors: tuple[Process, ...]) -> Verdict:
    today = date.today()  # noqa: DTZ011 - an allowance ends with the user's own day
    return tell_apart(survivors, scenario.leaks.allow, today)
