"""Resource limits by control groups of version 1 or 2, if this process may create them.

An ordinary user without a delegated group has none. In that case the keeper's RLIMIT_NPROC limits
the processes: it counts those in the sandbox's own user namespace.
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
from isosmoke.sandbox.spec import ReadOnly, ResourceLimits

ROOT = Path("/sys/fs/cgroup")

_PREFIX = "isosmoke-"
_PEAKS = {
    "memory": ("memory.peak", "memory.max_usage_in_bytes"),
    "processes": ("pids.peak",),
}
"""The file names in version 2, then 1; pids.peak needs Linux 6.6, memory.peak 5.19."""

_EVENTS = {
    "memory": (("memory.events", "oom_kill"), ("memory.oom_control", "oom_kill")),
    "processes": (("pids.events", "max"),),
}
"""The files and their counters of effects of a limit, in version 2, then 1."""

_FILES = {"memory": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max",)}
_READ_TOGETHER = ("cpu", "cpuacct", "cpuset")
"""Hierarchies of version 1 without which a Java runtime ignores the limit of the memory."""

_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
"""Files that are empty in a new group, which accepts no process until they are set."""

_REMOVE_SECONDS = 10.0

_UNIFIED = frozenset({""})
"""The name of version 2 among hierarchies: `/proc/PID/cgroup` names no controllers for it."""

_WORLD_WRITABLE = frozenset({"cgroup.event_control"})
"""Files that every user can write to: version 1 takes requests for notifications there."""


def get_version() -> int:
    """Return the version of the control groups that are mounted here."""
    return 2 if (ROOT / "cgroup.controllers").exists() else 1


@cache
def find_parents() -> dict[str, Path]:
    """Return each usable controller, with the directory in which groups can be created."""
    unified = get_version() == 2  # noqa: PLR2004 - a version
    available = (ROOT / "cgroup.subtree_control").read_text().split() if unified else list(_FILES)
    directories = {name: ROOT if unified else ROOT / name for name in _FILES if name in available}
    return {
        name: directory for name, directory in directories.items() if _can_create_groups(directory)
    }


@cache
def _find_read_parents() -> dict[str, Path]:
    """Return the hierarchies in which a group without limits is created, as `find_parents`."""
    names = _READ_TOGETHER if get_version() == 1 else ()
    return {name: ROOT / name for name in names if _can_create_groups(ROOT / name)}


def _can_create_groups(directory: Path) -> bool:
    return (directory / "cgroup.procs").exists() and os.access(directory, os.W_OK)


class ControlGroup:
    """The control groups of one sandbox: one directory in each hierarchy."""

    def __init__(self, limits: ResourceLimits) -> None:
        name = f"{_PREFIX}{Lease.current()}.{token_hex(4)}"
        requested = {"memory": limits.memory, "pids": limits.processes}
        self._limits = {
            controller: limit
            for controller, limit in requested.items()
            if limit and controller in find_parents()
        }
        others = _find_read_parents() if "memory" in self._limits else {}
        self._directories = {
            controller: parent / name
            for controller, parent in (find_parents() | others).items()
            if controller in self._limits or controller in others
        }

    def create(self) -> None:
        """Create the directories and set the limits."""
        for directory in self._directories.values():
            directory.mkdir(exist_ok=True)
        for controller, limit in self._limits.items():
            directory = self._directories[controller]
            file = next(
                directory / name for name in _FILES[controller] if (directory / name).exists()
            )
            file.write_text(str(limit))
        if "cpuset" in self._directories:
            for name in _CPUSET_FILES:
                directory = self._directories["cpuset"]
                (directory / name).write_text((directory.parent / name).read_text())

    def add_process(self, pid: int) -> None:
        """Move `pid` into the groups; the processes that it starts will be in them too."""
        for directory in self._directories.values():
            (directory / "cgroup.procs").write_text(str(pid))

    def list_mounts(self) -> tuple[ReadOnly, ...]:
        """Return the mounts of the groups at the paths where programs look for their limits."""
        targets = {
            ROOT if get_version() != 1 else ROOT / controller: directory
            for controller, directory in self._directories.items()
        }
        return tuple(
            ReadOnly(directory, PurePosixPath(target)) for target, directory in targets.items()
        )

    def peaks(self) -> dict[str, int]:
        """Return the peak usage of its processes, for each limited resource that is counted."""
        return {
            resource: int(file.read_text())
            for resource, names in _PEAKS.items()
            for file in self._find_files(names)
        }

    def find_reached_limits(self) -> frozenset[str]:
        """Return the limited resources whose limit had an effect, as far as it is counted."""
        return frozenset(
            resource
            for resource, counters in _EVENTS.items()
            for name, counter in counters
            for file in self._find_files((name,))
            if _read_counter(file.read_text(), counter)
        )

    def _find_files(self, names: tuple[str, ...]) -> Iterator[Path]:
        files = (
            directory / name for directory in set(self._directories.values()) for name in names
        )
        return (file for file in files if file.exists())

    def remove(self) -> None:
        """Remove the directories once no process is in them.

        Raises:
            LeftBehindError: if some remain; it names them.
        """
        raise_left_behind(
            tuple(_leftover_errors(_remove_groups(dict.fromkeys(self._directories.values()))))
        )


def _read_counter(text: str, name: str) -> int:
    """Return a counter of a file with a name and a number in each line; 0 if it is missing."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.split()[0] == name), 0)


@contextmanager
def group(limits: ResourceLimits) -> Iterator[ControlGroup]:
    """Yield the control groups of one sandbox, which must end within the block."""
    control_group = ControlGroup(limits)
    try:
        control_group.create()
        yield control_group
    finally:
        control_group.remove()


def sweep() -> tuple[str, ...]:
    """Remove the groups of dead runs and the groups nested in them, and return their names.

    This ends no process.

    Raises:
        LeftBehindError: if some could not be removed, or if it is unknown whether their process
            still runs. It names them; all others have been removed.
    """
    directories = (
        directory
        for parent in {*find_parents().values(), *_find_read_parents().values()}
        for directory in parent.glob(f"{_PREFIX}*")
    )
    owned = (
        (directory, Lease.parse(directory.name.removeprefix(_PREFIX))) for directory in directories
    )
    dead, unknown = find_dead(owned)
    nested = {directory: _list_inside_out(directory) for directory in dead}
    remaining = _remove_groups(dead)
    removed = tuple(
        str(path) for directory in dead for path in _list_removed(directory, nested[directory])
    )
    raise_left_behind((*_leftover_errors(remaining), *unknown), removed)
    return removed


def _list_removed(directory: Path, groups: Iterable[Path]) -> list[Path]:
    """Return `directory` if it is gone, otherwise those of the `groups` in it that are gone."""
    return [group for group in groups if not group.exists()] if directory.exists() else [directory]


def _leftover_errors(remaining: Sequence[Path]) -> Iterator[LeftBehindError]:
    """Yield an error that names the remaining groups, if there are any."""
    if remaining:
        names = [str(group) for group in remaining]
        yield LeftBehindError(
            f"{' and '.join(names)} could not be removed", hint=f"rmdir {' '.join(names)}"
        )


def _remove_groups(directories: Iterable[Path]) -> list[Path]:
    """Remove groups with all groups in them, and return those that remain at the deadline.

    These are the groups with processes in them and their parents, the innermost first.
    """
    deadline = monotonic() + _REMOVE_SECONDS
    return [group for directory in directories for group in _remove_group(directory, deadline)]


def _remove_group(directory: Path, deadline: float) -> list[Path]:
    """Remove a group with all groups in it, and return those that remain at `deadline`.

    A group counts its last process for a moment after it has ended. `deadline` is a value of
    `monotonic()`.
    """
    while remaining := [group for group in _list_inside_out(directory) if not _try_remove(group)]:
        if monotonic() > deadline:
            return remaining
        sleep(0.01)
    return []


def _list_inside_out(directory: Path) -> list[Path]:
    """Return a group and all groups in it; nested groups come first."""
    return [
        Path(path) for path, _, _ in os.walk(directory, topdown=False, onerror=_raise_unless_gone)
    ]


def _raise_unless_gone(error: OSError) -> None:
    """Raise an error of `os.walk`: a group that cannot be listed may still exist."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _try_remove(directory: Path) -> bool:
    with suppress(OSError):
        directory.rmdir()
    return not directory.exists()


def is_writable_by(uid: int) -> bool:
    """Return whether user `uid` may write to a control group of this process.

    This includes groups nested in them and groups that this process may create. A group in a
    hierarchy that is not mounted here counts as writable, because its mode is unknown.
    """
    groups = find_own_groups(
        Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text()
    )
    return bool(find_parents()) or any(can_write_in(directory, uid) for directory in groups)


def find_own_groups(groups: str, mountinfo: str) -> Iterator[Path | None]:
    """Yield the directory of each group in `groups`, or None if no mount shows it.

    `groups` has the format of `/proc/PID/cgroup` (cgroups(7)), `mountinfo` that of
    `/proc/PID/mountinfo` (proc(5)).
    """
    mounts = tuple(_parse_hierarchies(mountinfo))
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        names = frozenset(controllers.split(",")) if controllers else _UNIFIED
        candidates = (
            _find_shown_path(path, root, mount_point)
            for controllers_there, root, mount_point in mounts
            if names <= controllers_there
        )
        yield next(filter(None, candidates), None)


def _parse_hierarchies(mountinfo: str) -> Iterator[tuple[frozenset[str], str, Path]]:
    """Yield the controllers, the root and the mount point of each mount of control groups."""
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        file_system, _, options = source.split(" ", 2)
        if file_system in ("cgroup", "cgroup2"):
            controllers = _UNIFIED if file_system == "cgroup2" else frozenset(options.split(","))
            root, mount_point = mount.split(" ")[3:5]
            yield controllers, root, Path(mount_point)


def _find_shown_path(group: str, root: str, mount_point: Path) -> Path | None:
    """Return the path at which a mount shows a group; None if the group is outside its root."""
    path = PurePosixPath(group)
    if ".." in path.parts or not path.is_relative_to(root):
        return None
    return mount_point / path.relative_to(root)


def can_write_in(directory: Path | None, uid: int) -> bool:
    """Return whether user `uid`, with this process's groups, may write in a control group.

    Only the owner and the mode count: a read-only mount can be mounted again. An unknown group
    counts as writable.
    """
    if directory is None or not directory.is_dir():
        return True
    paths = (Path(top, name) for top, _, names in os.walk(directory) for name in (".", *names))
    return any(_can_write(path, uid) for path in paths if path.name not in _WORLD_WRITABLE)


def _can_write(file: Path, uid: int) -> bool:
    """Return whether a user may write to a file, as its mode is or as its owner can change it."""
    with suppress(FileNotFoundError):
        status = file.stat()
        by_group = status.st_gid in (os.getgid(), *os.getgroups()) and status.st_mode & stat.S_IWGRP
        return bool(status.st_uid == uid or by_group or status.st_mode & stat.S_IWOTH)
    return False
