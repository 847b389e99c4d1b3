"""One pass through the gate: load the manifest, run the scenarios, judge, write the receipt."""

from collections.abc import Callable, Iterator
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from isosmoke.authoring import manifest_places
from isosmoke.dataclass import dataclass
from isosmoke.engines import AUTO
from isosmoke.errors import IsosmokeError
from isosmoke.execution import session
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.gate import bound_run, decision, trusted_workers
from isosmoke.gate.decision import GateVerdict
from isosmoke.gate.proofs import requirement
from isosmoke.gate.proofs.requirement import Requirement
from isosmoke.gate.receipt import Way
from isosmoke.gate.receipt_writer import ReceiptWriter, format_now
from isosmoke.history import gate_records, record_homes
from isosmoke.history.gate_records import BypassRecord
from isosmoke.host import git
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest import loader
from isosmoke.manifest.discovery import locate_manifest
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results import repeat_command
from isosmoke.results.events import Event
from isosmoke.results.records.finding import FindingsDocument
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_results import RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRequest:
    """A task to complete, and options for its run; without `jobs`, the load of the machine decides.

    `way` is the command that asks; only `gate` does not complete the task. With `place`, its
    workers make the attempts; None is this machine.
    """

    task: str
    full: bool = False
    manifest: Path | None = None
    binary: str | None = None
    engine: str = AUTO
    jobs: int | None = None
    confirm: Literal["always", "auto"] = "auto"
    way: Way = "gate"
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A verdict, its run, and the path of its receipt; the last two are None if nothing was run.

    `findings` are reasons to doubt that the manifest is the project's. They change no verdict.
    `place_notes` say which workers of a place were not used, and why.
    """

    verdict: GateVerdict
    run: RunResult | None = None
    receipt: Path | None = None
    findings: FindingsDocument = field(default_factory=FindingsDocument)
    place_notes: tuple[str, ...] = ()


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
    execute = partial(session.execute, caller=caller, notify=notify, interrupt=interrupt)
    return begin_pass(ask, caller, lambda passing: passing.run(execute, repeat, interrupt))


def begin_pass(
    ask: GateRequest, caller: Caller, judge: Callable[["GatePass"], GateResult]
) -> GateResult:
    """Load the manifest, and return what `judge` says of a pass through its gate.

    An error that the user can fix ends as a shut gate.
    """
    try:
        loaded = loader.load(ask.manifest or locate_manifest(caller.working, caller.environment))
        findings = manifest_places.inspect_manifest(
            loaded.path, caller.working, caller.environment, option=ask.manifest
        )
        result = judge(GatePass(ask, caller, loaded, findings))
        verdict = decision.add_findings(result.verdict, findings)
        return replace(result, verdict=verdict, findings=findings)
    except IsosmokeError as error:
        return GateResult(verdict=decision.judge_error(ask.task, error))


def bypass_gate(task: str, caller: Caller) -> GateResult:
    """Let the task bypass the gate without a run, and record it; or refuse.

    A bypass that cannot be recorded is refused.
    """
    request = decision.parse_bypass_request(caller.environment)
    try:
        if request.is_granted:
            record_bypass(task, request.agent, caller)
    except IsosmokeError as error:
        return GateResult(verdict=decision.judge_error(task, error))
    return GateResult(verdict=decision.judge_bypass(task, request))


def record_bypass(task: str, agent: str | None, caller: Caller) -> None:
    """Record that the task bypassed the gate, by an agent with this ID, or by a human if None.

    Raises:
        IsosmokeError: if it cannot be recorded.
    """
    record = BypassRecord(
        task=task,
        agent=agent,
        user=caller.user,
        folder=str(caller.working),
        at=format_now(),
        repository=git.read_checkout(caller.working, caller.environment),
        graph=str(record_homes.locate_graph(caller, None)),
    )
    gate_records.save_bypass(record_homes.list_homes(caller, None), record)


@dataclass(frozen=True, slots=True)
class GatePass:
    """One task's pass through the gate of one manifest."""

    ask: GateRequest
    caller: Caller
    manifest: Manifest
    findings: FindingsDocument

    def run(
        self, execute: Callable[[Request], RunResult], repeat: Repeat, interrupt: Interrupt
    ) -> GateResult:
        """Run the scenarios that cover the task, judge them, and write the receipt."""
        task, address = self.ask.task, self.ask.place
        pins = trusted_workers.require_pins(self.manifest, address, self.caller)
        scenarios = decision.select_scenarios(self.manifest, task, full=self.ask.full)
        if not scenarios:
            return GateResult(verdict=decision.judge_unowned(self.manifest, task))
        writer = self.create_writer()
        writer.list_homes()  # report an error in them before anything runs
        required = self.create_requirement()
        judged = required.read_inputs(scenarios)
        if lacks := required.find_lacks(scenarios):
            return GateResult(verdict=decision.judge_lacks(task, lacks))
        with trusted_workers.opened(address, pins, scenarios, interrupt) as place:
            request = replace(self.create_request(scenarios), place=place)
            run = bound_run.execute(self.manifest, request, self.caller.environment, execute)
            notes = tuple(place.notes) if place else ()
        run = required.bind(run, judged)
        verdict = decision.judge_run(run.result, self.manifest.gate, task=task, repeat=repeat)
        if verdict.open and run.changes:
            verdict = decision.judge_changes(task, run.changes)
        saved = writer.save(run, is_open=verdict.open)
        return GateResult(verdict=verdict, run=run.result, receipt=saved, place_notes=notes)

    def create_requirement(self) -> Requirement:
        """Return what the rules of the manifest require of scenarios before they are run."""
        options = [part for name, value in self._list_options() for part in (name, value)]
        return requirement.create_for_run(self.manifest, self.caller, self.ask.binary, options)

    def create_writer(self) -> ReceiptWriter:
        """Return a writer of receipts for the task."""
        return ReceiptWriter(
            task=self.ask.task,
            way=self.ask.way,
            caller=self.caller,
            manifest=self.manifest,
            losses=self.findings.losses,
            place=self.ask.place,
            options=tuple(f"{name}={value}" for name, value in self._list_options()),
        )

    def _list_options(self) -> Iterator[tuple[str, str]]:
        """Yield the options that select the manifest and the binary, with their values."""
        for name, value in (("--manifest", self.ask.manifest), ("--binary", self.ask.binary)):
            if value:
                yield name, str(value)

    def create_request(self, scenarios: tuple[Scenario, ...]) -> Request:
        """Return the request to run these scenarios."""
        return Request(
            scenarios=scenarios,
            manifest=self.manifest.path,
            retention=self.manifest.record,
            binary=self.ask.binary,
            engine=self.ask.engine,
            policy=Policy(jobs=self.ask.jobs, confirm=self.ask.confirm),
        )
