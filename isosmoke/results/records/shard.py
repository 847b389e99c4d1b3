"""Records of shards, the parts of a selection of scenarios that run on several machines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from isosmoke.dataclass import dataclass
from isosmoke.results.records.record_base import Record

if TYPE_CHECKING:  # see `isosmoke.results.records.record_base`
    from isosmoke.results.records.document_base import Text


@dataclass(frozen=True, kw_only=True)
class ShardRecord(Record):
    """The shard that a run was, and hashes of all that the shards of one run have in common.

    `commit` is empty outside of a repository. `manifest` is the hash of the manifest, `selection`
    of the names of all selected scenarios, `partition` of their division into shards, and `inputs`
    of their entries, their scripts and the files that these read. `options` are those that change
    outcomes.
    """

    number: int
    total: int
    commit: str
    manifest: str
    selection: str
    partition: str
    inputs: str
    options: Text


@dataclass(frozen=True, kw_only=True)
class MergedShardRecord(Record):
    """A shard of a merged run; `problem` says why its scenarios did not count, else it is empty.

    `number` is null for a record that is of no shard of the run, and `run` and `host` are empty
    for a shard without a usable record. `envelope` is the signed receipt of the shard, a DSSE
    envelope as JSON text; it is empty if the shard has none, or does not count.
    """

    number: int | None
    run: Text = ""
    host: Text = ""
    problem: Text = ""
    envelope: Text = ""


def digest_names(names: Iterable[str]) -> str:
    """Return a hash of names in any order."""
    return _digest(sorted(names))


def digest_partition(shards: Mapping[str, int]) -> str:
    """Return a hash of the division of names into shards."""
    return _digest(sorted(shards.items()))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()
