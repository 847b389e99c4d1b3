"""Calls of wg: their process, and the scenarios that their arguments announce."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from isosmoke.host.leases import Lease
from isosmoke.manifest.models import Scenario


@dataclass(frozen=True, slots=True)
class Announcement:
    """The request that the arguments of `wg done` express."""

    task: str
    everything: bool = False

    def select_names(self, scenarios: Iterable[Scenario]) -> tuple[str, ...]:
        """Return the names of the scenarios that wg will request, in its order."""
        return tuple(
            scenario.name
            for scenario in scenarios
            if self.everything or self.task in scenario.owners
        )


def parse_announcement(command: Sequence[str]) -> Announcement | None:
    """Parse a command line `wg … done TASK …`; return None if it is not of that form."""
    if "done" not in command[1:]:
        return None
    arguments = command[command.index("done", 1) + 1 :]
    tasks = [argument for argument in arguments if not argument.startswith("-")]
    return Announcement(tasks[0], "--full-smoke" in arguments) if tasks else None


def read_argv(pid: int) -> tuple[str, ...]:
    """Return the command line of a process; empty if it has ended."""
    try:
        content = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(content.decode(errors="surrogateescape").split("\0")[:-1])


@contextmanager
def watch_process(lease: Lease) -> Iterator[int]:
    """Yield a descriptor that becomes readable when the process of the lease ends.

    Raises:
        ProcessLookupError: if the process has already ended.
    """
    pidfd = os.pidfd_open(lease.pid)
    try:
        if not lease.is_alive():
            raise ProcessLookupError(lease.pid)
        yield pidfd
    finally:
        os.close(pidfd)
