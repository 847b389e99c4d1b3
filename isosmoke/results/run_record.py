"""The record of a run, the basis of reports, gates and later queries.

Records are plain, versioned data. `schema_version` increases if the meaning of a field changes, not
if a field is added. Durations are in seconds, sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from isosmoke.dataclass import dataclass
from isosmoke.errors import ExitCode
from isosmoke.results.exit_code import select_exit_code
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.attempt import AttemptRecord, OutcomeRecord
from isosmoke.results.records.origin import BinaryRecord, RepositoryRecord
from isosmoke.results.records.record_base import Record
from isosmoke.results.records.shard import MergedShardRecord, ShardRecord
from isosmoke.text import restore_bytes

if TYPE_CHECKING:  # see `isosmoke.results.records.record_base`
    from pydantic import Field

    from isosmoke.manifest.validation.value_types import Name
    from isosmoke.results.records.document_base import Text


@dataclass(frozen=True, kw_only=True)
class Planned(Record):
    """The properties of a scenario that are known before it runs.

    `entry` is the manifest entry with defaults applied, `script` the path of the script.
    """

    name: Name
    assertion: str
    owners: tuple[str, ...]
    script: Text
    entry: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ScenarioRecord(Planned, OutcomeRecord):
    """One scenario: the fields of its reported attempt, then all of its attempts."""

    blocks: bool
    load_sensitive: bool
    seconds: float
    attempts: Annotated[tuple[AttemptRecord, ...], Field(min_length=1)]

    @property
    def is_infrastructure(self) -> bool:
        """True if the engine failed in every attempt, so that the scenario was not tested."""
        return all(
            attempt.outcome is Outcome.ERROR and attempt.exit_code is None
            for attempt in self.attempts
        )


@dataclass(frozen=True, kw_only=True)
class Beginning(Record):
    """The properties of a run that are known when it starts.

    `command` ran instead of the scripts, `record` is the directory of the record, `working` the
    working directory of the caller, and `host` the machine. `rerun_of` is the id of the repeated
    run, and `daemon` has the options that select a container daemon. `shard` is null unless the run
    was one of several shards.
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
    shard: ShardRecord | None = None

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


@dataclass(frozen=True, kw_only=True)
class InterpreterRecord(Record):
    """The interpreter that ran the scripts in an image.

    `sha256` is null if only an engine has the image, whose own digest identifies it then.
    """

    image: Text
    path: Text
    sha256: Text | None


@dataclass(frozen=True, kw_only=True)
class Header(Beginning):
    """The properties of a whole run; `finished` is false while it is in progress.

    `warnings` describe external influences on outcomes; they are included in `notes`. `dirty` lists
    items whose removal could not be confirmed, each with the command that removes it. `recording`
    is the time that it took to write the result of each scenario. `shards` are those that the run
    was merged from, if it was. `repository` is null outside of a work tree, if git cannot read it,
    and in records of former versions.
    """

    finished: bool
    seconds: float
    stopped: Text | None
    notes: tuple[Text, ...] = ()
    warnings: tuple[Text, ...] = ()
    interpreters: tuple[InterpreterRecord, ...] = ()
    dirty: tuple[Text, ...] = ()
    recording: Mapping[str, float] = field(default_factory=dict)
    shards: tuple[MergedShardRecord, ...] = ()
    repository: RepositoryRecord | None = None
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class RunRecord(Header):
    """A whole run, its scenarios in manifest order."""

    scenarios: tuple[ScenarioRecord, ...]

    @property
    def passed(self) -> bool:
        """True if `isosmoke run` exits with 0: none blocks, and any ran. A shard may be empty."""
        return self.is_whole and select_exit_code(self) is ExitCode.OK

    @property
    def is_whole(self) -> bool:
        """True if the run came to its end, left nothing behind, and every shard counts."""
        return self.finished and not (self.stopped or self.dirty or self.is_incomplete)

    @property
    def is_incomplete(self) -> bool:
        """True if the run was merged, and the record of a shard is missing or does not count."""
        return any(shard.problem for shard in self.shards)


@dataclass(frozen=True, kw_only=True)
class SelectedRecord(Planned):
    """A selected scenario, and the number of the shard that runs it."""

    shard: int


@dataclass(frozen=True, kw_only=True)
class StoredHeader(Header):
    """The stored header of a run, with the planned scenarios.

    The header of a shard has the `selection` of all shards, in manifest order.
    """

    selection: tuple[SelectedRecord, ...] = ()
    planned: tuple[Planned, ...]
