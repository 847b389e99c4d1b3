"""One whole run: what was asked for in, a `RunResult` out."""

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from time import monotonic

from isosmoke.engines import AUTO, ENGINES, engine_name
from isosmoke.engines.base import Engine, Facts
from isosmoke.engines.docker import endpoint
from isosmoke.errors import BinaryError, ExitCode, LeftBehindError
from isosmoke.execution import verdict_warnings
from isosmoke.execution.binary_check import Trial
from isosmoke.execution.requirements import Requirements
from isosmoke.execution.scheduler import Policy, Schedule
from isosmoke.history import layout, writer
from isosmoke.history.writer import Recording
from isosmoke.host import binary, workspace
from isosmoke.host.binary import Binary
from isosmoke.host.caller import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Retention, Scenario
from isosmoke.redaction import WHY_UNGUARDED
from isosmoke.results.attempts import RunResult, ScenarioResult
from isosmoke.results.events import Event, RunFinished, RunStarted, ScenarioFinished
from isosmoke.rootfs_images import store
from isosmoke.runner.job_builder import RunContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to run and how; `argv` replaces every scenario's script."""

    scenarios: tuple[Scenario, ...]
    manifest: Path | None = None
    binary: str | None = None
    engine: str = AUTO
    policy: Policy = field(default_factory=Policy)
    argv: tuple[str, ...] = ()
    echo: Callable[[bytes], object] | None = None
    record_in: Path | None = None
    retention: Retention = field(default_factory=Retention)
    rerun_of: str = ""


class _Engines:
    """Each engine that a run needs, made and looked at once."""

    def __init__(self, named: str) -> None:
        self._named = named
        self._made: dict[str, Engine] = {}
        self._facts: dict[str, Facts] = {}
        self._unswept: list[str] = []

    def name_for(self, scenario: Scenario) -> str:
        """Return the name of the engine that runs `scenario`."""
        return engine_name(self._named, scenario.image, scenario.folder)

    def __call__(self, scenario: Scenario) -> Engine:
        return self._made[self.name_for(scenario)]

    def prepare(self, scenarios: Sequence[Scenario]) -> None:
        """Find every engine usable, and sweep what dead runs left."""
        for name in dict.fromkeys(self.name_for(one) for one in scenarios):
            if name not in self._made:
                engine = ENGINES[name]()
                engine.preflight()
                self._sweep(engine)
                self._made[name] = engine
        for name in {self.name_for(one) for one in scenarios if _limited(one)}:
            self._facts[name] = self._facts.get(name) or self._made[name].facts()

    def _sweep(self, engine: Engine) -> None:
        """Remove what dead runs left. What stays is theirs: it is noted, and no verdict of ours."""
        try:
            engine.sweep()
        except LeftBehindError as error:
            self._unswept.append(f"a dead run left what isosmoke cannot remove: {error.message}")

    @property
    def unswept(self) -> Sequence[str]:
        """What dead runs left that could not be removed, in words."""
        return self._unswept

    def without_effect(self, scenarios: Iterable[Scenario]) -> Iterator[str]:
        """Each limit that one of these asks for and its engine cannot set, in words."""
        for one in scenarios:
            for limit in _limited(one):
                name = self.name_for(one)
                if limit not in self._facts[name].limits:
                    yield f"limits.{limit} has no effect on {name} here: isosmoke doctor says why"

    @property
    def names(self) -> str:
        """Those that were needed so far."""
        return "+".join(self._made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Premises:
    """What has to hold before a scenario may run, looked at once for each engine and image."""

    engines: _Engines
    context: RunContext
    interrupt: Interrupt
    tried: set[tuple[str, str]] = field(default_factory=set)

    def admit(self, scenarios: Sequence[Scenario]) -> None:
        """Return when these can be run, else raise an `IsosmokeError`.

        The binary is started once in each image: one that its loader refuses is nobody's failure.
        """
        self.engines.prepare(scenarios)
        if self.context.binary is None:
            return
        for one in scenarios:
            place = (one.image, self.engines.name_for(one))
            if place not in self.tried:
                self._try(self.context.binary, one)
                self.tried.add(place)

    def trial(self, scenario: Scenario) -> Trial:
        """The image of a scenario, to look at with the binary in it."""
        engine = self.engines(scenario)
        return Trial(
            scenario=scenario, context=self.context, engine=engine, interrupt=self.interrupt
        )

    def _try(self, tested: Binary, scenario: Scenario) -> None:
        if complaint := self.trial(scenario).refusal():
            raise BinaryError(
                f"{tested.source} cannot run in image '{scenario.image}': {complaint}",
                hint="build it for that system, or choose an image with its libraries",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A run under way, that was begun with what `request` asks for and may be given more to run."""

    request: Request
    started: datetime
    premises: Premises
    schedule: Schedule
    recording: Recording
    warnings: tuple[str, ...] = ()

    def run(
        self, scenarios: Sequence[Scenario], argv: tuple[str, ...] = ()
    ) -> tuple[ScenarioResult, ...]:
        """What came of these, of the request or not; `argv` replaces their scripts."""
        with store.held(one.image for one in scenarios):
            self.premises.admit(scenarios)
            return replace(self.schedule, argv=argv).run(scenarios)

    def end(self, scenarios: tuple[ScenarioResult, ...]) -> RunResult:
        """The whole run, once these are all its results."""
        result = self.result(scenarios)
        self.recording.end(result)
        result = replace(result, unrecorded=self.recording.lost)
        self.schedule.notify(RunFinished(result))
        return result

    def result(self, scenarios: tuple[ScenarioResult, ...]) -> RunResult:
        """The run as far as it went, with these results."""
        return RunResult(
            started=self.started,
            working=self.schedule.context.caller.working,
            engine=self.premises.engines.names,
            manifest=self.request.manifest,
            binary=_tested(self.schedule.context),
            record=self.schedule.record,
            scenarios=scenarios,
            seconds=monotonic() - self.schedule.begun,
            command=self.request.argv,
            stopped=self.schedule.interrupt.reason,
            host=platform.node(),
            rerun_of=self.request.rerun_of,
            daemon=endpoint.options(self.schedule.context.caller.environment),
            notes=tuple(dict.fromkeys(self._notes(scenarios))),
            warnings=self.warnings,
            interpreters=self.schedule.context.interpreters,
        )

    def _notes(self, scenarios: Sequence[ScenarioResult]) -> Iterator[str]:
        yield from self.premises.engines.unswept
        yield from self.recording.notes
        yield from _unguarded(scenarios, self.schedule.context)
        yield from self.premises.engines.without_effect(one.scenario for one in scenarios)


def execute(
    request: Request, caller: Caller, *, notify: Callable[[Event], None], interrupt: Interrupt
) -> RunResult:
    """Run what was asked for. `IsosmokeError` means that nothing was started."""
    session = begin(request, caller, notify=notify, interrupt=interrupt)
    return session.end(session.run(request.scenarios, request.argv))


def premises(request: Request, caller: Caller, interrupt: Interrupt) -> Premises:
    """What a run of this would stand on, looked at. `IsosmokeError` means that it cannot be."""
    found = _found(request, caller, interrupt)
    found.admit(request.scenarios)
    return found


def _found(request: Request, caller: Caller, interrupt: Interrupt) -> Premises:
    engines = _Engines(request.engine)
    engines.prepare(request.scenarios)
    context = _surroundings(request, caller)
    return Premises(engines=engines, context=context, interrupt=interrupt)


def begin(
    request: Request, caller: Caller, *, notify: Callable[[Event], None], interrupt: Interrupt
) -> Session:
    """All that comes before the first scenario. `IsosmokeError` means that nothing was started."""
    begun, started = monotonic(), datetime.now().astimezone()
    made = premises(request, caller, interrupt)
    context = made.context
    place = request.record_in or layout.top(context.workspace.working)
    recording = writer.start_recording(place, request.retention)
    schedule = Schedule(
        engines=made.engines,
        context=context,
        requirements=Requirements(caller.environment, has_binary=context.binary is not None),
        policy=request.policy,
        record=recording.folder,
        notify=_recorded(recording, notify),
        interrupt=interrupt,
        begun=begun,
        echo=request.echo,
    )
    session = Session(
        request=request,
        started=started,
        premises=made,
        schedule=schedule,
        recording=recording,
        warnings=verdict_warnings.warnings(context, request.scenarios, request.binary),
    )
    plain = session.result(())
    recording.begin(plain, request.scenarios)
    notify(RunStarted(tuple(one.name for one in request.scenarios), plain))
    return session


def _recorded(recording: Recording, notify: Callable[[Event], None]) -> Callable[[Event], None]:
    """What is told of a scenario is on disk before anybody hears of it."""

    def tell(event: Event) -> None:
        if isinstance(event, ScenarioFinished):
            recording.keep(event.result)
        notify(event)

    return tell


def trial(request: Request, caller: Caller, interrupt: Interrupt) -> Trial:
    """The image of the request's only scenario, to look at with the binary in it."""
    return _found(request, caller, interrupt).trial(request.scenarios[0])


def exit_code(result: RunResult) -> ExitCode:
    """What a run's outcomes mean for whoever called."""
    if result.stopped:
        return ExitCode.TERMINATED if result.stopped == "SIGTERM" else ExitCode.INTERRUPTED
    blocking = [one for one in result.scenarios if one.outcome.blocks]
    if blocking:
        broken = all(one.infrastructure for one in blocking)
        return ExitCode.INFRASTRUCTURE if broken else ExitCode.BLOCKED
    if result.dirty:
        return ExitCode.INFRASTRUCTURE
    if result.skipped == len(result.scenarios):
        return ExitCode.ALL_SKIPPED
    return ExitCode.OK


def _limited(scenario: Scenario) -> tuple[str, ...]:
    """What the engine has to limit for it; the rest needs no engine."""
    asked = {"memory": scenario.limits.memory, "processes": scenario.limits.processes}
    return tuple(name for name, most in asked.items() if most is not None)


def _unguarded(scenarios: Sequence[ScenarioResult], context: RunContext) -> Iterator[str]:
    for one in scenarios:
        for name in context.redactor(one.scenario).unguarded:
            yield f"{name} is shown as it is: {WHY_UNGUARDED}"


def _surroundings(request: Request, caller: Caller) -> RunContext:
    folder = request.manifest and request.manifest.resolve().parent
    found = binary.find(request.binary, caller.environment)
    return RunContext(
        caller=caller,
        workspace=workspace.with_mounts(workspace.find(caller.working, folder, home=caller.home)),
        binary=None if found is None else _taken(found),
    )


def _taken(path: Path) -> Binary:
    binary.check_format(path, platform.machine())
    return binary.take(path)


def _tested(context: RunContext) -> tuple[Path, str] | None:
    return None if context.binary is None else (context.binary.source, context.binary.sha256)
