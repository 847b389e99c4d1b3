"""An attempt at a scenario: its services, its sandbox, its captured output and its verdict."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from datetime import date
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING, Literal, Protocol

from isosmoke.caches.kept import keep_additions
from isosmoke.dataclass import dataclass
from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError, describe_os_error, suggest_remedy
from isosmoke.execution.requirements import Requirements
from isosmoke.execution.surroundings_warnings import explain_missing_program
from isosmoke.host import files
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import NOT_EXECUTABLE, NOT_FOUND
from isosmoke.keeper.events import Output
from isosmoke.keeper.input_forwarding import Streams
from isosmoke.manifest.models import Scenario
from isosmoke.results.cause import MAX_LINES, find_unexecuted_program
from isosmoke.results.leaks import LeakVerdict, classify_survivors
from isosmoke.results.outcome import Broke, Ending, Exited, Stopped, judge
from isosmoke.results.run_results import Attempt, CapturedOutput
from isosmoke.runner import job_builder, sandbox_run
from isosmoke.runner.environment import build_environment, redact_environment
from isosmoke.runner.job_builder import RunContext
from isosmoke.runner.output import Capture, LiveOutputs
from isosmoke.runner.sandbox_run import SandboxRun
from isosmoke.sandbox.spec import Job, SandboxSpec
from isosmoke.sandbox.survivors import Process

if TYPE_CHECKING:
    from isosmoke.execution.services import Services


class Attempts(Protocol):
    """The source of the attempts of a run: this machine, or a place."""

    @property
    def slots(self) -> int | None:
        """The number of attempts that can be made at once; None leaves it to the load."""

    def is_local(self, scenario: Scenario) -> bool:
        """Return whether the load of this machine says something about a scenario's attempts."""

    def run(
        self,
        scenario: Scenario,
        number: int,
        argv: tuple[str, ...] = (),
        *,
        alone: bool = False,
    ) -> Attempt:
        """Make an attempt; with `alone`, nothing else may run on its machine."""

    def find_missing(self, scenario: Scenario) -> str:
        """Return the missing requirements of a scenario as far as they are known beforehand."""


class ServicePool:
    """The services of each engine of a run, created on first use."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._services: dict[str, Services] = {}

    def get_services(self, engine: Engine) -> "Services":
        """Return the services of an engine."""
        from isosmoke.execution.services import Services

        with self._lock:
            return self._services.setdefault(engine.name, Services(engine))


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRunner:
    """The runner of all attempts in a run.

    `engine_for` returns the engine of a scenario. `leaks` overrides the manifest's leak policy.
    `evidence` selects the attempts for which evidence is collected. Logs are written below
    `record`, and `on_output` receives the output as it arrives; `outputs` shows it to another
    thread. A command takes over `streams`. With `keeps_caches`, what an attempt adds to caches is
    kept, and `notes` says what is not.
    """

    engine_for: Callable[[Scenario], Engine]
    context: RunContext
    requirements: Requirements
    record: Path
    interrupt: Interrupt
    leaks: Literal["fail", "report"] | None = None
    evidence: Literal["failed", "always", "never"] = "failed"
    on_output: Callable[[Output], object] | None = None
    outputs: LiveOutputs = field(default_factory=LiveOutputs, compare=False)
    streams: Streams | None = None
    keeps_caches: bool = False
    notes: list[str] = field(default_factory=list, init=False)
    _services: ServicePool = field(default_factory=ServicePool, init=False)

    @property
    def slots(self) -> int | None:
        """The number of attempts that can be made at once; None leaves it to the load."""
        return None

    def check(self, scenarios: Sequence[Scenario]) -> None:
        """Accept all scenarios: this machine has no rules about them."""

    def is_local(self, scenario: Scenario) -> bool:
        """Return whether the load of this machine says something about a scenario's attempts."""
        return self.engine_for(scenario).is_local

    def run(
        self,
        scenario: Scenario,
        number: int,
        argv: tuple[str, ...] = (),
        *,
        alone: bool = False,
    ) -> Attempt:
        """Run a scenario once in a fresh sandbox, and return the attempt with its secrets redacted.

        `argv` replaces its script. An error of the machine (`OSError`) becomes the ending. The
        caller is in charge of `alone`: nothing else runs at the same time.
        """
        try:
            attempt = self._run(scenario, number, argv)
        except OSError as error:
            cause = f"{describe_os_error(error)} (try: {suggest_remedy(error)})"
            attempt = Attempt(ending=Broke(f"the attempt could not start: {cause}"))
        return attempt.transform_texts(self.context.redactor(scenario).text)

    def _run(self, scenario: Scenario, number: int, argv: tuple[str, ...]) -> Attempt:
        environment = build_environment(scenario, self.context)
        log = self.record / scenario.name / f"output-{number}.log"
        redactor = self.context.redactor(scenario)
        limit = scenario.limits.output
        capture = Capture(
            log,
            limit,
            redactor=redactor,
            on_output=self.on_output,
            output=self.streams.plan.output if self.streams else "",
        )
        run = SandboxRun()
        services = self._running_services(scenario, number, run)
        showing = self.outputs.showing(scenario.name, capture)
        with capture, showing, run.record_errors(), services as variables:
            job = self._build_job(scenario, argv, variables)
            environment = job.environment
            sandbox_run.run_job(
                job,
                self.engine_for(scenario),
                capture=capture,
                interrupt=self.interrupt,
                wants_evidence=partial(self._wants_evidence, scenario),
                run=run,
                streams=self.streams,
                keep=(
                    partial(self._keep_changes, scenario, job.spec)
                    if self._keeps_anything
                    else None
                ),
            )
        return Attempt(
            ending=run.ending,
            verdict=_judge_survivors(scenario, run.survivors),
            leak_blocks=(self.leaks or scenario.leaks.policy) == "fail",
            output=capture.output,
            stderr=capture.stderr,
            log=capture.log,
            unlogged=capture.unlogged,
            phases=run.phases,
            environment=redact_environment(scenario, environment),
            evidence=run.evidence,
            leftovers=run.cleanup_failures,
            reached_limits=run.reached_limits,
            missing_program=self._explain_missing(scenario, run.ending, capture.stderr),
            script_sha256="" if argv else self._hash_script(scenario),
        )

    def _hash_script(self, scenario: Scenario) -> str:
        """Return the hash of the script, or of the copy that ran; empty if it cannot be read."""
        path = scenario.script_path.absolute()
        copy = self.context.copies / path.relative_to("/") if self.context.copies else path
        try:
            return files.sha256(copy if copy.exists() else self.context.locate(path))
        except OSError:
            return ""

    @property
    def _keeps_anything(self) -> bool:
        return self.keeps_caches or self.context.stand_ins is not None

    def _keep_changes(
        self,
        scenario: Scenario,
        spec: SandboxSpec,
        ending: Ending,
        changes: Mapping[PurePosixPath, Path],
    ) -> None:
        """Keep what outlives the sandbox: the log of stand-ins, and caches if the job exited."""
        context = self.context
        if context.stand_ins is not None:
            context.stand_ins.collect(scenario, changes)
        if not self.keeps_caches or not isinstance(ending, Exited):
            return
        notes = keep_additions(
            spec,
            changes,
            context.project,
            caller=context.caller,
            redactor=context.redactor(scenario),
            interrupt=self.interrupt,
        )
        self.notes.extend(notes)

    def _explain_missing(self, scenario: Scenario, ending: Ending, stderr: CapturedOutput) -> str:
        """Return why the sandbox did not have the program that a script could not execute."""
        if ending not in (Exited(NOT_EXECUTABLE), Exited(NOT_FOUND)):
            return ""
        program = find_unexecuted_program(stderr.last_lines(MAX_LINES))
        return explain_missing_program(program, scenario, self.context) if program else ""

    def find_missing(self, scenario: Scenario) -> str:
        """Return the missing requirements of a scenario, redacted; empty if it can run."""
        missing = self.requirements.find_missing(scenario)
        if scenario.services and not missing:
            services = self._services.get_services(self.engine_for(scenario))
            missing = services.find_missing(scenario.services)
        return self.context.redactor(scenario).text(missing) if missing else ""

    def list_sandboxes(
        self, scenarios: Iterable[Scenario], argv: tuple[str, ...] = ()
    ) -> Collection[tuple[Engine, Sequence[SandboxSpec]]]:
        """Return the sandboxes of scenarios in this order, those of each engine together.

        A scenario without one is missing: its attempt says why.
        """
        sandboxes: dict[int, tuple[Engine, list[SandboxSpec]]] = {}
        for scenario in scenarios:
            with suppress(EngineError, OSError):
                spec = job_builder.find_spec(scenario, argv, self.context)
                engine = self.engine_for(scenario)
                sandboxes.setdefault(id(engine), (engine, []))[1].append(spec)
        return sandboxes.values()

    def _build_job(
        self, scenario: Scenario, argv: tuple[str, ...], variables: Mapping[str, str]
    ) -> Job:
        if argv:
            return job_builder.build_command_job(scenario, argv, self.context, variables)
        return job_builder.build_script_job(scenario, self.context, variables)

    def _wants_evidence(
        self, scenario: Scenario, ending: Ending, survivors: tuple[Process, ...]
    ) -> bool:
        if isinstance(ending, Stopped) or self.evidence == "never":
            return False
        leaked = bool(_judge_survivors(scenario, survivors).leaked)
        return self.evidence == "always" or judge(ending, leaked=leaked).blocks

    @contextmanager
    def _running_services(
        self, scenario: Scenario, number: int, run: SandboxRun
    ) -> Iterator[Mapping[str, str]]:
        """Start the services of an attempt, and yield the variables that hold their addresses."""
        if not scenario.services:
            yield {}
            return
        from isosmoke.execution.services import ServiceAttempt

        attempt = ServiceAttempt(
            scenario=scenario,
            number=number,
            record=self.record,
            caller=self.context.caller,
            redactor=self.context.redactor(scenario),
            interrupt=self.interrupt,
        )
        services = self._services.get_services(self.engine_for(scenario))
        with ExitStack() as stack:
            with run.phase("services"):
                variables = stack.enter_context(services.running(attempt))
            yield variables


def _judge_survivors(scenario: Scenario, survivors: tuple[Process, ...]) -> LeakVerdict:
    today = date.today()  # noqa: DTZ011 - an allowance expires at the end of the user's local day
    return classify_survivors(survivors, scenario.leaks.allow, today)
