"""The documents of a bisection: its result, and its state on disk, from which it is resumed."""

from typing import Literal

from isosmoke.investigation.bisection.search import Verdict
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.document_base import RecordModel, Text


class TestedCommit(RecordModel):
    """A commit that was tested, or could not be ("skip").

    `reason` says why it failed or was skipped. `binary_sha256` is null if there was no binary, and
    `outcome` if the scenario did not run. `seconds` include the build, and `log` is its output.
    """

    commit: str
    verdict: Verdict
    outcome: Outcome | None = None
    reason: Text = ""
    binary_sha256: str | None = None
    seconds: float = 0.0
    log: Text | None = None


class NamedCommit(RecordModel):
    """A commit with the first line of its message."""

    commit: str
    subject: Text


class BisectionDocument(RecordModel):
    """The output of `isosmoke bisect --json`.

    `first_bad` is null if it is not unique; it is then one of `suspects`, which only skipped
    commits separate. `confirmed` is true if the binary of `first_bad` failed again at the end,
    alone, and those of its parents passed again; it is null if that was not tried. `stopped` is the
    signal that interrupted the search, or null. `notes` are contradictions and failed
    confirmations.
    """

    schema_version: Literal[1] = 1
    name: str
    good: tuple[str, ...]
    bad: str
    first_bad: NamedCommit | None
    suspects: tuple[NamedCommit, ...]
    confirmed: bool | None
    stopped: Text | None
    tested: tuple[TestedCommit, ...]
    notes: tuple[Text, ...]


class BisectionState(RecordModel):
    """The state of an unfinished bisection; `tested` is in the order of the verdicts.

    `worktrees` is the directory of its work trees, empty with ready-made binaries.
    """

    schema_version: Literal[1] = 1
    name: str
    worktrees: Text
    tested: tuple[TestedCommit, ...] = ()
