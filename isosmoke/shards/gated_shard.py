"""A shard of a gate: its run is bound as any gate's, and its receipt opens no gate by itself."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.execution import session
from isosmoke.execution.request import Request
from isosmoke.gate import bound_run, decision, gate_run
from isosmoke.gate.bound_run import BoundRun
from isosmoke.gate.gate_run import GatePass, GateRequest, GateResult
from isosmoke.gate.receipt import ShardPart
from isosmoke.history import record_copies
from isosmoke.host import files
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.results.events import Event
from isosmoke.results.records import creation
from isosmoke.results.records.result_digest import digest_results
from isosmoke.results.records.shard import ShardRecord
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_results import RunResult
from isosmoke.shards import plan
from isosmoke.shards.loaded_shards import RECEIPT
from isosmoke.shards.plan import Division

_COMMON = tuple(ShardRecord.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRequest:
    """A shard of a gate; `run` names the run, and `output` receives the record and the receipt."""

    ask: GateRequest
    division: Division
    run: str
    output: Path


def run_shard(
    request: ShardRequest,
    caller: Caller,
    *,
    notify: Callable[[Event], None],
    interrupt: Interrupt,
    repeat: Repeat,
) -> GateResult:
    """Run the shard's part of the scenarios that cover a task, and return a shut verdict.

    An error that the user can fix ends as a shut gate.
    """
    execute = partial(session.execute, caller=caller, notify=notify, interrupt=interrupt)
    return gate_run.begin_pass(
        request.ask, caller, lambda whole: _Shard(request, whole).run(execute, repeat)
    )


@dataclass(frozen=True, slots=True)
class _Shard:
    """One part of a task's pass through the gate."""

    request: ShardRequest
    whole: GatePass

    def run(self, execute: Callable[[Request], RunResult], repeat: Repeat) -> GateResult:
        ask, caller, manifest = self.whole.ask, self.whole.caller, self.whole.manifest
        scenarios = decision.select_scenarios(manifest, ask.task, full=ask.full)
        if not scenarios:
            raise UsageError(
                f"{ask.task!r} owns no scenario, so that there is nothing to divide",
                hint="isosmoke gate without --shard",
            )
        whole = self.whole.create_request(scenarios)
        part = plan.limit_request(whole, self.request.division, manifest, caller)
        required = self.whole.create_requirement()
        judged = required.read_inputs(part.scenarios)
        if lacks := required.find_lacks(scenarios):
            return GateResult(verdict=decision.judge_lacks(ask.task, lacks))
        run = required.bind(bound_run.execute(manifest, part, caller.environment, execute), judged)
        verdict, objection = decision.judge_part(
            run.result,
            f"shard {self.request.division.shard}",
            task=ask.task,
            changes=run.changes,
            repeat=repeat,
        )
        saved = self._save(run, objection or run.result.unrecorded)
        return GateResult(verdict=verdict, run=run.result, receipt=saved)

    def _save(self, run: BoundRun, problem: str) -> Path:
        """Write the record of the run and its receipt, and return the path of the receipt."""
        result, output = run.result, self.request.output
        if result.shard is None or result.record is None:
            raise AssertionError("a shard has a plan and a record")
        fields = {name: getattr(result.shard.record, name) for name in _COMMON}
        part = ShardPart(
            **fields,
            run=self.request.run,
            results=digest_results(creation.record_run(result).scenarios),
            problem=problem,
            max_skips=self.whole.manifest.gate.max_skips,
        )
        text = self.whole.create_writer().render_shard(run, part)
        record_copies.copy_record(result.record, output)
        return files.write(output / RECEIPT, text)
