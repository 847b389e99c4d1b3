"""Finds the changes of a sandbox in the directories of the host that hold them.

Their content is not trusted: no link is followed, and only regular files are opened. An overlay's
upper layer is laid out as Documentation/filesystems/overlayfs.rst of the kernel says.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from isosmoke.results.evidence import Change, Difference, Kind
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, Mount, SandboxSpec

DEEPEST = 64
"""The maximum depth of directories: each level takes two descriptors."""

Complain = Callable[[object, object], object]
"""Receives the path of anything that could not be read, and the reason."""

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_WHITEOUT = ("trusted.overlay.whiteout", "user.overlay.whiteout")
"""Attributes of an overlay mounted by root, which only root can read, or in a user namespace."""

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW

_KINDS: Mapping[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "fifo",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A mount of a sandbox: its changes, its original content, and the mount points in it."""

    target: PurePosixPath
    upper: Path
    lower: Path | None = None
    points: frozenset[PurePosixPath] = frozenset()

    @property
    def ways(self) -> frozenset[str]:
        """The parents of those mount points, which may exist only for them."""
        return frozenset(str(parent) for point in self.points for parent in point.parents)


def places(spec: SandboxSpec, folders: Mapping[PurePosixPath, Path]) -> tuple[Place, ...]:
    """Return the mounts of a sandbox that keep changes in one of these directories."""
    mounts = {mount.target: mount for mount in spec.mounts}
    return tuple(_place(mounts[target], folder, spec) for target, folder in folders.items())


def _place(mount: Mount, upper: Path, spec: SandboxSpec) -> Place:
    lower = mount.source if isinstance(mount, CopyOnWrite) else None
    points = frozenset(
        other.target for other in spec.mounts if mount.target in other.target.parents
    )
    return Place(mount.target, upper, lower, points)


def unseen(spec: SandboxSpec, folders: Mapping[PurePosixPath, Path]) -> tuple[PurePosixPath, ...]:
    """Return the mounts that should keep their changes in a directory, and do not."""
    writable = (mount for mount in spec.mounts if isinstance(mount, CopyOnWrite | Fresh))
    return tuple(
        mount.target
        for mount in writable
        if mount.target not in folders and (isinstance(mount, CopyOnWrite) or mount.on_disk)
    )


@dataclass(frozen=True, slots=True)
class _Folder:
    """An open directory of an upper layer, and the one below it, which it hides if opaque."""

    path: str
    depth: int
    upper: int
    lower: int | None
    opaque: bool

    @property
    def is_git_directory(self) -> bool:
        """True for the directory of a repository, by the rule of git (setup.c)."""
        named = self.path.endswith("/.git")
        return named or all(map(self._has, ("HEAD", "objects", "refs")))

    def _has(self, name: str) -> bool:
        return bool(_status(name, self.upper) or self.original(name))

    def original(self, name: str) -> os.stat_result | None:
        """Return the status of an entry at the start of the sandbox; None if there was none."""
        return None if self.lower is None else _status(name, self.lower)

    def vanished(self, names: set[str]) -> Iterator[Change]:
        """Yield the removed entries of an opaque directory: those that are not among `names`."""
        if self.opaque and self.lower is not None:
            for entry in Path(f"/proc/self/fd/{self.lower}").iterdir():
                before = self.original(entry.name)
                if entry.name not in names and before is not None:
                    yield _removal(f"{self.path}/{entry.name}", before)


class Walk:
    """The changes in one mount, each directory before its content.

    `tick` is called at every step, and may end the walk by raising an error.
    """

    def __init__(self, place: Place, *, tick: Callable[[], object], complain: Complain) -> None:
        self._place, self._ways = place, place.ways
        self._points = frozenset(map(str, place.points))
        self._tick, self._complain = tick, complain

    def __iter__(self) -> Iterator[Change]:
        place = self._place
        with ExitStack() as stack:
            upper = stack.enter_context(opened(place.upper, os.O_RDONLY | _FOLDER))
            lower = None
            if place.lower is not None:
                lower = stack.enter_context(opened(place.lower, os.O_PATH | _FOLDER))
            yield from self._walk(_Folder(str(place.target), 0, upper, lower, opaque=False), None)

    def _walk(self, folder: _Folder, difference: Difference | None) -> Iterator[Change]:
        if folder.is_git_directory:
            yield from _summary(folder.path, difference, self._entries(folder))
        else:
            yield from self._change_of_directory(folder.path, difference)
            yield from self._entries(folder)

    def _change_of_directory(self, path: str, difference: Difference | None) -> Iterator[Change]:
        if difference and path not in self._ways:
            yield Change(path=path, change=difference, kind="folder")

    def _entries(self, folder: _Folder) -> Iterator[Change]:
        names = set()
        with os.scandir(folder.upper) as entries:
            for entry in entries:
                self._tick()
                names.add(entry.name)
                if f"{folder.path}/{entry.name}" not in self._points:
                    yield from self._entry(folder, entry.name)
        yield from folder.vanished(names)

    def _entry(self, folder: _Folder, name: str) -> Iterator[Change]:
        path, before = f"{folder.path}/{name}", folder.original(name)
        try:
            now = os.stat(name, dir_fd=folder.upper, follow_symlinks=False)
        except OSError as error:
            self._complain(path, error.strerror)
            return
        if before is not None and _is_whiteout(now, f"/proc/self/fd/{folder.upper}/{name}"):
            yield _removal(path, before)
        elif stat.S_ISDIR(now.st_mode):
            yield from self._inside(folder, name, _difference(now, before))
        elif (difference := _difference(now, before)) and not _is_zero_device(now):
            yield Change(path=path, change=difference, kind=_kind(now), size=now.st_size)

    def _inside(
        self, parent: _Folder, name: str, difference: Difference | None
    ) -> Iterator[Change]:
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(_entered(parent, name))
            except OSError as error:
                self._complain(f"{parent.path}/{name}", error.strerror)
                yield from self._change_of_directory(f"{parent.path}/{name}", difference)
            else:
                yield from self._walk(folder, difference)


@contextmanager
def opened(path: str | Path, flags: int, *, within: int | None = None) -> Iterator[int]:
    """Open a descriptor for the block; `within` is the directory that `path` starts from."""
    descriptor = os.open(path, flags, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _entered(parent: _Folder, name: str) -> Iterator[_Folder]:
    if parent.depth == DEEPEST:
        raise OSError(0, f"it is more than {DEEPEST} folders deep")
    with ExitStack() as stack:
        upper = stack.enter_context(opened(name, os.O_RDONLY | _FOLDER, within=parent.upper))
        lower = None
        if parent.lower is not None:
            with suppress(OSError):
                below = opened(name, os.O_PATH | _FOLDER, within=parent.lower)
                lower = stack.enter_context(below)
        opaque = parent.opaque or _attribute(f"/proc/self/fd/{upper}/.", _OPAQUE) == b"y"
        yield _Folder(f"{parent.path}/{name}", parent.depth + 1, upper, lower, opaque)


def _summary(
    path: str, difference: Difference | None, entries: Iterator[Change]
) -> Iterator[Change]:
    """Yield one change in place of all changes in a directory."""
    sizes = [change.size for change in entries]
    if sizes or difference:
        yield Change(
            path=path,
            change=difference or "changed",
            kind="folder",
            size=sum(sizes),
            within=len(sizes),
        )


def _removal(path: str, before: os.stat_result) -> Change:
    return Change(path=path, change="removed", kind=_kind(before))


def _status(name: str, folder: int) -> os.stat_result | None:
    with suppress(OSError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    return None


def _kind(status: os.stat_result) -> Kind:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "device")


def _difference(now: os.stat_result, before: os.stat_result | None) -> Difference | None:
    """Return None for a file that was only copied up, or a directory whose content changed."""
    if before is None:
        return "added"
    return None if _properties(now) == _properties(before) else "changed"


def _properties(status: os.stat_result) -> tuple[int, ...]:
    if stat.S_ISDIR(status.st_mode):
        return (status.st_mode,)
    return (status.st_mode, status.st_size, status.st_mtime_ns)


def _is_whiteout(status: os.stat_result, path: str) -> bool:
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        return _attribute(path, _WHITEOUT) is not None
    return _is_zero_device(status)


def _is_zero_device(status: os.stat_result) -> bool:
    """Return True for an overlay's mark of a removal; such a device has no other use."""
    return stat.S_ISCHR(status.st_mode) and not status.st_rdev


def _attribute(path: str, names: tuple[str, str]) -> bytes | None:
    for name in names:
        with suppress(OSError):
            return os.getxattr(path, name, follow_symlinks=False)
    return None
