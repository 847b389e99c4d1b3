"""Locks of this machine: attempts of one user with the same lock never run at the same time.

They end with the process that holds them. An order of another client may hold one, so a lock is
waited for, and the interrupt ends the wait.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from isosmoke.host import files, state
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.exchange import StoppedError

_POLL_SECONDS = 0.05


@contextmanager
def held(names: Iterable[str], interrupt: Interrupt) -> Iterator[None]:
    """Hold these locks; they are acquired in a fixed order, which prevents a deadlock.

    Raises:
        StoppedError: if the interrupt is raised during the wait.
    """
    with ExitStack() as stack:
        for name in sorted(set(names)):
            digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]
            path = state.ensure_directory("machine-locks") / digest
            file = stack.enter_context(files.open_file(path, os.O_RDWR | os.O_CREAT, 0o600))
            _acquire(file, interrupt)
        yield


def _acquire(file: int, interrupt: Interrupt) -> None:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if interrupt.wait(_POLL_SECONDS):
                raise StoppedError(interrupt.reason) from None
        else:
            return
