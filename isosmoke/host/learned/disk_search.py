"""Results of searches of the disk that are kept with the state of every path that was looked at.

A search looks at the disk only through a `Disk`, which notes each path before it is read. A kept
result is used again if all of them have the identity that they had: a directory whose entries
change, a file that is written or replaced, and a path that appears or vanishes have another one.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from isosmoke.host.learned import identities, store

_State = tuple[int, int, int, int] | None
_MODE, _CHANGED = 0, 1


class Disk:
    """The file system, as a search sees it; an error is the same as a missing path."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        self._targets: dict[str, str] = {}
        self._is_settled = True

    def exists(self, path: Path) -> bool:
        """Return whether there is a path, with links followed."""
        return self._inspect(str(path)) is not None

    def is_directory(self, path: Path) -> bool:
        """Return whether a path is a directory, or leads to one."""
        return (state := self._inspect(str(path))) is not None and stat.S_ISDIR(state[_MODE])

    def is_file(self, path: Path) -> bool:
        """Return whether a path is a regular file, or leads to one."""
        return (state := self._inspect(str(path))) is not None and stat.S_ISREG(state[_MODE])

    def is_open(self, path: Path) -> bool:
        """Return whether a path is a directory that the caller may search."""
        return self.is_directory(path) and os.access(path, os.X_OK)

    def resolve(self, path: Path) -> Path:
        """Return a path with all links followed."""
        return Path(self.resolve_text(str(path)))

    def resolve_text(self, path: str) -> str:
        """Return a path with all links followed."""
        if path not in self._targets:
            self._targets[path] = os.path.realpath(path)
        return self._targets[path]

    def resolve_entry(self, entry: "os.DirEntry[str]") -> str:
        """Return the path of an entry with all links followed.

        An entry that is no link is where its directory is, however many entries that has.
        """
        if entry.is_symlink():
            return self.resolve_text(entry.path)
        return f"{self.resolve_text(os.path.dirname(entry.path))}/{entry.name}"  # noqa: PTH120

    def read_link(self, path: Path) -> Path | None:
        """Return what a link contains; None if the path is no link.

        A link cannot change, only be replaced in its directory.
        """
        self._inspect(os.path.dirname(path))  # noqa: PTH120 - as text
        with suppress(OSError):
            return path.readlink()
        return None

    def scan(self, directory: str) -> list["os.DirEntry[str]"]:
        """Return the entries of a directory; none if it cannot be listed."""
        self._inspect(directory)
        with suppress(OSError), os.scandir(directory) as entries:
            return list(entries)
        return []

    def list_names(self, directory: str) -> list[str]:
        """Return the names in a directory; none if it cannot be listed."""
        if self._inspect(directory) is not None:
            with suppress(OSError):
                return os.listdir(directory)  # noqa: PTH208 - thousands are listed
        return []

    def read(self, file: str, size: int = -1) -> bytes:
        """Return the content of a file, or its first bytes; empty if it cannot be read."""
        if self._inspect(file) is not None:
            with suppress(OSError), open(file, "rb") as opened:  # noqa: PTH123 - hundreds are read
                return opened.read(size)
        return b""

    def _inspect(self, path: str) -> _State:
        """Return the identity that a path had when the search looked at it first."""
        if path not in self._states:
            self._states[path] = state = _identify(path)
            self._is_settled &= state is None or identities.is_settled_at(state[_CHANGED])
        return self._states[path]

    def describe(self) -> Mapping[str, Any] | None:
        """Return all that was seen; None if a path has just changed, and may change unnoticed."""
        if not self._is_settled:
            return None
        paths, links = list(self._states), list(self._targets)
        digest = _digest(list(self._states.values()), list(self._targets.values()))
        return {"paths": paths, "links": links, "digest": digest}


def find(kind: str, subject: str, basis: Mapping[str, Any], search: Callable[[Disk], Any]) -> Any:
    """Return the result of a search: the kept one, or that of searching now, which is then kept.

    It is data that JSON can represent. `basis` has what it depends on besides the disk.
    """
    known = store.load(kind, subject, basis)
    if isinstance(known, dict) and _is_unchanged(**known["seen"]):
        return known["found"]
    disk = Disk()
    found = search(disk)
    if (seen := disk.describe()) is not None:
        store.save(kind, subject, basis, {"seen": seen, "found": found})
    return found


def _is_unchanged(paths: Sequence[str], links: Sequence[str], digest: str) -> bool:
    return _digest([*map(_identify, paths)], [*map(os.path.realpath, links)]) == digest


def _identify(path: str) -> _State:
    """Return what changes if a path is changed or replaced; None if it is missing.

    The time of the last change covers content, size, mode and owner, and cannot be set back.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - thousands are inspected
    except (OSError, ValueError):
        return None
    return status.st_mode, status.st_ctime_ns, status.st_dev, status.st_ino


def _digest(states: list[_State], targets: list[str]) -> str:
    seen = repr((states, targets)).encode(errors="surrogateescape")
    return hashlib.sha256(seen).hexdigest()
