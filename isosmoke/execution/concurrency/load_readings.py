"""Readings of the load of this machine from `/proc`; what cannot be read is None.

Formats: `Documentation/accounting/psi.rst`, proc(5) for `meminfo`, `vmstat` and `net/snmp`, and
cgroups(7). The network is that of this process's namespace, which sandboxes on the host's network
share.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

from isosmoke.dataclass import dataclass
from isosmoke.execution.concurrency.listening_addresses import read_listeners
from isosmoke.keeper import procfs

PROC = Path("/proc")

_UNREADABLE = (OSError, *procfs.INVALID)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """The time since the start of the machine in which some task waited for a resource, in seconds.

    For a CPU, the kernel gives the mean of all CPUs that were not idle.
    """

    cpu: float | None
    memory: float | None
    io: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedState:
    """The use of what scenarios share, at one moment.

    `sockets` are addresses on the host's network that a process listens on, or an abstract name
    that it bound. `connections` and `killed` count since the start of the machine. `free_memory` is
    a share, `free_disk` a number of bytes.
    """

    sockets: frozenset[str] | None
    connections: int | None
    killed: int | None
    free_memory: float | None
    free_disk: int | None


def read_stalls(proc: Path = PROC) -> Stalls:
    """Return the stalls of the whole machine; None where the kernel does not account them."""

    def read(resource: str) -> float | None:
        return _try(lambda: parse_stall((proc / "pressure" / resource).read_text()))

    return Stalls(cpu=read("cpu"), memory=read("memory"), io=read("io"))


def read_surroundings(directory: Path, proc: Path = PROC) -> SharedState:
    """Return the present surroundings; `directory` is on the disk of the sandboxes, or will be."""
    return SharedState(
        sockets=_try(lambda: read_listeners(proc / "net")),
        connections=_try(lambda: count_connections((proc / "net/snmp").read_text())),
        killed=_try(lambda: count_killed((proc / "vmstat").read_text())),
        free_memory=_try(lambda: parse_free_memory((proc / "meminfo").read_text())),
        free_disk=_try(lambda: _read_free_disk(directory)),
    )


def count_cores(proc: Path = PROC) -> float:
    """Return the number of CPUs that this process may use, by its affinity and its quota."""
    available = float(len(os.sched_getaffinity(0)))
    quotas = [quota for file in _list_quota_files(proc) if (quota := _read_quota(file))]
    return min([available, *quotas])


def parse_stall(text: str) -> float:
    """Return the total of the line `some` in seconds."""
    line = next(line for line in text.splitlines() if line.startswith("some "))
    return int(line.rpartition("total=")[2]) / 1e6


def count_connections(text: str) -> int:
    """Return the number of TCP connections opened from and to this network namespace."""
    names, values = (line.split() for line in text.splitlines() if line.startswith("Tcp:"))
    counters = dict(zip(names, values, strict=True))
    return int(counters["ActiveOpens"]) + int(counters["PassiveOpens"])


def count_killed(text: str) -> int:
    """Return the number of processes that the kernel ended for lack of memory."""
    return int(dict(line.split() for line in text.splitlines())["oom_kill"])


def parse_free_memory(text: str) -> float:
    """Return the share of the memory that programs can use without swapping."""
    sizes = {name: int(rest.split()[0]) for name, _, rest in _split_lines(text)}
    return sizes["MemAvailable"] / sizes["MemTotal"]


def _split_lines(text: str) -> Iterator[tuple[str, str, str]]:
    return (line.partition(":") for line in text.splitlines())


def parse_quota(text: str) -> float | None:
    """Return the number of CPUs of a quota and its period, as in `cpu.max`; None if unlimited."""
    quota, period = text.split()
    return None if quota in ("max", "-1") else int(quota) / int(period)


def _read_free_disk(directory: Path) -> int:
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    status = os.statvfs(existing)
    return status.f_bavail * status.f_frsize


def _list_quota_files(proc: Path) -> Iterator[tuple[Path, ...]]:
    """Yield the files with a quota of this process's control groups and of those around them."""
    for line in (_try((proc / "self/cgroup").read_text) or "").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = Path("/sys/fs/cgroup", "cpu" if controllers else "")
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
        for directory in _list_shown(top, PurePosixPath(group)):
            yield tuple(directory / name for name in names)


def _list_shown(top: Path, group: PurePosixPath) -> Iterable[Path]:
    """Return the directory of a group and those around it, as far as `top` can show them."""
    inside = group.relative_to("/") if ".." not in group.parts else PurePosixPath()
    return (top / inside, *(top / parent for parent in inside.parents))


def _read_quota(files: tuple[Path, ...]) -> float | None:
    return _try(lambda: parse_quota(" ".join(file.read_text().strip() for file in files)))


def _try(read: Callable[[], T]) -> T | None:
    with suppress(*_UNREADABLE, StopIteration):
        return read()
    return None
