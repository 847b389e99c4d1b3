"""One call of wg: the process it is, and what its words announce."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from isosmoke.host.leases import Lease
from isosmoke.manifest.models import Scenario


@dataclass(frozen=True, slots=True)
class Announced:
    """What `wg done` was asked for, as far as its words tell."""

    task: str
    everything: bool = False

    def owned(self, scenarios: Iterable[Scenario]) -> tuple[str, ...]:
        """The names of the scenarios that wg will ask for, in its order."""
        return tuple(one.name for one in scenarios if self.everything or self.task in one.owners)


def announced(argv: Sequence[str]) -> Announced | None:
    """The task of a command line `wg … done TASK …`; None where it is none."""
    if "done" not in argv[1:]:
        return None
    words = argv[argv.index("done", 1) + 1 :]
    tasks = [one for one in words if not one.startswith("-")]
    return Announced(tasks[0], "--full-smoke" in words) if tasks else None


def argv(pid: int) -> tuple[str, ...]:
    """The command line of a process; empty when it is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(words.decode(errors="surrogateescape").split("\0")[:-1])


@contextmanager
def watched(lease: Lease) -> Iterator[int]:
    """A descriptor that can be read once that very process has ended.

    Raises:
        ProcessLookupError: if it has ended already.
    """
    pidfd = os.pidfd_open(lease.pid)
    try:
        if not lease.is_alive():
            raise ProcessLookupError(lease.pid)
        yield pidfd
    finally:
        os.close(pidfd)
