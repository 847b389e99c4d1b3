"""A look at a run in progress: by the key `t`, or by SIGUSR1 (also SIGINFO, where it exists)."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from isosmoke.interrupt import Interrupt

if TYPE_CHECKING:  # a run in a log needs no keyboard
    from isosmoke.cli.interaction.keyboard import Keyboard

KEY = "t"

_STDIN = 0


def list_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that ask for a look; Linux has no SIGINFO."""
    names = ("SIGUSR1", "SIGINFO")
    return tuple(signal.Signals[name] for name in names if name in signal.Signals.__members__)


def find_keyboard() -> "Keyboard | None":
    """Return the keyboard of the terminal that is stdin; None if it cannot be read."""
    from isosmoke.cli.interaction.keyboard import Keyboard

    keyboard = Keyboard(_STDIN)
    return keyboard if keyboard.is_usable else None


@contextmanager
def listening(
    show: Callable[[], None], interrupt: Interrupt, keyboard: "Keyboard | None"
) -> Iterator[None]:
    """Call `show` in another thread whenever a key or a signal asks for it during the block."""
    asked = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    ended = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    listener = _Listener(asked, ended, interrupt, keyboard)
    thread = Thread(target=listener.listen, args=(show,), name="glances", daemon=True)
    with ExitStack() as stack:
        stack.callback(os.close, asked)
        stack.callback(os.close, ended)
        thread.start()
        stack.callback(thread.join)
        stack.callback(os.eventfd_write, ended, 1)
        for number in list_signals():
            before = signal.signal(number, lambda *_: os.eventfd_write(asked, 1))
            stack.callback(signal.signal, number, before)
        yield


class _Listener:
    """A wait for signals and keys, which ends when `ended` is readable."""

    def __init__(
        self, asked: int, ended: int, interrupt: Interrupt, keyboard: "Keyboard | None"
    ) -> None:
        self._asked, self._ended, self._interrupt = asked, ended, interrupt
        self._keyboard = keyboard

    def listen(self, show: Callable[[], None]) -> None:
        """Call `show` for each key or signal that asks for it."""
        poll = select.poll()
        for source in (self._asked, self._ended, self._interrupt.fileno()):
            poll.register(source, select.POLLIN)
        if self._keyboard is not None:
            poll.register(self._keyboard, select.POLLIN)
        while self._ended not in (ready := {number for number, _ in poll.poll()}):
            if self._interrupt.fileno() in ready:
                poll.unregister(self._interrupt)
                self._release(poll)
            elif self._is_asked(ready, poll):
                show()

    def _is_asked(self, ready: set[int], poll: select.poll) -> bool:
        is_asked = self._asked in ready
        if is_asked:
            os.eventfd_read(self._asked)
        if self._keyboard is not None and self._keyboard.fileno() in ready:
            keys = self._keyboard.read()
            if not keys:
                self._release(poll)
            is_asked = is_asked or KEY in keys
        return is_asked

    def _release(self, poll: select.poll) -> None:
        """Stop reading keys: the run ends soon, or the terminal is gone or belongs to another."""
        if self._keyboard is not None:
            poll.unregister(self._keyboard)
            self._keyboard.leave()
            self._keyboard = None
