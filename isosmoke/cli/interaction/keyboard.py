"""Single keys from a terminal, without Enter, during a block.

The terminal has its former attributes again whenever something else may use it: after the block,
after the first interrupt, and while the process is stopped (Ctrl-Z).
"""

import os
import signal
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from isosmoke.dataclass import dataclass

_LFLAG = 3
_CC = 6
_READ_BYTES = 64


class Keyboard:
    """The keys of the terminal `descriptor`; they are neither echoed nor collected to lines.

    Ctrl-C and Ctrl-Z have their usual effect. Nothing is read or changed in the background, since
    the terminal belongs to another program then.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[Any] | None = None
        self._lock = threading.RLock()  # a signal handler may interrupt a change

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a key is pressed."""
        return self._descriptor

    @property
    def is_usable(self) -> bool:
        """True if the descriptor is a terminal, and this process is in its foreground."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return False

    def enter(self) -> None:
        """Let keys arrive one by one."""
        with self._lock, suppress(termios.error):
            if self._before is None and self.is_usable:
                before = termios.tcgetattr(self._descriptor)
                self._before = before
                attributes = [*before]
                attributes[_LFLAG] &= ~(termios.ICANON | termios.ECHO)
                attributes[_CC] = [*before[_CC]]
                attributes[_CC][termios.VMIN], attributes[_CC][termios.VTIME] = 1, 0
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, attributes)

    def leave(self) -> None:
        """Give the terminal its former attributes."""
        with self._lock, suppress(termios.error):
            before, self._before = self._before, None
            if before is not None and self.is_usable:
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)

    def read(self) -> str:
        """Return the keys that were pressed; empty if there are none, or in the background."""
        with suppress(OSError):
            if self.is_usable:
                return os.read(self._descriptor, _READ_BYTES).decode(errors="replace")
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """The calls before the process stops (Ctrl-Z), and after it has continued."""

    stopping: Callable[[], None]
    continuing: Callable[[], None]


@contextmanager
def reading_keys(keyboard: Keyboard, suspension: Suspension) -> Iterator[None]:
    """Let keys arrive one by one during the block, except while the process is stopped."""

    def stop(_number: int, _frame: object) -> None:
        suspension.stopping()
        keyboard.leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, stop)
        keyboard.enter()
        suspension.continuing()

    handles = signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL
    if handles:
        signal.signal(signal.SIGTSTP, stop)
    keyboard.enter()
    try:
        yield
    finally:
        keyboard.leave()
        if handles:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
