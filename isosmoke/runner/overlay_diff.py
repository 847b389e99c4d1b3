"""What a sandbox changed, read from the folders of the host in which its changes lie.

Nothing in there is trusted: no link is followed, and only plain files are opened. An overlay's
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
"""How deep folders are entered: each level takes two descriptors."""

Complain = Callable[[object, object], object]
"""Told of what could not be looked at, and why."""

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_WHITEOUT = ("trusted.overlay.whiteout", "user.overlay.whiteout")
"""Of an overlay that root mounted, which only root can read, and of one in a user namespace."""

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
    """A mount of a sandbox: its changes, what it showed before, and the mounts that lie in it."""

    target: PurePosixPath
    upper: Path
    lower: Path | None = None
    points: frozenset[PurePosixPath] = frozenset()

    @property
    def ways(self) -> frozenset[str]:
        """The folders that lead to those mounts, and may have been made for them alone."""
        return frozenset(str(parent) for point in self.points for parent in point.parents)


def places(spec: SandboxSpec, folders: Mapping[PurePosixPath, Path]) -> tuple[Place, ...]:
    """The mounts of a sandbox that keep changes in one of these folders."""
    mounts = {mount.target: mount for mount in spec.mounts}
    return tuple(_place(mounts[target], folder, spec) for target, folder in folders.items())


def _place(mount: Mount, upper: Path, spec: SandboxSpec) -> Place:
    lower = mount.source if isinstance(mount, CopyOnWrite) else None
    points = frozenset(one.target for one in spec.mounts if mount.target in one.target.parents)
    return Place(mount.target, upper, lower, points)


def unseen(spec: SandboxSpec, folders: Mapping[PurePosixPath, Path]) -> tuple[PurePosixPath, ...]:
    """The mounts that should keep their changes in a folder, and do not."""
    wanted = (one for one in spec.mounts if isinstance(one, CopyOnWrite | Fresh))
    return tuple(
        one.target
        for one in wanted
        if one.target not in folders and (isinstance(one, CopyOnWrite) or one.on_disk)
    )


@dataclass(frozen=True, slots=True)
class _Folder:
    """An open folder of an upper layer, and the host's that it covers, or hides where opaque."""

    path: str
    depth: int
    upper: int
    lower: int | None
    opaque: bool

    @property
    def is_gits(self) -> bool:
        """Whether it is a repository's own folder, as git knows one (setup.c)."""
        named = self.path.endswith("/.git")
        return named or all(map(self._has, ("HEAD", "objects", "refs")))

    def _has(self, name: str) -> bool:
        return bool(_status(name, self.upper) or self.before(name))

    def before(self, name: str) -> os.stat_result | None:
        """What the sandbox began with under this name."""
        return None if self.lower is None else _status(name, self.lower)

    def vanished(self, names: set[str]) -> Iterator[Change]:
        """Of an opaque folder, what was there before and is not among `names`."""
        if self.opaque and self.lower is not None:
            for one in Path(f"/proc/self/fd/{self.lower}").iterdir():
                before = self.before(one.name)
                if one.name not in names and before is not None:
                    yield _removed(f"{self.path}/{one.name}", before)


class Walk:
    """The changes in one place, each folder before what is in it.

    `tick` is called at every step, and may end the walk by raising.
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
            yield from self._folder(_Folder(str(place.target), 0, upper, lower, opaque=False), None)

    def _folder(self, folder: _Folder, difference: Difference | None) -> Iterator[Change]:
        if folder.is_gits:
            yield from _summary(folder.path, difference, self._entries(folder))
        else:
            yield from self._itself(folder.path, difference)
            yield from self._entries(folder)

    def _itself(self, path: str, difference: Difference | None) -> Iterator[Change]:
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
        path, before = f"{folder.path}/{name}", folder.before(name)
        try:
            now = os.stat(name, dir_fd=folder.upper, follow_symlinks=False)
        except OSError as error:
            self._complain(path, error.strerror)
            return
        if before is not None and _is_whiteout(now, f"/proc/self/fd/{folder.upper}/{name}"):
            yield _removed(path, before)
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
                yield from self._itself(f"{parent.path}/{name}", difference)
            else:
                yield from self._folder(folder, difference)


@contextmanager
def opened(path: str | Path, flags: int, *, within: int | None = None) -> Iterator[int]:
    """A descriptor for the time of the block; `within` is the folder that `path` starts from."""
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
    """One change that stands for all in a folder."""
    sizes = [one.size for one in entries]
    if sizes or difference:
        yield Change(
            path=path,
            change=difference or "changed",
            kind="folder",
            size=sum(sizes),
            within=len(sizes),
        )


def _removed(path: str, before: os.stat_result) -> Change:
    return Change(path=path, change="removed", kind=_kind(before))


def _status(name: str, folder: int) -> os.stat_result | None:
    with suppress(OSError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    return None


def _kind(status: os.stat_result) -> Kind:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "device")


def _difference(now: os.stat_result, before: os.stat_result | None) -> Difference | None:
    """None for what was only opened for writing, or holds what has changed: a copy is the same."""
    if before is None:
        return "added"
    return None if _traits(now) == _traits(before) else "changed"


def _traits(status: os.stat_result) -> tuple[int, ...]:
    if stat.S_ISDIR(status.st_mode):
        return (status.st_mode,)
    return (status.st_mode, status.st_size, status.st_mtime_ns)


def _is_whiteout(status: os.stat_result, path: str) -> bool:
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        return _attribute(path, _WHITEOUT) is not None
    return _is_zero_device(status)


def _is_zero_device(status: os.stat_result) -> bool:
    """An overlay's mark of a removal; nobody else can make one of use."""
    return stat.S_ISCHR(status.st_mode) and not status.st_rdev


def _attribute(path: str, names: tuple[str, str]) -> bytes | None:
    for name in names:
        with suppress(OSError):
            return os.getxattr(path, name, follow_symlinks=False)
    return None
