"""Evidence: what an attempt left to look at, as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

from isosmoke.sandbox.processes import Usage

Difference = Literal["added", "changed", "removed"]
Kind = Literal["file", "folder", "link", "socket", "fifo", "device"]

WG_FOLDER = ".wg"
"""The folder in which wg keeps its graph, its service's state and its logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A path that an attempt added, changed or removed, by its name in the sandbox.

    `size` is in bytes. `text` is the end of a file that is text, in whole lines, or where a link
    points; `before` says how many bytes of the file come before it. `within` counts the changes in
    a folder that stands for all of them, as git's own does; its size is theirs.
    """

    path: str
    change: Difference
    kind: Kind
    size: int = 0
    text: str | None = None
    before: int = 0
    within: int = 0

    def told_by(self, words: Callable[[str], str]) -> "Change":
        """The same change, each of its texts as `words` has it."""
        return replace(
            self, path=words(self.path), text=None if self.text is None else words(self.text)
        )

    @property
    def is_of_wg(self) -> bool:
        """Whether it is part of wg's own state."""
        return WG_FOLDER in self.path.split("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pane:
    """The last lines of a pane of the tmux server that listens on `server` in the sandbox.

    `name` is `session:window.pane`, as tmux takes it; `pid` its first process's.
    """

    server: str
    name: str
    pid: int
    lines: tuple[str, ...]

    def told_by(self, words: Callable[[str], str]) -> "Pane":
        """The same pane, each of its texts as `words` has it."""
        lines = words("\n".join(self.lines)).split("\n")
        return replace(self, server=words(self.server), name=words(self.name), lines=tuple(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one attempt left to look at.

    `changes_left_out` counts those that are not in `changes`. `peaks` is the most that all its
    processes together had of something at a time, where the kernel counted that: bytes of `memory`,
    the page cache included, and `processes`. `missing` says, a line each, what could not be
    collected and why.
    """

    changes: tuple[Change, ...] = ()
    changes_left_out: int = 0
    panes: tuple[Pane, ...] = ()
    usage: Usage | None = None
    peaks: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def told_by(self, words: Callable[[str], str]) -> "Evidence":
        """The same evidence, each of its texts as `words` has it."""
        return replace(
            self,
            changes=tuple(one.told_by(words) for one in self.changes),
            panes=tuple(one.told_by(words) for one in self.panes),
            missing=tuple(map(words, self.missing)),
        )


def joined(*parts: Evidence) -> Evidence:
    """All that was collected in several steps."""
    return Evidence(
        changes=tuple(chain.from_iterable(one.changes for one in parts)),
        changes_left_out=sum(one.changes_left_out for one in parts),
        panes=tuple(chain.from_iterable(one.panes for one in parts)),
        usage=next((one.usage for one in parts if one.usage), None),
        peaks={name: most for one in parts for name, most in one.peaks.items()},
        missing=tuple(chain.from_iterable(one.missing for one in parts)),
    )


def text(content: bytes) -> str | None:
    """Bytes of a sandbox as text, from here alone; None where they are no text, as git tells it.

    What is no UTF-8 comes as `os.fsdecode` gives it, so that a secret in it is still found.
    """
    return None if b"\0" in content else content.decode(errors="surrogateescape")
