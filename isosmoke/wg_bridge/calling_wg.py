"""Calls of wg: their process, and the scenarios that their arguments announce."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.host.leases import Lease
from isosmoke.manifest.models import Scenario
from isosmoke.wg_bridge import wg_arguments

_MAX_PROGRAM_WORDS = 3
"""The largest number of words before the arguments: an interpreter, its argument and a script."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """The request that the arguments of `wg done` express; `directory` is that of `--dir`."""

    task: str
    everything: bool = False
    directory: str | None = None

    def select_names(self, scenarios: Iterable[Scenario]) -> tuple[str, ...]:
        """Return the names of the scenarios that wg will request, in its order."""
        return tuple(
            scenario.name
            for scenario in scenarios
            if self.everything or self.task in scenario.owners
        )


def parse_announcement(command: Sequence[str]) -> Announcement | None:
    """Parse the command line of a `wg done`; return None if it is the one of another command.

    For a wg that is a script, the kernel puts its interpreter, an argument of the interpreter and
    the path of the script before the arguments (execve(2), "Interpreter scripts").
    """
    for start in range(1, _MAX_PROGRAM_WORDS + 1):
        with suppress(UsageError):
            call = wg_arguments.parse(command[start:])
            if call:
                return Announcement(call.task, call.full, call.directory)
    return None


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
