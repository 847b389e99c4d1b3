"""Limits by control group, of version 2 or 1, where this process may make one.

An ordinary user without a delegated group has none; there the keeper's RLIMIT_NPROC, which counts
inside the sandbox's own user namespace, limits the processes.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath
from secrets import token_hex
from time import monotonic, sleep

from isosmoke.errors import LeftBehindError, raise_left_behind
from isosmoke.host.leases import Lease, find_dead
from isosmoke.sandbox.spec import Limits

ROOT = Path("/sys/fs/cgroup")

_PREFIX = "isosmoke-"
_PEAKS = {
    "memory": ("memory.peak", "memory.max_usage_in_bytes"),
    "processes": ("pids.peak",),
}
"""The names of version 2, then of 1; pids.peak came with Linux 6.6, memory.peak with 5.19."""

_FILES = {"memory": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max",)}
_REMOVE_SECONDS = 5.0

_UNIFIED = frozenset({""})
"""The name of version 2 among hierarchies: `/proc/PID/cgroup` names no controllers for it."""

_FOR_EVERYBODY = frozenset({"cgroup.event_control"})
"""What the kernel lets every user write to: version 1 takes orders for notifications there."""


def version() -> int:
    """Of the control groups that are mounted here."""
    return 2 if (ROOT / "cgroup.controllers").exists() else 1


@cache
def parents() -> dict[str, Path]:
    """Each controller that can be used here, with the folder in which a group can be made."""
    unified = version() == 2  # noqa: PLR2004 - a version
    offered = (ROOT / "cgroup.subtree_control").read_text().split() if unified else list(_FILES)
    folders = {name: ROOT if unified else ROOT / name for name in _FILES if name in offered}
    return {name: folder for name, folder in folders.items() if _can_make_groups(folder)}


def _can_make_groups(folder: Path) -> bool:
    return (folder / "cgroup.procs").exists() and os.access(folder, os.W_OK)


class Group:
    """The control groups of one sandbox, one folder for each hierarchy."""

    def __init__(self, limits: Limits) -> None:
        name = f"{_PREFIX}{Lease.mine()}.{token_hex(4)}"
        wanted = {"memory": limits.memory, "pids": limits.processes}
        self._most = {one: most for one, most in wanted.items() if most and one in parents()}
        self._folders = {one: parents()[one] / name for one in self._most}

    def make(self) -> None:
        """Make the folders and set the limits."""
        for controller, folder in self._folders.items():
            folder.mkdir(exist_ok=True)
            file = next(folder / name for name in _FILES[controller] if (folder / name).exists())
            file.write_text(str(self._most[controller]))

    def hold(self, pid: int) -> None:
        """Hold `pid`, and all that it will start."""
        for folder in self._folders.values():
            (folder / "cgroup.procs").write_text(str(pid))

    def peaks(self) -> dict[str, int]:
        """The most that its processes had at a time, of what is limited and counted."""
        return {
            what: int(file.read_text())
            for what, names in _PEAKS.items()
            for file in self._files(names)
        }

    def _files(self, names: tuple[str, ...]) -> Iterator[Path]:
        files = (folder / name for folder in set(self._folders.values()) for name in names)
        return (file for file in files if file.exists())

    def remove(self) -> None:
        """Remove the folders, once nothing lives in them; `LeftBehindError` names what stays."""
        raise_left_behind(tuple(_left_behind(_kept(dict.fromkeys(self._folders.values())))))


@contextmanager
def group(limits: Limits) -> Iterator[Group]:
    """The groups of one sandbox, for as long as the block lasts; the sandbox must end within it."""
    made = Group(limits)
    try:
        made.make()
        yield made
    finally:
        made.remove()


def sweep() -> tuple[str, ...]:
    """Remove the groups of dead runs, with the groups in them, and return their names.

    No process is ended for it.

    Raises:
        LeftBehindError: if some could not be removed, or if it cannot be told whether their process
            still runs; it names them, and the others have been removed.
    """
    folders = (one for parent in set(parents().values()) for one in parent.glob(f"{_PREFIX}*"))
    named = ((one, Lease.parse(one.name.removeprefix(_PREFIX))) for one in folders)
    dead, unknown = find_dead(named)
    nested = {folder: _inside_out(folder) for folder in dead}
    left = _kept(dead)
    removed = tuple(str(one) for folder in dead for one in _removed_of(folder, nested[folder]))
    raise_left_behind((*_left_behind(left), *unknown), removed)
    return removed


def _removed_of(folder: Path, groups: Iterable[Path]) -> list[Path]:
    """Return a group if it is gone, else those of the `groups` in it that are."""
    return [one for one in groups if not one.exists()] if folder.exists() else [folder]


def _left_behind(left: Sequence[Path]) -> Iterator[LeftBehindError]:
    """Yield an error that names the groups that are left, if there are any."""
    if left:
        names = [str(one) for one in left]
        yield LeftBehindError(
            f"{' and '.join(names)} could not be removed", hint=f"rmdir {' '.join(names)}"
        )


def _kept(folders: Iterable[Path]) -> list[Path]:
    """Remove these groups and all in them, and return what could not be removed in time.

    That is a group in which something lives, and what it is nested in, the innermost first.
    """
    deadline = monotonic() + _REMOVE_SECONDS
    return [one for folder in folders for one in _removed(folder, deadline)]


def _removed(folder: Path, deadline: float) -> list[Path]:
    """Remove one group and all in it; a group counts its last process for a moment after its end.

    Return what is still there at `deadline`, a value of `monotonic()`.
    """
    while left := [one for one in _inside_out(folder) if not _is_gone(one)]:
        if monotonic() > deadline:
            return left
        sleep(0.01)
    return []


def _inside_out(folder: Path) -> list[Path]:
    """Return a group and all in it, each after those that are nested in it."""
    return [Path(one) for one, _, _ in os.walk(folder, topdown=False, onerror=_raise_unless_gone)]


def _raise_unless_gone(error: OSError) -> None:
    """Raise what `os.walk` meets; a group that cannot be listed is not one that is gone."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _is_gone(folder: Path) -> bool:
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def is_writable_by(uid: int) -> bool:
    """Return whether this process has a control group that user `uid` may write to.

    A group in it counts as well, and so does one that this process may make. What is in a hierarchy
    that is not mounted here is not known: it counts as writable.
    """
    own = own_groups(
        Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text()
    )
    return bool(parents()) or any(may_write_in(folder, uid) for folder in own)


def own_groups(groups: str, mountinfo: str) -> Iterator[Path | None]:
    """Yield the folder of each group in `groups`, or None where no mount shows it.

    `groups` has the format of `/proc/PID/cgroup` (cgroups(7)), `mountinfo` that of
    `/proc/PID/mountinfo` (proc(5)).
    """
    mounts = tuple(_hierarchies(mountinfo))
    for line in groups.splitlines():
        _, controllers, group = line.split(":", 2)
        names = frozenset(controllers.split(",")) if controllers else _UNIFIED
        shown = (_shown(group, root, point) for has, root, point in mounts if names <= has)
        yield next(filter(None, shown), None)


def _hierarchies(mountinfo: str) -> Iterator[tuple[frozenset[str], str, Path]]:
    """Yield what each mount of control groups has: controllers, its root in them, its place."""
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            has = _UNIFIED if kind == "cgroup2" else frozenset(options.split(","))
            root, point = mount.split(" ")[3:5]
            yield has, root, Path(point)


def _shown(group: str, root: str, point: Path) -> Path | None:
    """Return where a mount shows a group; None where the group is outside of the mount's root."""
    path = PurePosixPath(group)
    if ".." in path.parts or not path.is_relative_to(root):
        return None
    return point / path.relative_to(root)


def may_write_in(folder: Path | None, uid: int) -> bool:
    """Return whether user `uid`, with this process's groups, may write in a control group.

    By owner and mode, for a read-only mount is no obstacle to who can mount it again.
    """
    if folder is None or not folder.is_dir():
        return True
    files = (Path(top, one) for top, _, names in os.walk(folder) for one in (".", *names))
    return any(_may_write(one, uid) for one in files if one.name not in _FOR_EVERYBODY)


def _may_write(file: Path, uid: int) -> bool:
    """Return whether a file's mode allows it; its owner can change that. False if it is gone."""
    with suppress(FileNotFoundError):
        found = file.stat()
        group = found.st_gid in (os.getgid(), *os.getgroups()) and found.st_mode & stat.S_IWGRP
        return bool(found.st_uid == uid or group or found.st_mode & stat.S_IWOTH)
    return False
