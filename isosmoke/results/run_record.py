"""The record of a run: what every report, gate and later question is made from.

Plain, versioned data: `schema_version` is raised when a field changes its meaning, never when one
is added. Durations are in seconds, sizes in bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from isosmoke import __version__
from isosmoke.manifest.models import Scenario
from isosmoke.results.evidence import Difference, Evidence, Kind
from isosmoke.results.outcome import Exited, Outcome, Signaled, Stopped, signal_name
from isosmoke.results.run_results import Attempt, Captured, RunResult, ScenarioResult
from isosmoke.sandbox.interpreter_data import Interpreter
from isosmoke.sandbox.processes import Process

_LAST_LINES = 20


def _text(value: object) -> object:
    """A path or an argument may be of bytes that are no text: Python's escape of those shows."""
    if isinstance(value, str | Path):
        return str(value).encode(errors="backslashreplace").decode()
    return value


Text = Annotated[str, BeforeValidator(_text)]


class RecordModel(BaseModel):
    """One kind of thing in a record; what a later version added is left unread."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ProcessRecord(RecordModel):
    """A process that was left; see `isosmoke.sandbox.processes.Process`."""

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
        """The process that this tells of."""
        return Process(**_process(self))


class ToleratedRecord(ProcessRecord):
    """A process that was left and may be."""

    reason: Text


class OutputRecord(RecordModel):
    """What a script printed: its whole size, where the log is, and the end of it."""

    size: int
    log: Text | None
    last_lines: tuple[Text, ...]


class Told(RecordModel):
    """What an attempt and a scenario both say of themselves."""

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
    """What a terminal showed; see `isosmoke.results.evidence.Pane`."""

    server: Text
    name: Text
    pid: int
    lines: tuple[Text, ...]


class UsageRecord(RecordModel):
    """What was used by all that is over; see `isosmoke.sandbox.processes.Usage`."""

    user_seconds: float
    system_seconds: float
    largest: int


class EvidenceRecord(RecordModel):
    """What an attempt left to look at, and what is missing; see `isosmoke.results.evidence`."""

    changes: tuple[ChangeRecord, ...]
    changes_left_out: int
    panes: tuple[PaneRecord, ...]
    usage: UsageRecord | None
    peaks: Mapping[str, int]
    missing: tuple[Text, ...]


class AttemptRecord(Told):
    """One run of a scenario in one sandbox; `begun` counts from the start of the run.

    `waited` is how long it could have begun before that.
    """

    begun: float
    waited: float = 0.0
    seconds: float
    alone: bool
    postponed: bool = False
    phases: Mapping[str, float]
    environment: Mapping[Text, Text]
    evidence: EvidenceRecord | None = None


class Planned(RecordModel):
    """What is known of a scenario before it runs.

    `entry` is the manifest's entry with its defaults, `script` the script's own path.
    """

    name: str
    assertion: str
    owners: tuple[str, ...]
    script: Text
    entry: Mapping[str, Any]


class ScenarioRecord(Planned, Told):
    """One scenario: what its telling attempt says, then all of its attempts."""

    blocks: bool
    load_sensitive: bool
    seconds: float
    attempts: tuple[AttemptRecord, ...]


class BinaryRecord(RecordModel):
    """The live binary that was tested."""

    path: Text
    sha256: str


class Beginning(RecordModel):
    """What a run says of itself when it begins.

    `command` is what ran in place of scripts, `record` the folder that it is kept in, `working`
    where the caller stood, `host` the machine, `rerun_of` the id of the run that it does again,
    `daemon` the options that named the one to talk to.
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


class InterpreterRecord(RecordModel):
    """What ran the scripts of an image.

    `sha256` is null where only an engine has the image: the image's own digest binds it there.
    """

    image: Text
    path: Text
    sha256: Text | None


class Header(Beginning):
    """What a run says of itself as a whole: `finished` is false while it goes on.

    `warnings` name what outside the scenarios may have changed an outcome; `notes` have them too.
    `dirty` is what it could not prove to have removed, each with the command that does.
    """

    finished: bool
    seconds: float
    stopped: Text | None
    notes: tuple[Text, ...] = ()
    warnings: tuple[Text, ...] = ()
    interpreters: tuple[InterpreterRecord, ...] = ()
    dirty: tuple[Text, ...] = ()
    counts: Mapping[str, int]


class RunRecord(Header):
    """A whole run, its scenarios in manifest order."""

    scenarios: tuple[ScenarioRecord, ...]


def beginning(run: RunResult) -> Beginning:
    """What is known of a run before its first scenario."""
    return Beginning(
        isosmoke=__version__,
        id=run.record.name if run.record else "",
        started_at=run.started,
        engine=run.engine,
        host=run.host,
        working=str(run.working),
        manifest=_path(run.manifest),
        binary=run.binary and BinaryRecord(path=str(run.binary[0]), sha256=run.binary[1]),
        command=run.command,
        record=_path(run.record),
        rerun_of=run.rerun_of or None,
        daemon=run.daemon,
    )


def of(run: RunResult) -> RunRecord:
    """The record of a run."""
    return RunRecord(
        **dict(beginning(run)),
        finished=True,
        seconds=round(run.seconds, 3),
        stopped=run.stopped or None,
        notes=(*(f"WARNING: {one}" for one in run.warnings), *run.notes),
        warnings=run.warnings,
        interpreters=tuple(map(_interpreter, run.interpreters)),
        dirty=run.dirty,
        counts=run.counts,
        scenarios=tuple(map(scenario, run.scenarios)),
    )


def _interpreter(found: Interpreter) -> InterpreterRecord:
    return InterpreterRecord(image=found.image, path=found.path, sha256=found.sha256 or None)


def render(record: RecordModel) -> str:
    """A record as JSON text, one line feed at its end."""
    return json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def scenario(result: ScenarioResult) -> ScenarioRecord:
    """The record of one scenario."""
    return ScenarioRecord(
        **dict(planned(result.scenario)),
        **{**_told(result.telling), "outcome": result.outcome},
        blocks=result.outcome.blocks,
        load_sensitive=result.load_sensitive,
        seconds=round(result.seconds, 3),
        attempts=tuple(map(_attempt, result.attempts)),
    )


def planned(scenario: Scenario) -> Planned:
    """What a record says of a scenario before it runs."""
    return Planned(
        name=scenario.name,
        assertion=scenario.assertion,
        owners=scenario.owners,
        script=str(scenario.script_path),
        entry=scenario.model_dump(mode="json"),
    )


def not_run(plan: Planned, reason: str) -> ScenarioRecord:
    """The record of a scenario whose turn never came."""
    attempt = Attempt(ending=Stopped(reason))
    return ScenarioRecord(
        **dict(plan),
        **_told(attempt),
        blocks=attempt.outcome.blocks,
        load_sensitive=False,
        seconds=0.0,
        attempts=(_attempt(attempt),),
    )


def _attempt(attempt: Attempt) -> AttemptRecord:
    return AttemptRecord(
        **_told(attempt),
        begun=round(attempt.begun, 4),
        waited=round(attempt.waited, 4),
        seconds=round(attempt.seconds, 3),
        alone=attempt.alone,
        postponed=attempt.postponed,
        phases={name: round(seconds, 4) for name, seconds in attempt.phases.items()},
        environment=attempt.environment,
        evidence=_evidence(attempt.evidence),
    )


def _evidence(evidence: Evidence | None) -> EvidenceRecord | None:
    return None if evidence is None else EvidenceRecord(**asdict(evidence))


def _told(attempt: Attempt) -> dict[str, Any]:
    ending = attempt.ending
    return {
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "exit_code": ending.code if isinstance(ending, Exited) else None,
        "signal": signal_name(ending.number) if isinstance(ending, Signaled) else None,
        "leaks": tuple(ProcessRecord(**_process(one)) for one in attempt.leaks),
        "tolerated": tuple(
            ToleratedRecord(**_process(one.process), reason=one.reason)
            for one in attempt.verdict.tolerated
        ),
        "output": _output(attempt.output, attempt.log),
    }


def _process(one: Process | ProcessRecord) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ProcessRecord.model_fields}


def _output(output: Captured, log: Path | None) -> OutputRecord:
    return OutputRecord(size=output.size, log=_path(log), last_lines=output.last_lines(_LAST_LINES))


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)
