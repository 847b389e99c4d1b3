"""Who sits at a shell here: somebody at a terminal, or lines that come from elsewhere."""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from isosmoke.keeper.interactive_shell import User
from isosmoke.keeper.protocol import ShellOutput, Size

_USUAL = Size(24, 80)
"""The size of a terminal that does not know its own."""

_WAKEUPS = 4096
"""How many wake-ups are read at a time."""


class Seat:
    """The user of `keyboard`; without a terminal there is no size, and never another one."""

    def __init__(self, keyboard: int, resizes: int, *, has_terminal: bool) -> None:
        self.keyboard = keyboard
        self.resizes = resizes
        self._has_terminal = has_terminal
        self._screens = {"stdout": sys.stdout.fileno(), "stderr": sys.stderr.fileno()}

    @property
    def size(self) -> Size | None:
        return self._measured() if self._has_terminal else None

    def typed(self, most: int) -> bytes:
        try:
            return os.read(self.keyboard, most)
        except OSError:  # the terminal hung up, or there was never a stdin
            return b""

    def resized(self) -> Size:
        with suppress(BlockingIOError):
            while os.read(self.resizes, _WAKEUPS):
                pass
        return self._measured()

    def show(self, output: ShellOutput) -> None:
        write(self._screens[output.stream], output.content)

    def _measured(self) -> Size:
        columns, rows = os.get_terminal_size(self.keyboard)
        return Size(rows, columns) if rows and columns else _USUAL


def write(descriptor: int, content: bytes) -> None:
    """All of it, however little is taken at a time, also where somebody made it non-blocking."""
    room = select.poll()
    room.register(descriptor, select.POLLOUT)
    while content:
        room.poll()
        with suppress(BlockingIOError):
            content = content[os.write(descriptor, content) :]


@contextmanager
def seat() -> Iterator[User]:
    """Whoever has this process's stdin; a terminal passes every key on, until the block is left."""
    keyboard = 0
    with ExitStack() as stack:
        resizes, wakeups = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        stack.callback(os.close, resizes)
        stack.callback(os.close, wakeups)
        has_terminal = os.isatty(keyboard)
        if has_terminal:
            stack.enter_context(_wakeups_by_signals(wakeups))
            stack.enter_context(_raw(keyboard))
        yield Seat(keyboard, resizes, has_terminal=has_terminal)


@contextmanager
def _wakeups_by_signals(wakeups: int) -> Iterator[None]:
    """Write to `wakeups` whenever a signal arrives that Python handles, SIGWINCH among them.

    Python runs a handler between two of its own instructions. That of a signal that arrives just
    before poll(2) would run once something else ends the poll: so it is the handler in C that
    writes (signal.set_wakeup_fd).
    """
    handler = signal.signal(signal.SIGWINCH, lambda _number, _frame: None)
    descriptor = signal.set_wakeup_fd(wakeups, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        signal.signal(signal.SIGWINCH, handler)


@contextmanager
def _raw(keyboard: int) -> Iterator[None]:
    """What was typed ahead is kept, and the terminal is as it was at the end."""
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
