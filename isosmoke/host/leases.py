"""Leases: which process something on this machine belongs to, and whether that process runs.

An error while looking at a process does not mean that the process has ended. Whatever may belong to
a live process is never removed.
"""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from isosmoke.errors import LeftBehindError

_Thing = TypeVar("_Thing")

_MAX_PID_DIGITS = 7
"""A PID is at most 4194304 (proc_sys_kernel(5), `pid_max`)."""

_ENDED_STATES = frozenset({b"Z", b"X"})
"""A zombie, and a process that the kernel is about to forget (proc_pid_stat(5))."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The process that something belongs to: a PID alone may have been reused.

    `boot` is the kernel's boot ID and the PID namespace in which `pid` means that process;
    `started` is its start time in clock ticks since boot.
    """

    boot: str
    pid: int
    started: str

    @classmethod
    def mine(cls) -> "Lease":
        """Return the lease of this process; `OSError` if /proc cannot be read."""
        started = _start_time(Path("/proc/self/stat").read_bytes())
        return cls(f"{_boot_id()}-{_pid_namespace()}", os.getpid(), started)

    @classmethod
    def parse(cls, text: str) -> "Lease | None":
        """Return the lease that `text` begins with, in the format of `str`; None if there is none.

        What follows a third dot is ignored.
        """
        words = text.split(".")
        is_lease = len(words) >= 3 and _is_pid(words[1])  # noqa: PLR2004 - boot, PID, start
        return cls(words[0], int(words[1]), words[2]) if is_lease else None

    def __str__(self) -> str:
        return f"{self.boot}.{self.pid}.{self.started}"

    def is_alive(self) -> bool:
        """Return whether this very process still runs.

        A process of another PID namespace counts as alive, as it cannot be seen from here.

        Raises:
            OSError: if that cannot be told, for example because /proc cannot be read.
        """
        boot, _, namespace = self.boot.rpartition("-")
        if boot != _boot_id() or not self.started:
            return False
        return namespace != _pid_namespace() or self.started == _started(self.pid)


def find_dead(
    owned: Iterable[tuple[_Thing, Lease | None]],
) -> tuple[tuple[_Thing, ...], tuple[LeftBehindError, ...]]:
    """Return what belongs to no live process, and an error for each thing of which nobody can tell.

    A thing without a lease belongs to no process.
    """
    dead: list[_Thing] = []
    unknown: list[LeftBehindError] = []
    for thing, lease in owned:
        try:
            if lease is None or not lease.is_alive():
                dead.append(thing)
        except OSError as error:
            unknown.append(_kept(thing, error))
    return tuple(dead), tuple(unknown)


def _kept(thing: object, error: OSError) -> LeftBehindError:
    return LeftBehindError(
        f"{thing} is kept, as its process may still run: {error.filename}: {error.strerror}",
        hint=f"run `isosmoke sweep` as a user and with limits that let it read {error.filename}",
    )


def _is_pid(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_PID_DIGITS


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _pid_namespace() -> str:
    return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")


def _started(pid: int) -> str:
    """Return the start time of a process; empty for one that is gone, or that is a zombie.

    A mount option of /proc (hidepid) hides the processes of other users: their files are missing.
    """
    file = Path(f"/proc/{pid}/stat")
    if not _exists(pid):
        return ""
    if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115 - as text
        raise OSError(errno.ESTALE, "/proc shows another PID namespace", "/proc")
    try:
        return _start_time(file.read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        if _exists(pid):
            raise PermissionError(errno.EACCES, "/proc hides that process", str(file)) from None
        return ""


def _exists(pid: int) -> bool:
    """Return whether the kernel knows the process; a signal of 0 is not sent (kill(2))."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def _start_time(status: bytes) -> str:
    """Return field 22 of `/proc/PID/stat`, or nothing for a zombie; field 2 may hold anything."""
    state, *fields = status.rpartition(b")")[2].split()
    return "" if state in _ENDED_STATES else fields[18].decode()
