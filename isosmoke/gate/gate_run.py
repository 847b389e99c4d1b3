"""One pass through the gate: load the manifest, run the scenarios, judge, write the receipt."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from isosmoke.engines import AUTO, EngineChoice
from isosmoke.errors import IsosmokeError
from isosmoke.execution import session
from isosmoke.execution.scheduler import Policy, count_gate_jobs
from isosmoke.execution.session import Request
from isosmoke.gate import decision, receipt, receipt_inputs
from isosmoke.gate.decision import GateVerdict
from isosmoke.gate.receipt import Circumstances, Resource
from isosmoke.history import gate_records
from isosmoke.history.gate_records import BypassRecord
from isosmoke.host import git
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import git_top
from isosmoke.interrupt import Interrupt
from isosmoke.manifest import loader
from isosmoke.manifest.discovery import locate_manifest
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results import repeat_command
from isosmoke.results.events import Event
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_results import RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRequest:
    """A task to complete, and options for its run; `jobs` defaults to a number based on cores."""

    task: str
    full: bool = False
    manifest: Path | None = None
    binary: str | None = None
    engine: str = AUTO
    jobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A verdict, its run, and the path of its receipt; the last two are None if nothing was run."""

    verdict: GateVerdict
    run: RunResult | None = None
    receipt: Path | None = None


def run_gate(
    ask: GateRequest,
    caller: Caller,
    *,
    notify: Callable[[Event], None],
    interrupt: Interrupt,
    repeat: Repeat = repeat_command.build_run_command,
) -> GateResult:
    """Run the scenarios that cover the task and return the verdict.

    An error that the user can fix ends as a shut gate.
    """
    try:
        loaded = loader.load(ask.manifest or locate_manifest(caller.working, caller.environment))
        execute = partial(session.execute, caller=caller, notify=notify, interrupt=interrupt)
        return _Pass(ask, caller, loaded).run(execute, repeat)
    except IsosmokeError as error:
        return GateResult(verdict=decision.judge_error(ask.task, error))


def find_project(caller: Caller, path: Path) -> Path:
    """Return the directory whose project keeps the records.

    It is the caller's working directory if that is in a Git work tree, else that of `path`.
    """
    return caller.working if git_top(caller.working) else path.absolute().parent


def bypass_gate(task: str, caller: Caller) -> GateResult:
    """Let the task bypass the gate without a run, and record it; or refuse.

    A bypass that cannot be recorded is refused.
    """
    request = decision.parse_bypass_request(caller.environment)
    try:
        if request.is_granted:
            record = BypassRecord(
                task=task,
                agent=request.agent,
                user=caller.user,
                folder=str(caller.working),
                at=_format_now(),
                repository=git.read_checkout(caller.working, caller.environment),
            )
            gate_records.save_bypass(
                gate_records.list_homes(caller.working, caller.environment), record
            )
    except IsosmokeError as error:
        return GateResult(verdict=decision.judge_error(task, error))
    return GateResult(verdict=decision.judge_bypass(task, request))


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class _Pass:
    """One task's pass through the gate of one manifest."""

    ask: GateRequest
    caller: Caller
    manifest: Manifest

    def run(self, execute: Callable[[Request], RunResult], repeat: Repeat) -> GateResult:
        task = self.ask.task
        scenarios = decision.select_scenarios(self.manifest, task, full=self.ask.full)
        if not scenarios:
            return GateResult(verdict=decision.judge_unowned(self.manifest, task))
        homes = self._list_homes()  # report an error in them before anything runs
        engines = EngineChoice(self.ask.engine)
        inputs = receipt_inputs.collect_inputs(self.manifest, scenarios, engines)
        result = execute(self._create_request(scenarios))
        verdict = decision.judge_run(result, self.manifest.gate, task=task, repeat=repeat)
        differences = (
            *receipt.list_differences(
                inputs, receipt_inputs.collect_inputs(self.manifest, scenarios, engines)
            ),
            *receipt_inputs.find_changed_interpreters(inputs, result.interpreters),
        )
        if verdict.open and differences:
            verdict = decision.judge_changes(task, differences)
        saved = gate_records.save_receipt(
            homes,
            result.record.name if result.record else "run",
            self._render_receipt(result, inputs, is_open=verdict.open),
        )
        return GateResult(verdict=verdict, run=result, receipt=saved)

    def _list_homes(self) -> tuple[Path, ...]:
        directory = find_project(self.caller, self.manifest.path)
        return gate_records.list_homes(directory, self.caller.environment)

    def _create_request(self, scenarios: tuple[Scenario, ...]) -> Request:
        return Request(
            scenarios=scenarios,
            manifest=self.manifest.path,
            retention=self.manifest.record,
            binary=self.ask.binary,
            engine=self.ask.engine,
            policy=Policy(jobs=self.ask.jobs or count_gate_jobs()),
        )

    def _render_receipt(
        self, result: RunResult, inputs: tuple[Resource, ...], *, is_open: bool
    ) -> str:
        directory = find_project(self.caller, self.manifest.path)
        environment = self.caller.environment
        circumstances = Circumstances(
            task=self.ask.task.strip(),
            open=is_open,
            tested_at=_format_now(),
            manifest=str(self.manifest.path.absolute()),
            binary=str(result.binary[0]) if result.binary else None,
            repository=git.read_checkout(directory, environment),
            outcomes={scenario.name: scenario.outcome for scenario in result.scenarios},
            engine=result.engine,
            warnings=result.warnings or None,
        )
        subject = receipt_inputs.create_subject(result.binary, self.manifest.path)
        return receipt.render(receipt.create_statement(circumstances, subject, inputs))
