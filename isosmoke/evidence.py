"""Evidence: what an attempt left to look at, as data."""

from dataclasses import dataclass
from typing import Literal

Difference = Literal["added", "changed", "removed"]
Kind = Literal["file", "folder", "link", "socket", "fifo", "device"]

WG_FOLDER = ".wg"
"""The folder in which wg keeps its graph, its service's state and its logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A path that an attempt added, changed or removed, by its name in the sandbox.

    `size` is in bytes. `text` is the end of a file that is text, or where a link points; `before`
    says how many bytes of the file come before it. `within` counts the changes in a folder that
    stands for all of them, as git's own does; its size is theirs.
    """

    path: str
    change: Difference
    kind: Kind
    size: int = 0
    text: str | None = None
    before: int = 0
    within: int = 0

    @property
    def is_of_wg(self) -> bool:
        """Whether it is part of wg's own state."""
        return WG_FOLDER in self.path.split("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one attempt left to look at.

    `changes_left_out` counts those that are not in `changes`; `missing` says, a line each, what
    could not be collected and why.
    """

    changes: tuple[Change, ...] = ()
    changes_left_out: int = 0
    missing: tuple[str, ...] = ()


def text(content: bytes) -> str | None:
    """Bytes of a sandbox as text, from here alone; None where they are no text, as git tells it."""
    return None if b"\0" in content else content.decode(errors="replace")
