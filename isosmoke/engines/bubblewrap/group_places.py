"""The control groups of this process, and the directories in which it can create others.

Groups are created below the group of isosmoke, so that the limits around isosmoke hold for its
sandboxes too. In version 2, a group with processes can have no limited groups in it, unless it is
the root. If all those processes are of isosmoke, as in a unit of systemd, they are moved to a leaf
of that group. Otherwise, the next group above is used that already has limited groups, provided
that no group on the way has its own limits.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from threading import Lock

from isosmoke.dataclass import dataclass
from isosmoke.errors import EngineError
from isosmoke.host.leases import Lease

ROOT = Path("/sys/fs/cgroup")

PREFIX = "isosmoke-"
"""The start of the name of each group of isosmoke; its lease follows."""

LIMITING = ("memory", "pids")
"""The controllers that limit a sandbox."""

_READ_TOGETHER = ("cpu", "cpuacct", "cpuset")
"""Hierarchies of version 1 without which a Java runtime ignores the limit of the memory."""

_UNIFIED = frozenset({""})
"""The name of version 2 among hierarchies: `/proc/PID/cgroup` names no controllers for it."""

_WORLD_WRITABLE = frozenset({"cgroup.event_control"})
"""Files that every user can write to: version 1 takes requests for notifications there."""

_LIMIT_FILES = (
    *("memory.max", "memory.high", "memory.swap.max", "memory.zswap.max"),
    *("cpu.max", "cpuset.cpus", "io.max", "hugetlb.2MB.max"),
)
"""Files of version 2 that limit a group, except for the number of its processes."""

_DIVIDE = (
    "cd {} && mkdir init && xargs -rn1 <cgroup.procs >init/cgroup.procs; "
    "echo +memory +pids >cgroup.subtree_control"
)
"""Commands that move all processes of a container into a group inside its own."""

_MOVES = 100
"""The number of attempts to move processes that fork in the meantime."""

_moving = Lock()


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of version 2 in which limited groups can be created.

    If `needs_leaf` is true, its own processes have to leave it first. `max_processes` is the
    smallest limit of the groups that are passed over between it and the group of isosmoke.
    """

    directory: Path
    controllers: frozenset[str]
    needs_leaf: bool = False
    max_processes: int | None = None


def get_version() -> int:
    """Return the version of the control groups that are mounted here."""
    return 2 if (ROOT / "cgroup.controllers").exists() else 1


@cache
def find_parents() -> dict[str, Path]:
    """Return each usable controller, with the directory in which groups can be created."""
    if get_version() == 1:
        return _find_own_directories(LIMITING)
    place = _find_place()
    return {name: place.directory for name in LIMITING if place and name in place.controllers}


@cache
def find_read_parents() -> dict[str, Path]:
    """Return the hierarchies in which a group without limits is created, as `find_parents`."""
    return _find_own_directories(_READ_TOGETHER) if get_version() == 1 else {}


def find_max_processes() -> int | None:
    """Return the limit that each group has to get, because the groups that set it do not apply."""
    place = _find_place() if get_version() != 1 else None
    return place.max_processes if place else None


def list_swept() -> tuple[Path, ...]:
    """Return the directories in which this run and earlier ones from here may create groups."""
    parents = {*find_parents().values(), *find_read_parents().values()}
    return tuple(dict.fromkeys(path for parent in parents for path in list_upwards(parent)))


def prepare_parents() -> None:
    """Make the processes of isosmoke leave its group, if only then it can have limited groups.

    Raises:
        EngineError: if a process of another program is in the group, or comes into it.
    """
    if get_version() != 1 and (place := _find_place()) and place.needs_leaf:
        with _moving:
            move_to_leaf(place, is_own=_is_own)


def move_to_leaf(place: Place, *, is_own: Callable[[int], bool]) -> None:
    """Move all processes of a place into a group inside it, and enable its controllers.

    Raises:
        EngineError: if one of them is not isosmoke's own.
    """
    control = place.directory / "cgroup.subtree_control"
    if place.controllers <= set(control.read_text().split()):
        return
    leaf = place.directory / f"{PREFIX}{Lease.current()}.leaf"
    leaf.mkdir(exist_ok=True)
    for _ in range(_MOVES):
        for pid in _list_processes(place.directory):
            if not is_own(pid):
                raise EngineError(
                    f"process {pid} of another program is in the control group {place.directory}",
                    hint=suggest_group(),
                )
            with suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(str(pid))
        with suppress(OSError):  # EBUSY: a process has forked in the meantime
            control.write_text(" ".join(f"+{name}" for name in sorted(place.controllers)))
            return
    raise EngineError(
        f"the control group {place.directory} cannot be divided: its processes fork too fast",
        hint=suggest_group(),
    )


def suggest_group() -> str:
    """Return how isosmoke gets a group in which it can limit its sandboxes."""
    own = _map_own_groups().get("") if get_version() != 1 else None
    return suggest_group_instead(own, is_writable=_is_writable, uid=os.getuid())


def suggest_group_instead(
    own: Path | None, *, is_writable: Callable[[Path], bool], uid: int
) -> str:
    """Return how user `uid` gets a place for limited groups that the group `own` is not."""
    if own and _is_of_container(own):
        if is_writable(own):
            return f"divide the group of this container first, with `{_DIVIDE.format(own)}`"
        return "limit the whole container, as `docker run --memory` and `--pids-limit` do"
    user = "--user " if uid != 0 else ""
    return f"start isosmoke with `systemd-run {user}--scope -p Delegate=yes isosmoke ...`"


def _is_of_container(own: Path) -> bool:
    """Return whether a group seems to be the root because its cgroup namespace begins there.

    The root of the machine has no type.
    """
    return (own / "cgroup.type").exists() and not (own.parent / "cgroup.procs").exists()


@cache
def _find_place() -> Place | None:
    own = _map_own_groups().get("")
    return find_place(own, is_own=_is_own, is_writable=_is_writable) if own else None


def find_place(
    own: Path, *, is_own: Callable[[int], bool], is_writable: Callable[[Path], bool]
) -> Place | None:
    """Return the place for limited groups that is closest to the group `own`; None without one.

    A place with both controllers is preferred. The search ends at a group with its own limits,
    which would not hold for a group outside it.
    """
    places = _find_places(own, is_own, is_writable)
    return max(places, key=lambda place: len(place.controllers), default=None)


def _find_places(
    own: Path, is_own: Callable[[int], bool], is_writable: Callable[[Path], bool]
) -> Iterator[Place]:
    maximum: int | None = None
    for directory in list_upwards(own):
        enabled = _read_controllers(directory / "cgroup.subtree_control")
        available = _read_controllers(directory / "cgroup.controllers")
        if is_writable(directory):
            if enabled:
                yield Place(directory, enabled, max_processes=maximum)
            elif available and directory == own and all(map(is_own, _list_processes(own))):
                yield Place(directory, available, needs_leaf=True)
        if _has_limits(directory):
            return
        maximum = _choose_lower(maximum, directory / "pids.max")


def list_upwards(directory: Path) -> Iterator[Path]:
    """Yield a group and all groups around it that are shown here."""
    for path in (directory, *directory.parents):
        if not (path / "cgroup.procs").exists():
            return
        yield path


def _read_controllers(file: Path) -> frozenset[str]:
    return frozenset(file.read_text().split()) & frozenset(LIMITING)


def _list_processes(directory: Path) -> list[int]:
    return [int(line) for line in (directory / "cgroup.procs").read_text().split()]


def _has_limits(directory: Path) -> bool:
    """Return whether a group limits anything but the number of its processes."""
    files = (directory / name for name in _LIMIT_FILES)
    values = (file.read_text().strip() for file in files if file.exists())
    return any(value and value.split()[0] != "max" for value in values)


def _choose_lower(maximum: int | None, file: Path) -> int | None:
    value = file.read_text().strip() if file.exists() else "max"
    limits = [limit for limit in (maximum, None if value == "max" else int(value)) if limit]
    return min(limits, default=None)


def _is_writable(directory: Path) -> bool:
    """Return whether this process can create a group here, and move its processes there."""
    names = (".", "cgroup.procs", "cgroup.subtree_control")
    return all(os.access(directory / name, os.W_OK) for name in names)


def _is_own(pid: int) -> bool:
    """Return whether a process is this one, or was started by it."""
    while pid not in (0, 1, os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2]
        except (FileNotFoundError, ProcessLookupError):
            return True  # it has ended
        pid = int(fields.split()[1])
    return pid == os.getpid()


def _find_own_directories(controllers: tuple[str, ...]) -> dict[str, Path]:
    """Return the groups of version 1 in which root can create groups."""
    own = _map_own_groups() if os.getuid() == 0 else {}
    return {
        name: own[name]
        for name in controllers
        if name in own and (own[name] / "cgroup.procs").exists() and os.access(own[name], os.W_OK)
    }


def _map_own_groups() -> dict[str, Path]:
    """Return the directory of each controller's group of this process; that of version 2 as ""."""
    groups = Path("/proc/self/cgroup").read_text()
    directories = find_own_groups(groups, Path("/proc/self/mountinfo").read_text())
    return {
        name: directory
        for line, directory in zip(groups.splitlines(), directories, strict=True)
        for name in line.split(":", 2)[1].split(",")
        if directory is not None
    }


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
