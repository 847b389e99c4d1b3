"""The creation of records from the results of a run."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from isosmoke import __version__
from isosmoke.host.git import RepositoryState
from isosmoke.manifest.models import Scenario
from isosmoke.results.evidence import Change, Evidence, Pane
from isosmoke.results.machine_load import Doubt, Load
from isosmoke.results.outcome import Exited, Outcome, Signaled, Stopped, name_signal
from isosmoke.results.records.attempt import (
    AttemptRecord,
    ChangeRecord,
    DoubtRecord,
    EvidenceRecord,
    LoadRecord,
    LossRecord,
    OutputRecord,
    PaneRecord,
    ProcessRecord,
    ToleratedRecord,
    UsageRecord,
    WorkerRecord,
)
from isosmoke.results.records.origin import BinaryRecord, RepositoryRecord
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_record import (
    Beginning,
    Header,
    InterpreterRecord,
    Planned,
    RunRecord,
    ScenarioRecord,
    SelectedRecord,
    StoredHeader,
)
from isosmoke.results.run_results import Attempt, LostOrder, RunResult, ScenarioResult, Worker
from isosmoke.sandbox.script_interpreter import Interpreter
from isosmoke.sandbox.survivors import Process, Usage
from isosmoke.text import escape_bytes, format_json_item

_LAST_LINES = 20


def record_beginning(run: RunResult) -> Beginning:
    """Return the properties of a run that are known before its first scenario."""
    return Beginning(**_describe_beginning(run))


def record_run(run: RunResult) -> RunRecord:
    """Return the record of a run."""
    return RunRecord(**_describe_run(run), scenarios=tuple(map(record_scenario, run.scenarios)))


def record_problems(run: RunResult) -> RunRecord:
    """Return the record of a run without the scenarios that just passed, which may be thousands.

    Its counts are those of all scenarios.
    """
    shown = (result for result in run.scenarios if result.outcome is not Outcome.PASS)
    return RunRecord(**_describe_run(run), scenarios=tuple(map(record_scenario, shown)))


def render_header(run: RunResult, planned: Iterable[Scenario], *, finished: bool) -> Iterator[str]:
    """Yield the parts of the stored header as JSON text, since thousands may be planned."""
    fields = {**_describe_run(run), "finished": finished}
    header = StoredHeader(**fields, selection=_list_selected(run), planned=())
    begin, _, end = render_json(header).rpartition("[]")  # `planned` is the last field
    yield f"{begin}["
    separator = ""
    for scenario in planned:
        yield f"{separator}\n    {format_json_item(record_plan(scenario).to_json(), '    ')}"
        separator = ","
    yield f"\n  ]{end}" if separator else f"]{end}"


def _list_selected(run: RunResult) -> tuple[SelectedRecord, ...]:
    """Return the selection of all shards; empty unless the run is one of several."""
    selection = run.shard.selection if run.shard else ()
    return tuple(
        SelectedRecord(**_describe_plan(scenario), shard=number) for scenario, number in selection
    )


def record_scenario(result: ScenarioResult) -> ScenarioRecord:
    """Return the record of one scenario."""
    return ScenarioRecord(
        **_describe_plan(result.scenario),
        **{**_describe_outcome(result.reported_attempt), "outcome": result.outcome},
        blocks=result.outcome.blocks,
        load_sensitive=result.load_sensitive,
        seconds=round(result.seconds, 3),
        attempts=tuple(map(_record_attempt, result.attempts)),
    )


def select_plan(planned: Planned) -> Planned:
    """Return the properties of a scenario that are known before it runs, without any others."""
    return Planned(**{name: getattr(planned, name) for name in Planned.__dataclass_fields__})


def record_plan(definition: Scenario) -> Planned:
    """Return the record of a scenario before it runs."""
    return Planned(**_describe_plan(definition))


def record_not_run(plan: Planned, reason: str) -> ScenarioRecord:
    """Return the record of a scenario that did not start."""
    attempt = Attempt(ending=Stopped(reason))
    return ScenarioRecord(
        **vars(plan),
        **_describe_outcome(attempt),
        blocks=attempt.outcome.blocks,
        load_sensitive=False,
        seconds=0.0,
        attempts=(_record_attempt(attempt),),
    )


def complete(header: Header, record: Path, scenarios: tuple[ScenarioRecord, ...]) -> RunRecord:
    """Return the record of a run whose header and results were read from `record`."""
    names = Header.__dataclass_fields__
    fields = {name: getattr(header, name) for name in names}
    return RunRecord(**{**fields, "record": _escape(record)}, scenarios=scenarios)


def _describe_beginning(run: RunResult) -> dict[str, Any]:
    return {
        "isosmoke": __version__,
        "id": _escape(run.record.name) if run.record else "",
        "started_at": run.started,
        "engine": run.engine,
        "host": _escape(run.host),
        "working": _escape(run.working),
        "manifest": _escape_optional(run.manifest),
        "binary": _record_binary(run),
        "command": _escape_all(run.command),
        "record": _escape_optional(run.record),
        "rerun_of": _escape_optional(run.rerun_of or None),
        "daemon": _escape_all(run.daemon),
        "shard": run.shard and run.shard.record,
    }


def _describe_run(run: RunResult) -> dict[str, Any]:
    warnings = _escape_all(run.warnings)
    return {
        **_describe_beginning(run),
        "finished": True,
        "seconds": round(run.seconds, 3),
        "stopped": _escape_optional(run.stopped or None),
        "notes": (*(f"WARNING: {warning}" for warning in warnings), *_escape_all(run.notes)),
        "warnings": warnings,
        "interpreters": tuple(map(_record_interpreter, run.interpreters)),
        "dirty": _escape_all(run.dirty),
        "recording": _round_all(run.recording),
        "repository": run.repository and RepositoryRecord(**_copy_fields(run.repository)),
        "counts": run.counts,
    }


def _record_binary(run: RunResult) -> BinaryRecord | None:
    if run.binary is None:
        return None
    path, sha256 = run.binary
    version = _escape_optional(run.binary_version or None)
    return BinaryRecord(path=_escape(path), sha256=sha256, version=version)


def _record_interpreter(interpreter: Interpreter) -> InterpreterRecord:
    return InterpreterRecord(
        image=_escape(interpreter.image),
        path=_escape(interpreter.path),
        sha256=interpreter.sha256 or None,
    )


def _describe_plan(definition: Scenario) -> dict[str, Any]:
    return {
        "name": definition.name,
        "assertion": definition.assertion,
        "owners": definition.owners,
        "script": _escape(definition.script_path),
        "entry": definition.to_json(),
    }


def _record_attempt(attempt: Attempt) -> AttemptRecord:
    environment = {_escape(name): _escape(value) for name, value in attempt.environment.items()}
    return AttemptRecord(
        **_describe_outcome(attempt),
        begun=round(attempt.begun, 4),
        waited=round(attempt.waited, 4),
        seconds=round(attempt.seconds, 3),
        alone=attempt.alone,
        postponed=attempt.postponed,
        phases=_round_all(attempt.phases),
        environment=environment,
        evidence=_record_evidence(attempt.evidence),
        repetition=attempt.repetition,
        load=_record_load(attempt.load),
        doubts=tuple(DoubtRecord(**_copy_fields(doubt)) for doubt in attempt.doubts),
        basis=attempt.basis,
        inputs=attempt.inputs,
        script_sha256=attempt.script_sha256 or None,
        worker=_record_worker(attempt.worker),
        losses=tuple(LossRecord(**_copy_fields(lost)) for lost in attempt.losses),
    )


def _describe_outcome(attempt: Attempt) -> dict[str, Any]:
    ending, leaks, tolerated = attempt.ending, attempt.leaks, attempt.verdict.tolerated
    return {
        "outcome": attempt.outcome,
        "reason": _escape(attempt.reason),
        "exit_code": ending.code if isinstance(ending, Exited) else None,
        "signal": name_signal(ending.number) if isinstance(ending, Signaled) else None,
        "leaks": tuple(ProcessRecord(**_copy_fields(process)) for process in leaks),
        "tolerated": tuple(
            ToleratedRecord(**_copy_fields(survivor.process), reason=_escape(survivor.reason))
            for survivor in tolerated
        ),
        "output": OutputRecord(
            size=attempt.output.size,
            log=_escape_optional(attempt.log),
            last_lines=_escape_all(attempt.output.last_lines(_LAST_LINES)),
        ),
    }


def _record_load(load: Load | None) -> LoadRecord | None:
    return None if load is None else LoadRecord(**_copy_fields(load))


def _record_worker(worker: Worker | None) -> WorkerRecord | None:
    return None if worker is None else WorkerRecord(**_copy_fields(worker))


def _record_evidence(evidence: Evidence | None) -> EvidenceRecord | None:
    if evidence is None:
        return None
    return EvidenceRecord(
        changes=tuple(ChangeRecord(**_copy_fields(change)) for change in evidence.changes),
        changes_left_out=evidence.changes_left_out,
        panes=tuple(PaneRecord(**_copy_fields(pane)) for pane in evidence.panes),
        usage=None if evidence.usage is None else UsageRecord(**_copy_fields(evidence.usage)),
        peaks=evidence.peaks,
        missing=_escape_all(evidence.missing),
    )


_Part = Process | Load | Doubt | Change | Pane | Usage | Worker | LostOrder | RepositoryState


def _copy_fields(part: _Part) -> dict[str, Any]:
    """Return the fields of a part of a result, whose record has fields of the same names."""
    return {name: _escape_any(getattr(part, name)) for name in part.__dataclass_fields__}


def _escape_any(value: Any) -> Any:
    """Return a value with the bytes in its texts escaped that are not valid UTF-8."""
    match value:
        case str():
            return escape_bytes(value)
        case tuple():
            return tuple(map(_escape_any, value))
        case _:
            return value


def _escape(value: str | Path) -> str:
    return escape_bytes(str(value))


def _escape_optional(value: str | Path | None) -> str | None:
    return None if value is None else _escape(value)


def _escape_all(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(escape_bytes, values))


def _round_all(durations: Mapping[str, float]) -> dict[str, float]:
    return {name: round(seconds, 4) for name, seconds in durations.items()}
