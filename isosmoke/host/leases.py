"""Leases: which process something on this machine belongs to, and whether that process runs."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Lease:
    """Which process something belongs to: a pid alone could be anybody's by now.

    `boot` is the kernel's boot id and the PID namespace in which `pid` means that process.
    """

    boot: str
    pid: int
    started: str

    @classmethod
    def mine(cls) -> "Lease":
        """This process."""
        return cls(f"{_boot_id()}-{_namespace()}", os.getpid(), _started(os.getpid()))

    @classmethod
    def parse(cls, text: str) -> "Lease | None":
        """The lease that `text` begins with, as `str` writes it; None where there is none."""
        words = text.split(".")
        held = len(words) >= 3 and words[1].isdecimal()  # noqa: PLR2004 - boot, pid, start
        return cls(words[0], int(words[1]), words[2]) if held else None

    def __str__(self) -> str:
        return f"{self.boot}.{self.pid}.{self.started}"

    @property
    def alive(self) -> bool:
        """Whether that very process still runs; of another PID namespace nobody here can tell."""
        boot, _, namespace = self.boot.rpartition("-")
        if boot != _boot_id() or not self.started:
            return False
        return namespace != _namespace() or _started(self.pid) == self.started


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _namespace() -> str:
    return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")


def _started(pid: int) -> str:
    """The start time in clock ticks since boot; empty for a pid that is free, or a zombie's."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return ""
