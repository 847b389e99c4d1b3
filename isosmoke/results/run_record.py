"""The record of a run, the basis of reports, gates and later queries.

Records are plain, versioned data. `schema_version` increases if the meaning of a field changes, not
if a field is added. Durations are in seconds, sizes in bytes.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from isosmoke import __version__
from isosmoke.manifest.models import Scenario
from isosmoke.manifest.validation.value_types import Name
from isosmoke.results.evidence import Difference, Evidence, Kind
from isosmoke.results.load import Basis, DoubtKind
from isosmoke.results.outcome import Exited, Outcome, Signaled, Stopped, name_signal
from isosmoke.results.run_results import Attempt, CapturedOutput, RunResult, ScenarioResult
from isosmoke.sandbox.interpreter_data import Interpreter
from isosmoke.sandbox.processes import Process
from isosmoke.text import escape_bytes, format_json, restore_bytes

_LAST_LINES = 20


def _escape_bytes(value: object) -> object:
    """Escape bytes of a path or argument that are not valid text."""
    if isinstance(value, str | Path):
        return escape_bytes(str(value))
    return value


Text = Annotated[str, BeforeValidator(_escape_bytes)]


class RecordModel(BaseModel):
    """A part of a record; unknown fields from later versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class ProcessRecord(RecordModel):
    """A process that outlived a scenario; see `isosmoke.sandbox.processes.Process`."""

    pid: int
    ppid: int
    argv: tuple[Text, ...]
    cwd: Text
    exe: Text
    age_seconds: float
    state: Text
    listens: tuple[Text, ...] = ()

    @property
    def process(self) -> Process:
        """The recorded process."""
        return Process(**_copy_fields(self))


class ToleratedRecord(ProcessRecord):
    """A survivor that matches an allowance."""

    reason: Text


class OutputRecord(RecordModel):
    """The output of a script: its total size, the path of the log, and the last lines."""

    size: int
    log: Text | None
    last_lines: tuple[Text, ...]


class OutcomeRecord(RecordModel):
    """The fields that records of attempts and scenarios have in common."""

    outcome: Outcome
    reason: Text
    exit_code: int | None
    signal: Text | None
    leaks: tuple[ProcessRecord, ...]
    tolerated: tuple[ToleratedRecord, ...]
    output: OutputRecord


class ChangeRecord(RecordModel):
    """A path that was added, changed or removed; see `isosmoke.results.evidence.Change`."""

    path: Text
    change: Difference
    kind: Kind
    size: int
    text: Text | None
    before: int
    within: int


class PaneRecord(RecordModel):
    """The content of a terminal; see `isosmoke.results.evidence.Pane`."""

    server: Text
    name: Text
    pid: int
    lines: tuple[Text, ...]


class UsageRecord(RecordModel):
    """The resource usage of ended processes; see `isosmoke.sandbox.processes.Usage`."""

    user_seconds: float
    system_seconds: float
    largest: int


class EvidenceRecord(RecordModel):
    """The evidence of an attempt; see `isosmoke.results.evidence.Evidence`."""

    changes: tuple[ChangeRecord, ...]
    changes_left_out: int
    panes: tuple[PaneRecord, ...]
    usage: UsageRecord | None
    peaks: Mapping[str, int]
    missing: tuple[Text, ...]


class LoadRecord(RecordModel):
    """The load of the machine during an attempt; see `isosmoke.results.load.Load`."""

    seconds: float
    cpu_wait: float | None
    memory_wait: float | None
    io_wait: float | None
    sockets: tuple[Text, ...] | None
    connections: int | None
    killed: int | None
    free_memory: float | None
    free_disk: int | None
    used_disk: int | None


class DoubtRecord(RecordModel):
    """A way in which others may have caused a failure; see `isosmoke.results.load.Doubt`."""

    kind: DoubtKind
    text: Text


class AttemptRecord(OutcomeRecord):
    """One run of a scenario in one sandbox.

    `begun` is relative to the start of the run. `waited` is the delay before that, caused by locks
    or other scenarios. `repetition` counts from 1. `load`, `doubts`, `basis` and `inputs` say why a
    failure was confirmed or not; see `isosmoke.results.run_results.Attempt`. `script_sha256` is
    null for a command, and in records of former versions.
    """

    begun: float
    waited: float = 0.0
    seconds: float
    alone: bool
    postponed: bool = False
    phases: Mapping[str, float]
    environment: Mapping[Text, Text]
    evidence: EvidenceRecord | None = None
    repetition: int = 1
    load: LoadRecord | None = None
    doubts: tuple[DoubtRecord, ...] = ()
    basis: Basis = ""
    inputs: str = ""
    script_sha256: str | None = None


class Planned(RecordModel):
    """The properties of a scenario that are known before it runs.

    `entry` is the manifest entry with defaults applied, `script` the path of the script.
    """

    name: Name
    assertion: str
    owners: tuple[str, ...]
    script: Text
    entry: Mapping[str, Any]


class ScenarioRecord(Planned, OutcomeRecord):
    """One scenario: the fields of its reported attempt, then all of its attempts."""

    blocks: bool
    load_sensitive: bool
    seconds: float
    attempts: Annotated[tuple[AttemptRecord, ...], Field(min_length=1)]


class BinaryRecord(RecordModel):
    """The live binary that was tested."""

    path: Text
    sha256: str


class Beginning(RecordModel):
    """The properties of a run that are known when it starts.

    `command` ran instead of the scripts, `record` is the directory of the record, `working` the
    working directory of the caller, and `host` the machine. `rerun_of` is the id of the repeated
    run, and `daemon` has the options that select a container daemon.
    """

    schema_version: Literal[1] = 1
    isosmoke: str
    id: Text
    started_at: datetime
    engine: str
    host: Text = ""
    working: Text
    manifest: Text | None
    binary: BinaryRecord | None
    command: tuple[Text, ...]
    record: Text | None
    rerun_of: Text | None = None
    daemon: tuple[Text, ...] = ()

    @property
    def directory(self) -> Path:
        """The working directory of the caller, as a path."""
        return Path(restore_bytes(self.working))

    @property
    def manifest_path(self) -> Path | None:
        """The path of the manifest; None for a run without one."""
        return self.directory / restore_bytes(self.manifest) if self.manifest else None

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that ran instead of the scripts, as it was given."""
        return tuple(map(restore_bytes, self.command))


class InterpreterRecord(RecordModel):
    """The interpreter that ran the scripts in an image.

    `sha256` is null if only an engine has the image, whose own digest identifies it then.
    """

    image: Text
    path: Text
    sha256: Text | None


class Header(Beginning):
    """The properties of a whole run; `finished` is false while it is in progress.

    `warnings` describe external influences on outcomes; they are included in `notes`. `dirty` lists
    items whose removal could not be confirmed, each with the command that removes it. `recording`
    is the time that it took to write the result of each scenario.
    """

    finished: bool
    seconds: float
    stopped: Text | None
    notes: tuple[Text, ...] = ()
    warnings: tuple[Text, ...] = ()
    interpreters: tuple[InterpreterRecord, ...] = ()
    dirty: tuple[Text, ...] = ()
    recording: Mapping[str, float] = Field(default_factory=dict)
    counts: Mapping[str, int]


class RunRecord(Header):
    """A whole run, its scenarios in manifest order."""

    scenarios: tuple[ScenarioRecord, ...]


def record_beginning(run: RunResult) -> Beginning:
    """Return the properties of a run that are known before its first scenario."""
    return Beginning(
        isosmoke=__version__,
        id=run.record.name if run.record else "",
        started_at=run.started,
        engine=run.engine,
        host=run.host,
        working=str(run.working),
        manifest=_format_path(run.manifest),
        binary=run.binary and BinaryRecord(path=str(run.binary[0]), sha256=run.binary[1]),
        command=run.command,
        record=_format_path(run.record),
        rerun_of=run.rerun_of or None,
        daemon=run.daemon,
    )


def record_run(run: RunResult) -> RunRecord:
    """Return the record of a run."""
    scenarios = tuple(map(record_scenario, run.scenarios))
    return RunRecord(**dict(record_header(run)), scenarios=scenarios)


def record_header(run: RunResult) -> Header:
    """Return the properties of a run as a whole."""
    return Header(
        **dict(record_beginning(run)),
        finished=True,
        seconds=round(run.seconds, 3),
        stopped=run.stopped or None,
        notes=(*(f"WARNING: {warning}" for warning in run.warnings), *run.notes),
        warnings=run.warnings,
        interpreters=tuple(map(_record_interpreter, run.interpreters)),
        dirty=run.dirty,
        recording={name: round(seconds, 4) for name, seconds in run.recording.items()},
        counts=run.counts,
    )


def _record_interpreter(interpreter: Interpreter) -> InterpreterRecord:
    return InterpreterRecord(
        image=interpreter.image, path=interpreter.path, sha256=interpreter.sha256 or None
    )


def render(record: RecordModel) -> str:
    """Return a record as JSON text that ends with a line feed."""
    return format_json(record.model_dump(mode="json"))


def record_scenario(result: ScenarioResult) -> ScenarioRecord:
    """Return the record of one scenario."""
    return ScenarioRecord(
        **dict(record_plan(result.scenario)),
        **{**_record_common_fields(result.reported_attempt), "outcome": result.outcome},
        blocks=result.outcome.blocks,
        load_sensitive=result.load_sensitive,
        seconds=round(result.seconds, 3),
        attempts=tuple(map(_record_attempt, result.attempts)),
    )


def record_plan(definition: Scenario) -> Planned:
    """Return the record of a scenario before it runs."""
    return Planned(
        name=definition.name,
        assertion=definition.assertion,
        owners=definition.owners,
        script=str(definition.script_path),
        entry=definition.to_json(),
    )


def record_not_run(plan: Planned, reason: str) -> ScenarioRecord:
    """Return the record of a scenario that did not start."""
    attempt = Attempt(ending=Stopped(reason))
    return ScenarioRecord(
        **dict(plan),
        **_record_common_fields(attempt),
        blocks=attempt.outcome.blocks,
        load_sensitive=False,
        seconds=0.0,
        attempts=(_record_attempt(attempt),),
    )


def _record_attempt(attempt: Attempt) -> AttemptRecord:
    return AttemptRecord(
        **_record_common_fields(attempt),
        begun=round(attempt.begun, 4),
        waited=round(attempt.waited, 4),
        seconds=round(attempt.seconds, 3),
        alone=attempt.alone,
        postponed=attempt.postponed,
        phases={name: round(seconds, 4) for name, seconds in attempt.phases.items()},
        environment=attempt.environment,
        evidence=_record_evidence(attempt.evidence),
        repetition=attempt.repetition,
        load=None if attempt.load is None else LoadRecord(**asdict(attempt.load)),
        doubts=tuple(DoubtRecord(**asdict(doubt)) for doubt in attempt.doubts),
        basis=attempt.basis,
        inputs=attempt.inputs,
        script_sha256=attempt.script_sha256 or None,
    )


def _record_evidence(evidence: Evidence | None) -> EvidenceRecord | None:
    return None if evidence is None else EvidenceRecord(**asdict(evidence))


def _record_common_fields(attempt: Attempt) -> dict[str, Any]:
    ending = attempt.ending
    return {
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "exit_code": ending.code if isinstance(ending, Exited) else None,
        "signal": name_signal(ending.number) if isinstance(ending, Signaled) else None,
        "leaks": tuple(ProcessRecord(**_copy_fields(process)) for process in attempt.leaks),
        "tolerated": tuple(
            ToleratedRecord(**_copy_fields(survivor.process), reason=survivor.reason)
            for survivor in attempt.verdict.tolerated
        ),
        "output": _record_output(attempt.output, attempt.log),
    }


def _copy_fields(process: Process | ProcessRecord) -> dict[str, Any]:
    return {name: getattr(process, name) for name in ProcessRecord.model_fields}


def _record_output(output: CapturedOutput, log: Path | None) -> OutputRecord:
    return OutputRecord(
        size=output.size, log=_format_path(log), last_lines=output.last_lines(_LAST_LINES)
    )


def _format_path(path: Path | None) -> str | None:
    return None if path is None else str(path)
