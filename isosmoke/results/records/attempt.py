"""The record of an attempt: its outcome, its leaks, its output and its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from isosmoke.dataclass import dataclass
from isosmoke.results.evidence import Difference, Kind
from isosmoke.results.machine_load import Basis, DoubtKind
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.record_base import Record
from isosmoke.sandbox.survivors import Process

if TYPE_CHECKING:  # see `isosmoke.results.records.record_base`
    from isosmoke.results.records.document_base import Text


@dataclass(frozen=True, kw_only=True)
class ProcessRecord(Record):
    """A process that outlived a scenario; see `isosmoke.sandbox.survivors.Process`."""

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
        return Process(
            pid=self.pid,
            ppid=self.ppid,
            argv=self.argv,
            cwd=self.cwd,
            exe=self.exe,
            age_seconds=self.age_seconds,
            state=self.state,
            listens=self.listens,
        )


@dataclass(frozen=True, kw_only=True)
class ToleratedRecord(ProcessRecord):
    """A survivor that matches an allowance."""

    reason: Text


@dataclass(frozen=True, kw_only=True)
class OutputRecord(Record):
    """The output of a script: its total size, the path of the log, and the last lines."""

    size: int
    log: Text | None
    last_lines: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True)
class OutcomeRecord(Record):
    """The fields that records of attempts and scenarios have in common."""

    outcome: Outcome
    reason: Text
    exit_code: int | None
    signal: Text | None
    leaks: tuple[ProcessRecord, ...]
    tolerated: tuple[ToleratedRecord, ...]
    output: OutputRecord


@dataclass(frozen=True, kw_only=True)
class ChangeRecord(Record):
    """A path that was added, changed or removed; see `isosmoke.results.evidence.Change`."""

    path: Text
    change: Difference
    kind: Kind
    size: int
    text: Text | None
    before: int
    within: int


@dataclass(frozen=True, kw_only=True)
class PaneRecord(Record):
    """The content of a terminal; see `isosmoke.results.evidence.Pane`."""

    server: Text
    name: Text
    pid: int
    lines: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True)
class UsageRecord(Record):
    """The resource usage of ended processes; see `isosmoke.sandbox.survivors.Usage`."""

    user_seconds: float
    system_seconds: float
    largest: int


@dataclass(frozen=True, kw_only=True)
class EvidenceRecord(Record):
    """The evidence of an attempt; see `isosmoke.results.evidence.Evidence`."""

    changes: tuple[ChangeRecord, ...]
    changes_left_out: int
    panes: tuple[PaneRecord, ...]
    usage: UsageRecord | None
    peaks: Mapping[str, int]
    missing: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True)
class LoadRecord(Record):
    """The load of the machine during an attempt; see `isosmoke.results.machine_load.Load`."""

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


@dataclass(frozen=True, kw_only=True)
class DoubtRecord(Record):
    """A way in which others may have caused a failure; see `machine_load.Doubt`."""

    kind: DoubtKind
    text: Text


@dataclass(frozen=True, kw_only=True)
class WorkerRecord(Record):
    """The worker that made an attempt; see `isosmoke.results.run_results.Worker`."""

    name: Text
    host: Text
    pid: int
    system: Text = ""
    certificate: str = ""


@dataclass(frozen=True, kw_only=True)
class LossRecord(Record):
    """An order whose worker was lost; see `isosmoke.results.run_results.LostOrder`."""

    worker: Text
    reason: Text
    phase: Text


@dataclass(frozen=True, kw_only=True)
class AttemptRecord(OutcomeRecord):
    """One run of a scenario in one sandbox.

    `begun` is relative to the start of the run. `waited` is the delay before that, caused by locks
    or other scenarios. `repetition` counts from 1. `load`, `doubts`, `basis` and `inputs` say why a
    failure was confirmed or not; see `isosmoke.results.run_results.Attempt`. `script_sha256` is
    null for a command, and in records of former versions. `worker` is null for this machine.
    `losses` are the orders for this attempt whose workers were lost before it was made.
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
    worker: WorkerRecord | None = None
    losses: tuple[LossRecord, ...] = ()
