"""Records of what was tested: the live binary and the state of a work tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isosmoke.dataclass import dataclass
from isosmoke.results.records.record_base import Record

if TYPE_CHECKING:  # see `isosmoke.results.records.record_base`
    from isosmoke.results.records.document_base import Text


@dataclass(frozen=True, kw_only=True)
class BinaryRecord(Record):
    """The live binary that was tested; `version` is null if it did not say one."""

    path: Text
    sha256: str
    version: Text | None = None


@dataclass(frozen=True, kw_only=True)
class RepositoryRecord(Record):
    """The work tree around the working directory of the caller, when the run started.

    `commit` is empty before the first one, `branch` if a commit is checked out directly. It is
    `dirty` if files may differ from the commit.
    """

    commit: str
    branch: Text
    dirty: bool
