"""What is mounted where, from the text of `/proc/self/mountinfo` (pure; proc_pid_mountinfo(5))."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount: where it is, its file system's type, and whether it is read-only by itself.

    Of one that is `deleted` the mount point has been unlinked: no path leads there.
    """

    number: int
    parent: int
    point: Path
    kind: str
    read_only: bool
    deleted: bool


def text() -> str:
    """Return the lines of this process; a name that is no UTF-8 is decoded as a path is."""
    return Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape")


def visible(text: str) -> tuple[Mounted, ...]:
    """The mounts in `text` that can be reached by a path: no other mount lies over them."""
    mounts = [_parsed(line) for line in text.split("\n") if line]
    tree = _Tree(mounts)
    reached = (one for one in mounts if tree.at(one.point) is one)
    return tuple(sorted(reached, key=lambda one: one.point.parts))


def below(folder: Path, mounts: Sequence[Mounted]) -> tuple[Mounted, ...]:
    """The mounts inside `folder`, without one at the folder itself."""
    return tuple(one for one in mounts if folder in one.point.parents)


def _parsed(line: str) -> Mounted:
    fields = line.split(" ")
    separator = fields.index("-", 6)
    return Mounted(
        number=int(fields[0]),
        parent=int(fields[1]),
        point=Path(_unescaped(fields[4])),
        kind=_unescaped(fields[separator + 1]),
        read_only="ro" in fields[5].split(","),
        deleted=fields[4].endswith("//deleted"),
    )


def _unescaped(text: str) -> str:
    """Space, tab, line feed and backslash are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


class _Tree:
    """Follows a path from mount to mount as the kernel does."""

    def __init__(self, mounts: Sequence[Mounted]) -> None:
        numbers = {one.number for one in mounts}
        self._children: Mapping[tuple[int | None, Path], Mounted] = {
            (one.parent if self._is_inner(one, numbers) else None, one.point): one
            for one in mounts
            if not one.deleted
        }

    @staticmethod
    def _is_inner(one: Mounted, numbers: set[int]) -> bool:
        """Whether its parent is listed; the root's is not, and of the first root it is itself."""
        return one.parent in numbers and one.parent != one.number

    def at(self, path: Path) -> Mounted | None:
        """The mount that is met at the end of `path`."""
        here: Mounted | None = None
        for step in (*reversed(path.parents), path):
            while found := self._children.get((here.number if here else None, step)):
                here = found
        return here
