"""A whole run: from a `Request` to a `RunResult`."""

import math
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from isosmoke.dataclass import dataclass
from isosmoke.engines import daemon_options
from isosmoke.execution import surroundings_warnings
from isosmoke.execution.attempt import AttemptRunner
from isosmoke.execution.concurrency.known_failures import InputDigests
from isosmoke.execution.preflight import Preflight, run_preflight
from isosmoke.execution.repetition import RunRepetition, subtract_failures
from isosmoke.execution.request import Request
from isosmoke.execution.requirements import Requirements
from isosmoke.execution.scheduler import Policy, Scheduler
from isosmoke.history import experience, layout, writer
from isosmoke.history.experience import Experience
from isosmoke.history.writer import Recording
from isosmoke.host.caller_process import Caller
from isosmoke.host.repository.work_tree_state import IdentityReader
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Scenario
from isosmoke.redaction import is_ordinary
from isosmoke.results.events import (
    Event,
    RunFinished,
    RunStarted,
    ScenarioFinished,
    ScenarioRepeating,
)
from isosmoke.results.run_results import RunResult, ScenarioResult
from isosmoke.rootfs_images import image_kinds
from isosmoke.runner.job_builder import RunContext

if TYPE_CHECKING:  # only a run in a place needs them
    from isosmoke.execution.places.placed_attempts import PlacedAttempts


_MAX_AHEAD_PER_CORE = 2
"""The maximum number of sandboxes that are created ahead of need, for each core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A run in progress: it starts with the scenarios of `request`, and may run further ones.

    `started_at` is the start of the run by `monotonic`.
    """

    request: Request
    started: datetime
    started_at: float
    preflight: Preflight
    attempts: "AttemptRunner | PlacedAttempts"
    recording: Recording
    digests: InputDigests
    identity: IdentityReader
    notify: Callable[[Event], None]
    warnings: tuple[str, ...] = ()

    def run(
        self, scenarios: Sequence[Scenario], argv: tuple[str, ...] = ()
    ) -> tuple[ScenarioResult, ...]:
        """Run scenarios in this session; they need not be part of the original request.

        `argv` replaces their scripts.

        Raises:
            IsosmokeError: if they cannot be run; none of them was started.
        """
        self.attempts.check(scenarios)
        with image_kinds.images_in_use(scenario.image for scenario in scenarios):
            self.preflight.check(scenarios)
            with self._sandboxes_ahead(scenarios, argv):
                return self._run_repeatedly(scenarios, argv)

    @contextmanager
    def _sandboxes_ahead(
        self, scenarios: Sequence[Scenario], argv: tuple[str, ...]
    ) -> Iterator[None]:
        """Let the engines create sandboxes ahead of need, except for those that start at once."""
        policy = self.request.policy
        if len(scenarios) * policy.repeat == 1 or not isinstance(self.attempts, AttemptRunner):
            yield
            return
        from isosmoke.execution.concurrency.load_readings import count_cores

        first = policy.plan_slots().number
        later = (tuple(scenarios) * policy.repeat)[first:]
        ahead = min(first + 1, _MAX_AHEAD_PER_CORE * math.ceil(count_cores()))
        with ExitStack() as stack:
            for engine, specs in self.attempts.list_sandboxes(later, argv):
                stack.enter_context(self.preflight.engines.expecting(engine, specs, ahead))
            yield

    def _run_repeatedly(
        self, scenarios: Sequence[Scenario], argv: tuple[str, ...]
    ) -> tuple[ScenarioResult, ...]:
        """Run the scenarios as often as the policy says; an interrupt or its limit ends that."""
        results: tuple[ScenarioResult, ...] = ()
        last = self.request.policy.repeat
        for number in range(1, last + 1):
            policy = subtract_failures(self.request.policy, results)
            if number > 1 and (self.preflight.interrupt.is_raised or policy.max_fail == 0):
                for result in results:
                    self.notify(ScenarioFinished(result))
                break
            repetition = RunRepetition(number, results, is_last=number == last)
            results = self._run_once(scenarios, argv, policy, repetition)
        return results

    def _run_once(
        self,
        scenarios: Sequence[Scenario],
        argv: tuple[str, ...],
        policy: Policy,
        repetition: RunRepetition,
    ) -> tuple[ScenarioResult, ...]:
        def record_and_notify(event: Event) -> None:
            """Hand a result to the record, and report it."""
            if isinstance(event, ScenarioFinished):
                result = repetition.add(event.result)
                self.recording.keep(result)
                event = (
                    ScenarioFinished(result)
                    if repetition.is_last
                    else ScenarioRepeating(result.name)
                )
            self.notify(event)

        scheduler = Scheduler(
            scenarios=scenarios,
            attempts=self.attempts,
            policy=policy,
            notify=record_and_notify,
            interrupt=self.preflight.interrupt,
            started_at=self.started_at,
            argv=argv,
            made=repetition.made,
            experience=self._load_experience(scenarios),
            digest=self._compute_digest,
        )
        return tuple(map(repetition.add, scheduler.run()))

    def _compute_digest(self, scenario: Scenario) -> str:
        """Return the digest of a scenario's inputs; empty if they are those of another machine."""
        return "" if self.request.place is not None else self.digests.compute(scenario)

    def _load_experience(self, scenarios: Sequence[Scenario]) -> Experience:
        """Return what earlier runs showed; a run without concurrency has no use for it."""
        if len(scenarios) == 1 or self.request.policy.jobs == 1:
            return Experience()
        return experience.load(self.recording.home, self.recording.directory)

    def end(self, results: tuple[ScenarioResult, ...]) -> RunResult:
        """Complete the record of the run with all of its results, and return the complete run."""
        run = replace(self.result(results), repository=self.identity.wait())
        self.recording.end(run)
        if not self.request.argv:
            self._learn(results)
        run = replace(run, unrecorded=self.recording.write_error)
        self.notify(RunFinished(run))
        return run

    def _learn(self, results: Sequence[ScenarioResult]) -> None:
        """Add the results to the experience, as failures to recognize if the inputs are the same.

        Another run that ends at the same moment may be forgotten; nothing waits for it.
        """
        known = experience.load(self.recording.home, self.recording.directory)
        if not self.digests.are_current():
            results = [result.without_inputs() for result in results]
        experience.save(self.recording.home, known.learn(results, self.started))

    def result(self, results: tuple[ScenarioResult, ...]) -> RunResult:
        """Return the run so far, with these results."""
        context, tested = self.preflight.context, self.preflight.context.binary
        return RunResult(
            started=self.started,
            working=context.caller.working,
            engine=self.preflight.engines.names,
            manifest=self.request.manifest,
            binary=None if tested is None else (tested.source, tested.sha256),
            record=self.recording.directory,
            scenarios=results,
            seconds=monotonic() - self.started_at,
            command=self.request.argv,
            stopped=self.preflight.interrupt.reason,
            host=platform.node(),
            rerun_of=self.request.rerun_of,
            daemon=daemon_options.build_arguments(context.caller.environment),
            notes=tuple(dict.fromkeys(self._list_notes(results))),
            warnings=self.warnings,
            interpreters=context.interpreters,
            recording=dict(self.recording.seconds),
            shard=self.request.shard,
            binary_version=self.preflight.binary_version,
        )

    def _list_notes(self, results: Sequence[ScenarioResult]) -> Iterator[str]:
        scenarios = [result.scenario for result in results]
        yield from self.preflight.engines.sweep_failures
        yield from self.attempts.notes
        for scenario in scenarios:
            yield from self.preflight.context.caches(scenario).notes
        yield from self.recording.notes
        yield from _note_unredacted_secrets(scenarios, self.preflight.context)
        yield from _note_ordinary_secrets(scenarios, self.preflight.context)
        yield from self.preflight.engines.list_unsupported_limits(scenarios)


def execute(
    request: Request, caller: Caller, *, notify: Callable[[Event], None], interrupt: Interrupt
) -> RunResult:
    """Run all scenarios of a request.

    Raises:
        IsosmokeError: if no scenario was started.
    """
    session = begin(request, caller, notify=notify, interrupt=interrupt)
    return session.end(session.run(request.scenarios, request.argv))


def begin(
    request: Request, caller: Caller, *, notify: Callable[[Event], None], interrupt: Interrupt
) -> Session:
    """Check everything that a request needs, start its record and return its session.

    Raises:
        IsosmokeError: if the request cannot be run; no record was started.
    """
    started_at, started = monotonic(), datetime.now().astimezone()
    request.check_place()
    identity = IdentityReader(caller.working, caller.environment)
    preflight = run_preflight(request, caller, interrupt)
    context = preflight.context
    path = request.record_in or layout.find_top(context.workspace.working)
    recording = writer.start_recording(path, request.retention)
    session = Session(
        request=request,
        started=started,
        started_at=started_at,
        preflight=preflight,
        attempts=create_attempt_runner(preflight, request, recording.directory),
        recording=recording,
        digests=InputDigests(context=context, engine_for=preflight.engines.engine_for),
        identity=identity,
        notify=notify,
        warnings=surroundings_warnings.collect_warnings(
            context, request.scenarios, request.binary, is_command=bool(request.argv)
        ),
    )
    run = session.result(())
    recording.begin(run, request.scenarios)
    notify(RunStarted(tuple(scenario.name for scenario in request.scenarios), run))
    return session


def create_attempt_runner(
    preflight: Preflight, request: Request, record: Path
) -> "AttemptRunner | PlacedAttempts":
    """Return the runner of all attempts of a request, with their logs below `record`."""
    context = preflight.context
    if request.place is not None:
        from isosmoke.execution.places import known_secrets
        from isosmoke.execution.places.placed_attempts import PlacedAttempts

        known = known_secrets.find(request.manifest, request.scenarios, context.caller)
        return PlacedAttempts(
            place=request.place,
            context=context,
            engine=request.engine,
            record=record,
            interrupt=preflight.interrupt,
            trees=request.place.publish(context, known),
            known=known,
            leaks=request.policy.leaks,
            evidence=request.policy.evidence,
        )
    return AttemptRunner(
        engine_for=preflight.engines.engine_for,
        context=context,
        requirements=Requirements(
            context.caller.environment, has_binary=context.binary is not None
        ),
        record=record,
        interrupt=preflight.interrupt,
        leaks=request.policy.leaks,
        evidence=request.policy.evidence,
        on_output=request.on_output,
        outputs=request.outputs,
        streams=request.streams,
        keeps_caches=request.keeps_caches,
    )


def _note_ordinary_secrets(scenarios: Sequence[Scenario], context: RunContext) -> Iterator[str]:
    """Yield a note for each secret variable whose value occurs in ordinary text."""
    for name in (name for scenario in scenarios for name in scenario.pass_env):
        if is_ordinary(context.caller.environment.get(name, "")):
            yield (
                f"{name} is redacted wherever its value occurs, and that may be an ordinary word: "
                "if it is not secret, move it from pass_env to plain_env"
            )


def _note_unredacted_secrets(scenarios: Sequence[Scenario], context: RunContext) -> Iterator[str]:
    """Yield a note for each passed variable, file or directory that is not fully redacted."""
    for scenario in scenarios:
        yield from context.redactor(scenario).list_notes()
