"""The mounts of this process, parsed from `/proc/self/mountinfo` (proc_pid_mountinfo(5))."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from isosmoke.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A mount with the type of its file system; `read_only` is the mount's own option.

    The mount point of a `deleted` mount has been unlinked, so no path leads to it.
    """

    number: int
    parent: int
    point: Path
    kind: str
    read_only: bool
    deleted: bool


def read_table() -> str:
    """Return the table of this process; a name that is not UTF-8 is decoded like a path."""
    return Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape")


@lru_cache(maxsize=4)
def find_visible(table: str) -> tuple[MountPoint, ...]:
    """Return the mounts in `table` that a path leads to, because no other mount covers them.

    Every sandbox reads the table, which rarely changes, so the last results are kept.
    """
    mounts = [_parse(line) for line in table.split("\n") if line]
    tree = _Tree(mounts)
    reachable = (mount for mount in mounts if tree.find(mount.point) is mount)
    return tuple(sorted(reachable, key=lambda mount: mount.point.parts))


def find_below(directory: Path, mounts: Sequence[MountPoint]) -> tuple[MountPoint, ...]:
    """Return the mounts inside `directory`, without one at the directory itself."""
    return tuple(mount for mount in mounts if directory in mount.point.parents)


def _parse(line: str) -> MountPoint:
    fields = line.split(" ")
    separator = fields.index("-", 6)
    return MountPoint(
        number=int(fields[0]),
        parent=int(fields[1]),
        point=Path(_unescape(fields[4])),
        kind=_unescape(fields[separator + 1]),
        read_only="ro" in fields[5].split(","),
        deleted=fields[4].endswith("//deleted"),
    )


def _unescape(field: str) -> str:
    """Decode space, tab, line feed and backslash, which are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


class _Tree:
    """The tree of mounts, for following a path from mount to mount as the kernel does."""

    def __init__(self, mounts: Sequence[MountPoint]) -> None:
        numbers = {mount.number for mount in mounts}
        self._children: Mapping[tuple[int | None, Path], MountPoint] = {
            (mount.parent if self._is_inner(mount, numbers) else None, mount.point): mount
            for mount in mounts
            if not mount.deleted
        }

    @staticmethod
    def _is_inner(mount: MountPoint, numbers: set[int]) -> bool:
        """Return whether the mount has a listed parent.

        The parent of the root is not listed, and the first root is its own parent.
        """
        return mount.parent in numbers and mount.parent != mount.number

    def find(self, path: Path) -> MountPoint | None:
        """Return the mount that `path` leads to; None if there is none."""
        current: MountPoint | None = None
        for step in (*reversed(path.parents), path):
            while child := self._children.get((current.number if current else None, step)):
                current = child
        return current
