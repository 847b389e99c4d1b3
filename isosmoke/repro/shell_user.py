"""The user of a shell: a person at a terminal, or lines from a pipe."""

import math
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from isosmoke.dataclass import dataclass
from isosmoke.interrupt import Interrupt, prompt_handlers
from isosmoke.keeper.events import ShellOutput
from isosmoke.keeper.interactive_shell import User
from isosmoke.keeper.protocol import Size
from isosmoke.keeper.running_time_deadline import SLICE_SECONDS, Deadline

_DEFAULT_SIZE = Size(24, 80)
"""The size of a terminal that does not report its own."""


class LocalUser:
    """The user of `keyboard`; without a terminal `size` is None and never changes."""

    def __init__(
        self, keyboard: int, resizes: int, interrupt: Interrupt, *, has_terminal: bool
    ) -> None:
        self.keyboard = keyboard
        self.resizes = resizes
        self._interrupt = interrupt
        self._has_terminal = has_terminal
        self._screens = {"stdout": sys.stdout.fileno(), "stderr": sys.stderr.fileno()}

    @property
    def size(self) -> Size | None:
        return measure_terminal(self.keyboard) if self._has_terminal else None

    def typed(self, most: int) -> bytes:
        try:
            return os.read(self.keyboard, most)
        except OSError:  # the terminal hung up, or stdin was never open
            return b""

    def read_size(self) -> Size:
        reset_resizes(self.resizes)
        return measure_terminal(self.keyboard)

    def show(self, output: ShellOutput) -> None:
        write_until_interrupted(self._screens[output.stream], self._interrupt, output.content)


def measure_terminal(descriptor: int) -> Size:
    """Return the size of a terminal, or a default if it does not know its own."""
    columns, rows = os.get_terminal_size(descriptor)
    return Size(rows, columns) if rows and columns else _DEFAULT_SIZE


@contextmanager
def resize_events(*, has_terminal: bool) -> Iterator[int]:
    """Yield an event that happens when the terminal may have a new size; without one, never.

    Call it in the main thread, which handles signals.
    """
    with ExitStack() as stack:
        resizes = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        stack.callback(os.close, resizes)
        if has_terminal:
            handler = signal.signal(signal.SIGWINCH, lambda *_: os.eventfd_write(resizes, 1))
            stack.callback(signal.signal, signal.SIGWINCH, handler)
            stack.enter_context(prompt_handlers())
        yield resizes


def reset_resizes(resizes: int) -> None:
    """Reset the event of a new size, whether it has happened or not."""
    with suppress(BlockingIOError):
        os.eventfd_read(resizes)


@dataclass(slots=True)
class Patience:
    """The time in seconds for which isosmoke waits, in total, for the readers of its output.

    It ends early if `interrupt` is raised.
    """

    interrupt: Interrupt
    seconds: float = math.inf

    def wait_until_writable(self, descriptor: int) -> None:
        """Wait until a descriptor is writable, or fails at once.

        Raises:
            TimeoutError: if the patience ends first.
        """
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.register(self.interrupt.fileno(), select.POLLIN)
        deadline = Deadline(self.seconds)
        while True:
            ready = dict(poll.poll(min(self.seconds, SLICE_SECONDS) * 1000))
            self.seconds = deadline.look()
            if descriptor in ready:
                return
            if ready or not self.seconds:
                raise TimeoutError("the output was not read in time")


def write_all(descriptor: int, content: bytes, patience: Patience) -> None:
    """Write all of `content`, even if the descriptor is slow or made non-blocking elsewhere.

    A pipe that is writable has space for `PIPE_BUF` bytes, so that no write blocks.

    Raises:
        TimeoutError: if the patience ends before; a part may have been written.
    """
    while content:
        patience.wait_until_writable(descriptor)
        with suppress(BlockingIOError):
            content = content[os.write(descriptor, content[: select.PIPE_BUF]) :]


def write_until_interrupted(descriptor: int, interrupt: Interrupt, content: bytes) -> None:
    """Write all of `content`, or a part of it if `interrupt` is raised and nothing reads it."""
    with suppress(TimeoutError):
        write_all(descriptor, content, Patience(interrupt))


@contextmanager
def local_user(interrupt: Interrupt) -> Iterator[User]:
    """Yield the user of this process's stdin; a terminal is in raw mode during the block.

    Once `interrupt` is raised, output that is not read is dropped.
    """
    keyboard = 0
    with ExitStack() as stack:
        has_terminal = os.isatty(keyboard)
        resizes = stack.enter_context(resize_events(has_terminal=has_terminal))
        if has_terminal:
            stack.enter_context(_raw_mode(keyboard))
        yield LocalUser(keyboard, resizes, interrupt, has_terminal=has_terminal)


@contextmanager
def _raw_mode(keyboard: int) -> Iterator[None]:
    """Put the terminal in raw mode, without losing input, and restore its settings at the end."""
    settings = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, settings)
