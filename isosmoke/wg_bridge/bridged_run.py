"""Runs of a leader: one gate of the task that wg completes, with its receipt."""

from dataclasses import field, replace

from isosmoke.authoring import manifest_places
from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError
from isosmoke.execution import session
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.gate import bound_run, decision
from isosmoke.gate.bound_run import BoundRun
from isosmoke.gate.proofs import requirement
from isosmoke.gate.receipt_writer import ReceiptWriter
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest import selection
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results.events import Event, RunStarted, ScenarioFinished
from isosmoke.wg_bridge import replies_to_wg
from isosmoke.wg_bridge.calling_wg import Announcement
from isosmoke.wg_bridge.replies_to_wg import WgReply
from isosmoke.wg_bridge.verdict_server import ReportVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgedRun:
    """A run of the scenarios `names` of `source`, for the call of wg, or for None if unknown.

    The last verdict is held back until the receipt is written. wg marks its task as done after the
    last one, so no task is done without a receipt, or before the time in it.
    """

    source: Manifest
    names: tuple[str, ...]
    call: Announcement | None
    report: ReportVerdict
    _held: list[tuple[str, WgReply]] = field(default_factory=list, init=False)
    _warnings: list[str] = field(default_factory=list, init=False)
    _reported: set[str] = field(default_factory=set, init=False)

    def execute(self, caller: Caller, interrupt: Interrupt) -> None:
        """Run the scenarios and report each verdict.

        Raises:
            IsosmokeError: if they cannot be run, an input changed, or no receipt can be written.
        """
        if self.call and self.call.directory is not None:
            variables = {**caller.environment, "WG_DIR": self.call.directory}
            caller = replace(caller, environment=variables)
        required = requirement.create_for_run(self.source, caller)
        judged = required.read_inputs(self._select())
        requirement.require(required, self._select())
        run = required.bind(
            bound_run.execute(
                self.source,
                self._create_request(),
                caller.environment,
                lambda request: session.execute(
                    request, caller, notify=self._notify, interrupt=interrupt
                ),
            ),
            judged,
        )
        self._save_receipt(run, caller)
        if run.changes:
            message = "\n".join(["tested files changed during the run", *run.changes])
            raise IsosmokeError(message, "run wg done again when the files no longer change")
        for name, reply in self._held:
            self.report(name, reply)

    def _select(self) -> tuple[Scenario, ...]:
        return selection.select(self.source.scenarios, self.names)

    def _create_request(self) -> Request:
        selected = self._select()
        return Request(
            scenarios=tuple(sorted(selected, key=lambda scenario: self.names.index(scenario.name))),
            manifest=self.source.path,
            policy=Policy(jobs=None),
        )

    def _notify(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._warnings.extend(event.run.warnings)
        if isinstance(event, ScenarioFinished):
            result = event.result
            reply = replies_to_wg.create_reply(result, self.source.path, self._warnings)
            self._reported.add(result.name)
            if self._reported >= set(self.names):
                self._held.append((result.name, reply))
            else:
                self.report(result.name, reply)

    def _save_receipt(self, run: BoundRun, caller: Caller) -> None:
        """Write the receipt; a command of wg that is not `wg done` names no task, and gets none."""
        if self.call is None:
            return
        verdict = decision.judge_run(run.result, self.source.gate, task=self.call.task)
        places = manifest_places.inspect_manifest(
            self.source.path, caller.working, caller.environment
        )
        ReceiptWriter(
            task=self.call.task,
            way="bridge",
            caller=caller,
            manifest=self.source,
            losses=places.losses,
        ).save(run, is_open=verdict.open and not run.changes)
