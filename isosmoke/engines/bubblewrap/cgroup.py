"""Resource limits by control groups of version 1 or 2, if this process may create them.

An ordinary user without a delegated group has none. In that case the keeper's RLIMIT_NPROC limits
the processes: it counts those in the sandbox's own user namespace.

The keeper is in the group too. `memory.oom.group`, which kills a whole group, therefore stays 0:
with it, a reached limit would break the sandbox, and would not be reported as such. With a group of
its own inside this one, the script alone could be killed as a whole. But no process can be moved
there in time by another one: the keeper would have to start each of its processes in it, which on
this engine alone would give it a descriptor of a control group of the host. The kernel's counters
name the limit anyway if only a part of the script is killed.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from secrets import token_hex
from time import monotonic, sleep

from isosmoke.engines.bubblewrap import group_places
from isosmoke.errors import LeftBehindError, raise_left_behind
from isosmoke.host.leases import Lease, find_dead
from isosmoke.sandbox.spec import ReadOnly, ResourceLimits

_PEAKS = {
    "memory": ("memory.peak", "memory.max_usage_in_bytes"),
    "processes": ("pids.peak",),
}
"""The file names in version 2, then 1; a kernel may lack them: memory.peak needs Linux 5.19."""

_CPU = "cpu.stat", "usage_usec"
_CPU_NANOSECONDS = "cpuacct.usage"
"""The file and the counter of version 2, and the file of version 1."""

_PRESSURES = {
    f"{resource}_pressure": f"{resource}.pressure" for resource in ("cpu", "memory", "io")
}
_STALLED = re.compile(r"^some .*\btotal=(\d+)", re.MULTILINE)
"""The microseconds for which some process waited (Documentation/accounting/psi.rst)."""

_EVENTS = {
    "memory": (("memory.events", "oom_kill"), ("memory.oom_control", "oom_kill")),
    "processes": (("pids.events", "max"),),
}
"""The files and their counters of effects of a limit, in version 2, then 1."""

_FILES = {"memory": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max",)}
"""The files of a limit, in version 2, then 1."""

RESOURCES = {"memory": "memory", "pids": "processes"}
"""The resource that each controller limits."""

_SWAP = {"memory.swap.max": "0", "memory.memsw.limit_in_bytes": None}
"""The files that keep a group from exceeding its limit with swap; None is the limit itself."""

_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
"""Files that are empty in a new group, which accepts no process until they are set."""

_REMOVE_SECONDS = 10.0


class ControlGroup:
    """The control groups of one sandbox: one directory in each hierarchy."""

    def __init__(self, limits: ResourceLimits) -> None:
        parents, others = group_places.find_parents(), group_places.find_read_parents()
        requested = {"memory": limits.memory, "pids": limits.processes}
        self._limits = {
            controller: limit
            for controller, limit in requested.items()
            if limit and controller in parents
        }
        if "memory" not in self._limits:
            others = {}
        name = f"{group_places.PREFIX}{Lease.current()}.{token_hex(4)}"
        self._directories = {
            controller: parent / name
            for controller, parent in (parents | others).items()
            if controller in self._limits or controller in others
        }

    def create(self) -> None:
        """Create the directories and set the limits."""
        if not self._directories:
            return
        group_places.prepare_parents()
        for directory in self._directories.values():
            directory.mkdir(exist_ok=True)
        for controller, limit in self._limits.items():
            _set_limit(self._directories[controller], controller, limit)
        self._keep_surrounding_limit()
        if "cpuset" in self._directories:
            for name in _CPUSET_FILES:
                directory = self._directories["cpuset"]
                (directory / name).write_text((directory.parent / name).read_text())

    def _keep_surrounding_limit(self) -> None:
        """Set the limit on processes of the groups around isosmoke that this group is not in."""
        maximum = group_places.find_max_processes()
        for directory in set(self._directories.values()):
            if maximum is not None and (directory / "pids.max").exists():
                _set_limit(directory, "pids", min(maximum, self._limits.get("pids", maximum)))

    def add_process(self, pid: int) -> None:
        """Move `pid` into the groups; the processes that it starts will be in them too."""
        for directory in self._directories.values():
            (directory / "cgroup.procs").write_text(str(pid))

    def list_mounts(self) -> tuple[ReadOnly, ...]:
        """Return the mounts of the groups at the paths where programs look for their limits."""
        root, is_unified = group_places.ROOT, group_places.get_version() != 1
        targets = {
            root if is_unified else root / controller: directory
            for controller, directory in self._directories.items()
        }
        return tuple(
            ReadOnly(directory, PurePosixPath(target)) for target, directory in targets.items()
        )

    def peaks(self) -> dict[str, int]:
        """Return what its processes used together, as far as a group counts it.

        See `isosmoke.results.evidence.Evidence` for the keys.
        """
        sizes = {
            resource: int(file.read_text())
            for resource, names in _PEAKS.items()
            for file in self._find_files(names)
        }
        return sizes | dict(self._read_times())

    def _read_times(self) -> Iterator[tuple[str, int]]:
        """Yield times of its processes in microseconds."""
        name, counter = _CPU
        for file in self._find_files((name,)):
            text = file.read_text()
            if counter in text:
                yield "cpu", _read_counter(text, counter)
        for file in self._find_files((_CPU_NANOSECONDS,)):
            yield "cpu", int(file.read_text()) // 1000
        for resource, name in _PRESSURES.items():
            for file in self._find_files((name,)):
                yield resource, parse_pressure(_read_if_possible(file))

    def find_reached_limits(self) -> frozenset[str]:
        """Return the limited resources whose limit had an effect, as far as it is counted."""
        limited = {RESOURCES[controller] for controller in self._limits}
        return frozenset(
            resource
            for resource, counters in _EVENTS.items()
            for name, counter in counters
            for file in self._find_files((name,))
            if resource in limited and _read_counter(file.read_text(), counter)
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


def _set_limit(directory: Path, controller: str, limit: int) -> None:
    file = next(directory / name for name in _FILES[controller] if (directory / name).exists())
    file.write_text(str(limit))
    if controller == "memory":
        for name, value in _SWAP.items():
            if (directory / name).exists():
                (directory / name).write_text(value or str(limit))


def parse_pressure(text: str) -> int:
    """Return for how many microseconds some process waited, from a file such as memory.pressure."""
    stalled = _STALLED.search(text)
    return int(stalled[1]) if stalled else 0


def _read_if_possible(file: Path) -> str:
    """Return the text of a file; empty if the kernel measures no pressure (EOPNOTSUPP)."""
    try:
        return file.read_text()
    except OSError:
        return ""


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
        for parent in group_places.list_swept()
        for directory in parent.glob(f"{group_places.PREFIX}*")
    )
    owned = (
        (directory, Lease.parse(directory.name.removeprefix(group_places.PREFIX)))
        for directory in directories
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
