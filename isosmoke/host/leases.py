"""Leases, which name the process that a resource on this machine belongs to.

An error while inspecting a process does not mean that the process has ended. A resource that may
belong to a live process is never removed.
"""

import errno
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from isosmoke.dataclass import dataclass
from isosmoke.errors import LeftBehindError

_Resource = TypeVar("_Resource")

_MAX_PID_DIGITS = 7
"""A PID is at most 4194304 (proc_sys_kernel(5), `pid_max`)."""

_ENDED_STATES = frozenset({b"Z", b"X"})
"""The states of a zombie, and of a process that is being removed (proc_pid_stat(5))."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The process that a resource belongs to.

    A PID alone is not enough, because it can be reused. `boot` is the kernel's boot ID and the PID
    namespace of `pid`. `started` is the start time of the process in clock ticks since boot.
    """

    boot: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> "Lease":
        """Return the lease of this process; raise `OSError` if /proc cannot be read."""
        return _read_current(os.getpid())

    @classmethod
    def parse(cls, text: str) -> "Lease | None":
        """Return the lease at the start of `text`, in the format of `str`; None if there is none.

        Text after a third dot is ignored.
        """
        parts = text.split(".")
        is_lease = len(parts) >= 3 and _is_pid(parts[1])  # noqa: PLR2004 - boot, PID, start
        return cls(parts[0], int(parts[1]), parts[2]) if is_lease else None

    def __str__(self) -> str:
        return f"{self.boot}.{self.pid}.{self.started}"

    def is_alive(self) -> bool:
        """Return whether the process still runs.

        A process of another PID namespace counts as alive, because it is not visible from here.

        Raises:
            OSError: if that cannot be determined, for example because /proc cannot be read.
        """
        boot, _, namespace = self.boot.rpartition("-")
        if boot != _read_boot_id() or not self.started:
            return False
        return namespace != _read_pid_namespace() or self.started == _read_start_time(self.pid)


@lru_cache(maxsize=1)
def _read_current(pid: int) -> Lease:
    """Return the lease of this process, which is read once; a fork has another `pid`."""
    started = _parse_start_time(Path("/proc/self/stat").read_bytes())
    return Lease(f"{_read_boot_id()}-{_read_pid_namespace()}", pid, started)


def find_dead(
    owned: Iterable[tuple[_Resource, Lease | None]],
) -> tuple[tuple[_Resource, ...], tuple[LeftBehindError, ...]]:
    """Return the resources of ended processes, and an error for each one that may still be in use.

    A resource without a lease belongs to no process.
    """
    dead: list[_Resource] = []
    unknown: list[LeftBehindError] = []
    for resource, lease in owned:
        try:
            if lease is None or not lease.is_alive():
                dead.append(resource)
        except OSError as error:
            unknown.append(_unknown_owner_error(resource, error))
    return tuple(dead), tuple(unknown)


def _unknown_owner_error(resource: object, error: OSError) -> LeftBehindError:
    return LeftBehindError(
        f"{resource} is kept because its process may still run: {error.filename}: {error.strerror}",
        hint=f"run `isosmoke sweep` as a user and with limits that let it read {error.filename}",
    )


def _is_pid(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_PID_DIGITS


def _read_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _read_pid_namespace() -> str:
    return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")


def _read_start_time(pid: int) -> str:
    """Return the start time of a process; an empty string if it is gone or a zombie.

    With the mount option hidepid, /proc hides the processes of other users: their files are
    missing.
    """
    file = Path(f"/proc/{pid}/stat")
    if not _exists(pid):
        return ""
    if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115 - as text
        raise OSError(errno.ESTALE, "/proc shows another PID namespace", "/proc")
    try:
        return _parse_start_time(file.read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        if _exists(pid):
            raise PermissionError(errno.EACCES, "/proc hides this process", str(file)) from None
        return ""


def _exists(pid: int) -> bool:
    """Return whether the process exists; signal 0 only checks that (kill(2))."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def _parse_start_time(status: bytes) -> str:
    """Return field 22 of `/proc/PID/stat`, empty for a zombie; field 2 may contain any bytes."""
    state, *fields = status.rpartition(b")")[2].split()
    return "" if state in _ENDED_STATES else fields[18].decode()
