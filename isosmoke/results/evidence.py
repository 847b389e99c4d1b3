"""Evidence of an attempt: changed files, terminal contents and resource usage."""

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from itertools import chain
from typing import Literal

from isosmoke.dataclass import dataclass
from isosmoke.sandbox.survivors import Usage

Difference = Literal["added", "changed", "removed"]
Kind = Literal["file", "folder", "link", "socket", "fifo", "device"]

WG_DIRECTORY = ".wg"
"""The directory in which wg keeps its graph, its service's state and its logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A path in the sandbox that an attempt added, changed or removed.

    `size` is in bytes. `text` is the target of a link or the last lines of a text file; `before` is
    the number of bytes of the file before them. If a directory represents all changes below it, as
    git's own does, `within` is their number and `size` their total size.
    """

    path: str
    change: Difference
    kind: Kind
    size: int = 0
    text: str | None = None
    before: int = 0
    within: int = 0

    def transform_texts(self, transform: Callable[[str], str]) -> "Change":
        """Return a copy with `transform` applied to each text."""
        return replace(
            self,
            path=transform(self.path),
            text=None if self.text is None else transform(self.text),
        )

    @property
    def is_of_wg(self) -> bool:
        """True if the path belongs to wg's own state."""
        return WG_DIRECTORY in self.path.split("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pane:
    """The last lines of a pane of a tmux server.

    `server` is the server's socket in the sandbox. `name` is `session:window.pane`, as tmux accepts
    it. `pid` is the pane's first process.
    """

    server: str
    name: str
    pid: int
    lines: tuple[str, ...]

    def transform_texts(self, transform: Callable[[str], str]) -> "Pane":
        """Return a copy with `transform` applied to each text."""
        lines = transform("\n".join(self.lines)).split("\n")
        return replace(
            self,
            server=transform(self.server),
            name=transform(self.name),
            lines=tuple(lines),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence of one attempt.

    `changes_left_out` is the number of changes that are not in `changes`. `peaks` has the maximum
    that all processes used together, as far as the kernel counted it: bytes of `memory`, including
    the page cache, and `processes`; and, in microseconds, their `cpu` time and the time for which
    some of them waited (`cpu_pressure`, `memory_pressure`, `io_pressure`). `missing` has one line
    for each part that could not be collected, with the reason.
    """

    changes: tuple[Change, ...] = ()
    changes_left_out: int = 0
    panes: tuple[Pane, ...] = ()
    usage: Usage | None = None
    peaks: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def transform_texts(self, transform: Callable[[str], str]) -> "Evidence":
        """Return a copy with `transform` applied to each text."""
        return replace(
            self,
            changes=tuple(change.transform_texts(transform) for change in self.changes),
            panes=tuple(pane.transform_texts(transform) for pane in self.panes),
            missing=tuple(map(transform, self.missing)),
        )


def join_evidence(*parts: Evidence) -> Evidence:
    """Combine evidence that was collected in several steps."""
    return Evidence(
        changes=tuple(chain.from_iterable(part.changes for part in parts)),
        changes_left_out=sum(part.changes_left_out for part in parts),
        panes=tuple(chain.from_iterable(part.panes for part in parts)),
        usage=next((part.usage for part in parts if part.usage), None),
        peaks={name: peak for part in parts for name, peak in part.peaks.items()},
        missing=tuple(chain.from_iterable(part.missing for part in parts)),
    )


def decode_text(content: bytes) -> str | None:
    """Decode bytes of a sandbox; return None if they contain a zero byte, as git detects binaries.

    Invalid UTF-8 is decoded as by `os.fsdecode`, so that secrets in it are still found.
    """
    return None if b"\0" in content else content.decode(errors="surrogateescape")
