"""Findings of `check`, `gate`, `done` and `audit`: losses, and notes for a human reviewer."""

from collections.abc import Iterable
from typing import Literal, Self

from isosmoke.errors import ExitCode
from isosmoke.results.records.document_base import RecordModel, Text


class GateFinding(RecordModel):
    """A reason to doubt a gate, found at `place`: a file, a scenario or a task.

    `kind` is a word for programs that stays the same between versions; `message` is for humans.
    """

    kind: str
    place: Text
    message: Text

    commit: Text | None = None
    """The commit that made the change, or the reason why none is named; null if none made it."""

    digest: str | None = None
    """The digest for the trailer `Isosmoke-Reviewed`, which acknowledges it; null if none does."""

    def __str__(self) -> str:
        """Return the finding as one line of text."""
        origin = f" ({self.commit})" if self.commit else ""
        return f"{self.place}: {self.message}{origin}"


class FindingsDocument(RecordModel):
    """All findings of a command: each is either a loss or a note."""

    schema_version: Literal[1] = 1
    losses: tuple[GateFinding, ...] = ()
    notes: tuple[GateFinding, ...] = ()

    @classmethod
    def collect(cls, losses: Iterable[GateFinding], notes: Iterable[GateFinding] = ()) -> Self:
        """Return a document of these findings, each of them once."""
        return cls(losses=tuple(dict.fromkeys(losses)), notes=tuple(dict.fromkeys(notes)))

    def select_exit_code(self, *, strict: bool = False) -> ExitCode:
        """Return the exit code: a loss blocks, and with `strict` a note blocks too."""
        return ExitCode.BLOCKED if self.losses or (strict and self.notes) else ExitCode.OK
