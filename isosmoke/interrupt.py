"""A flag that another thread or a signal handler raises and that a poll can wait for."""

import os


class Interrupt:
    """Raised at most once; whoever polls `fileno` wakes up."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.reason = ""

    def raise_for(self, reason: str) -> None:
        """Wake every waiter for good; the first reason stays."""
        self.reason = self.reason or reason
        os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        return self._fd

    @property
    def raised(self) -> bool:
        """Whether there is a reason to stop."""
        return bool(self.reason)
