"""A flag that another thread or a signal raises and that a poll can wait for."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import finalize

_STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def readable(descriptor: int, seconds: float) -> bool:
    """Wait so long at most for something to read; whether there is.

    By poll(2), for select(2) knows the first 1024 descriptors of a process only.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Interrupt:
    """Raised at most once; whoever polls `fileno` wakes up."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        finalize(self, os.close, self._fd)
        self.reason = ""

    def raise_for(self, reason: str) -> None:
        """Wake every waiter for good; the first reason stays."""
        self.reason = self.reason or reason
        os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        return self._fd

    def within(self, seconds: float) -> bool:
        """Wait so long at most; whether it is raised."""
        return readable(self._fd, seconds)

    @property
    def raised(self) -> bool:
        """Whether there is a reason to stop."""
        return bool(self.reason)


@contextmanager
def interruptible(interrupt: Interrupt | None = None) -> Iterator[Interrupt]:
    """The first SIGINT, SIGTERM or SIGHUP raises the interrupt; a second one ends it all at once.

    At once is safe as well: a sandbox ends with the process that made it. Under nohup SIGHUP stays
    ignored.
    """
    raised = interrupt or Interrupt()

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raised.raise_for(signal.Signals(number).name)

    deaf = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    before = {number: signal.signal(number, stop) for number in _STOPPING - deaf}
    try:
        yield raised
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
