"""The changes of a sandbox, read from the directories of the host that hold them.

Their content is not trusted: no link is followed, and only regular files are opened. The layout of
an overlay's upper layer is documented in the kernel's Documentation/filesystems/overlayfs.rst.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath

from isosmoke.dataclass import dataclass
from isosmoke.results.evidence import Change, Difference, Kind
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, Mount, SandboxSpec

MAX_DEPTH = 64
"""The maximum depth of directories; each level takes two descriptors."""

Complain = Callable[[object, object], object]
"""A callback for a path that could not be read, and the reason."""

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_WHITEOUT = ("trusted.overlay.whiteout", "user.overlay.whiteout")
"""Attributes of an overlay mounted by root, which only root can read, or in a user namespace."""

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW

_KINDS: Mapping[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "fifo",
}


@dataclass(frozen=True, slots=True)
class ChangedMount:
    """A mount of a sandbox: its changes, its original content, and the mount points in it."""

    target: PurePosixPath
    upper: Path
    lower: Path | None = None
    points: frozenset[PurePosixPath] = frozenset()

    @property
    def point_parents(self) -> frozenset[str]:
        """The parents of those mount points, which may exist only for them."""
        return frozenset(str(parent) for point in self.points for parent in point.parents)


def list_changed_mounts(
    spec: SandboxSpec, directories: Mapping[PurePosixPath, Path]
) -> tuple[ChangedMount, ...]:
    """Return the mounts whose changes are in one of these directories, without caches."""
    mounts = {mount.target: mount for mount in spec.mounts if not _is_cache(mount)}
    return tuple(
        _describe_mount(mounts[target], directory, spec)
        for target, directory in directories.items()
        if target in mounts
    )


def _is_cache(mount: Mount) -> bool:
    return isinstance(mount, CopyOnWrite) and mount.is_cache


def _describe_mount(mount: Mount, upper: Path, spec: SandboxSpec) -> ChangedMount:
    lower = mount.source if isinstance(mount, CopyOnWrite) else None
    points = frozenset(
        other.target for other in spec.mounts if mount.target in other.target.parents
    )
    return ChangedMount(mount.target, upper, lower, points)


def find_unstored(
    spec: SandboxSpec, directories: Mapping[PurePosixPath, Path]
) -> tuple[PurePosixPath, ...]:
    """Return the mounts whose changes should be stored in a directory, but are not."""
    writable = (mount for mount in spec.mounts if isinstance(mount, CopyOnWrite | Fresh))
    return tuple(
        mount.target
        for mount in writable
        if not _is_cache(mount)
        and mount.target not in directories
        and (isinstance(mount, CopyOnWrite) or mount.on_disk)
    )


@dataclass(frozen=True, slots=True)
class _Directory:
    """An open directory of an upper layer, and the one below it, which it hides if opaque."""

    path: str
    depth: int
    upper: int
    lower: int | None
    opaque: bool

    @property
    def is_git_directory(self) -> bool:
        """True if it is the directory of a repository, by the rule of git (setup.c)."""
        has_git_name = self.path.endswith("/.git")
        return has_git_name or all(map(self._has, ("HEAD", "objects", "refs")))

    def _has(self, name: str) -> bool:
        return bool(_read_status(name, self.upper) or self.get_original(name))

    def get_original(self, name: str) -> os.stat_result | None:
        """Return the status of an entry at the start of the sandbox; None if there was none."""
        return None if self.lower is None else _read_status(name, self.lower)

    def find_removed(self, names: set[str]) -> Iterator[Change]:
        """Yield the removed entries of an opaque directory: those that are not in `names`."""
        if self.opaque and self.lower is not None:
            for entry in Path(f"/proc/self/fd/{self.lower}").iterdir():
                before = self.get_original(entry.name)
                if entry.name not in names and before is not None:
                    yield _create_removal(f"{self.path}/{entry.name}", before)


class Walk:
    """The changes in a mount, each directory before its content.

    `tick` is called at every step, and may end the walk by raising an error.
    """

    def __init__(
        self, mount: ChangedMount, *, tick: Callable[[], object], complain: Complain
    ) -> None:
        self._mount, self._point_parents = mount, mount.point_parents
        self._points = frozenset(map(str, mount.points))
        self._tick, self._complain = tick, complain

    def __iter__(self) -> Iterator[Change]:
        mount = self._mount
        with ExitStack() as stack:
            upper = stack.enter_context(opened(mount.upper, os.O_RDONLY | _DIRECTORY))
            lower = None
            if mount.lower is not None:
                lower = stack.enter_context(opened(mount.lower, os.O_PATH | _DIRECTORY))
            yield from self._walk(
                _Directory(str(mount.target), 0, upper, lower, opaque=False), None
            )

    def _walk(self, directory: _Directory, difference: Difference | None) -> Iterator[Change]:
        if directory.is_git_directory:
            yield from _summarize(directory.path, difference, self._walk_entries(directory))
        else:
            yield from self._report_directory(directory.path, difference)
            yield from self._walk_entries(directory)

    def _report_directory(self, path: str, difference: Difference | None) -> Iterator[Change]:
        if difference and path not in self._point_parents:
            yield Change(path=path, change=difference, kind="folder")

    def _walk_entries(self, directory: _Directory) -> Iterator[Change]:
        names = set()
        with os.scandir(directory.upper) as entries:
            for entry in entries:
                self._tick()
                names.add(entry.name)
                if f"{directory.path}/{entry.name}" not in self._points:
                    yield from self._walk_entry(directory, entry.name)
        yield from directory.find_removed(names)

    def _walk_entry(self, directory: _Directory, name: str) -> Iterator[Change]:
        path, before = f"{directory.path}/{name}", directory.get_original(name)
        try:
            now = os.stat(name, dir_fd=directory.upper, follow_symlinks=False)
        except OSError as error:
            self._complain(path, error.strerror)
            return
        if before is not None and _is_whiteout(now, f"/proc/self/fd/{directory.upper}/{name}"):
            yield _create_removal(path, before)
        elif stat.S_ISDIR(now.st_mode):
            yield from self._walk_child(directory, name, _compare(now, before))
        elif (difference := _compare(now, before)) and not _is_zero_device(now):
            yield Change(path=path, change=difference, kind=_classify(now), size=now.st_size)

    def _walk_child(
        self, parent: _Directory, name: str, difference: Difference | None
    ) -> Iterator[Change]:
        with ExitStack() as stack:
            try:
                directory = stack.enter_context(_opened_child(parent, name))
            except OSError as error:
                self._complain(f"{parent.path}/{name}", error.strerror)
                yield from self._report_directory(f"{parent.path}/{name}", difference)
            else:
                yield from self._walk(directory, difference)


@contextmanager
def opened(path: str | Path, flags: int, *, within: int | None = None) -> Iterator[int]:
    """Open a descriptor for the block; `within` is the directory that `path` starts from."""
    descriptor = os.open(path, flags, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _opened_child(parent: _Directory, name: str) -> Iterator[_Directory]:
    if parent.depth == MAX_DEPTH:
        raise OSError(0, f"it is more than {MAX_DEPTH} directories deep")
    with ExitStack() as stack:
        upper = stack.enter_context(opened(name, os.O_RDONLY | _DIRECTORY, within=parent.upper))
        lower = None
        if parent.lower is not None:
            with suppress(OSError):
                below = opened(name, os.O_PATH | _DIRECTORY, within=parent.lower)
                lower = stack.enter_context(below)
        opaque = parent.opaque or _read_attribute(f"/proc/self/fd/{upper}/.", _OPAQUE) == b"y"
        yield _Directory(f"{parent.path}/{name}", parent.depth + 1, upper, lower, opaque)


def _summarize(
    path: str, difference: Difference | None, entries: Iterator[Change]
) -> Iterator[Change]:
    """Yield a single change instead of all changes in a directory."""
    sizes = [change.size for change in entries]
    if sizes or difference:
        yield Change(
            path=path,
            change=difference or "changed",
            kind="folder",
            size=sum(sizes),
            within=len(sizes),
        )


def _create_removal(path: str, before: os.stat_result) -> Change:
    return Change(path=path, change="removed", kind=_classify(before))


def _read_status(name: str, directory: int) -> os.stat_result | None:
    with suppress(OSError):
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    return None


def _classify(status: os.stat_result) -> Kind:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "device")


def _compare(now: os.stat_result, before: os.stat_result | None) -> Difference | None:
    """Return the difference; None if only a copy-up or a directory's content made one."""
    if before is None:
        return "added"
    return None if _select_properties(now) == _select_properties(before) else "changed"


def _select_properties(status: os.stat_result) -> tuple[int, ...]:
    if stat.S_ISDIR(status.st_mode):
        return (status.st_mode,)
    return (status.st_mode, status.st_size, status.st_mtime_ns)


def _is_whiteout(status: os.stat_result, path: str) -> bool:
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        return _read_attribute(path, _WHITEOUT) is not None
    return _is_zero_device(status)


def _is_zero_device(status: os.stat_result) -> bool:
    """Return True for an overlay's whiteout device; such a device has no other use."""
    return stat.S_ISCHR(status.st_mode) and not status.st_rdev


def _read_attribute(path: str, names: tuple[str, str]) -> bytes | None:
    for name in names:
        with suppress(OSError):
            return os.getxattr(path, name, follow_symlinks=False)
    return None
