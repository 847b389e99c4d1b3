"""A one-shot flag that a thread or signal handler sets and a poll can wait for."""

import ctypes
import os
import select
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Thread, get_ident
from typing import Any
from weakref import finalize

from isosmoke.errors import ExitCode

_RESET_ON_DELIVERY = 0x80000000
"""SA_RESETHAND of sigaction(2)."""

_STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

_NUDGE = signal.SIGURG
"""A signal that does nothing by default, and so may also arrive late."""

_NUDGE_SECONDS = 0.02

_END = b"\0"
"""A byte that is not the number of a signal."""


def wait_readable(descriptor: int, seconds: float) -> bool:
    """Wait at most `seconds` until `descriptor` is readable; return whether it is.

    This uses poll(2), since select(2) only supports the first 1024 descriptors of a process.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Interrupt:
    """A flag that stays set once raised; it wakes every poll on `fileno`."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        finalize(self, os.close, self._fd)
        self.reason = ""

    def raise_for(self, reason: str) -> None:
        """Set the flag for good and wake every waiter; the first reason is kept."""
        self.reason = self.reason or reason
        os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable once the flag is set."""
        return self._fd

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`; return whether the flag is set."""
        return wait_readable(self._fd, seconds)

    @property
    def is_raised(self) -> bool:
        """True if the flag is set."""
        return bool(self.reason)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that the flag ended."""
        return ExitCode.for_signal(self.reason)


@contextmanager
def interruptible(interrupt: Interrupt | None = None) -> Iterator[Interrupt]:
    """Raise the interrupt on the first SIGINT, SIGTERM or SIGHUP.

    A second signal ends the process immediately. This is safe too, since a sandbox ends with the
    process that created it. SIGHUP stays ignored under nohup.
    """
    target = interrupt or Interrupt()

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        target.raise_for(signal.Signals(number).name)

    before = _install(stop)
    try:
        with prompt_handlers():
            yield target
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exit_on_signal(interrupt: Interrupt) -> Iterator[None]:
    """Raise `SystemExit` in the block on the first signal that `interruptible` would note.

    This also ends a wait for a pipe. The block therefore has only steps that may end anywhere. A
    second signal ends the process immediately.
    """
    if interrupt.is_raised:
        raise SystemExit(interrupt.exit_code)

    def stop(number: int, _: object) -> None:
        for other in before:
            signal.signal(other, signal.SIG_DFL)
        interrupt.raise_for(signal.Signals(number).name)
        raise SystemExit(interrupt.exit_code)

    before = _install(stop)
    try:
        with prompt_handlers():
            yield
    finally:
        if not interrupt.is_raised:
            for number, handler in before.items():
                signal.signal(number, handler)
                _reset_on_delivery(number)  # as `interruptible` had it


def _install(handler: Callable[[int, object], None]) -> Mapping[signal.Signals, Any]:
    """Handle the first of each stopping signal, but no ignored SIGHUP; return the old handlers."""
    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    before = {number: signal.signal(number, handler) for number in _STOPPING - ignored}
    for number in before:
        _reset_on_delivery(number)
    return before


@contextmanager
def prompt_handlers() -> Iterator[None]:
    """Run the handler of a signal soon, also while the main thread waits.

    Python runs handlers in the main thread, between two of its own instructions. A signal that
    arrives after the last one before a wait, or that the kernel delivers to another thread, would
    be handled when the wait ends, which may be never. The handler in C writes at once
    (signal.set_wakeup_fd), and a thread then interrupts the wait until the handler has run.
    """
    with ExitStack() as stack:
        arrivals, written = os.pipe2(os.O_CLOEXEC)
        handled = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        for descriptor in (arrivals, written, handled):
            stack.callback(os.close, descriptor)
        os.set_blocking(written, False)
        handler = signal.signal(_NUDGE, lambda *_: os.eventfd_write(handled, 1))
        stack.callback(signal.signal, _NUDGE, handler or signal.SIG_DFL)
        nudger = Thread(target=_nudge, args=(get_ident(), arrivals, handled), name="signals")
        nudger.start()
        stack.callback(_join, nudger)
        stack.callback(os.write, written, _END)
        before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        stack.callback(signal.set_wakeup_fd, before)
        yield


def _nudge(thread: int, arrivals: int, handled: int) -> None:
    """Interrupt what a thread does whenever a signal arrives, until `_END` does.

    The handlers of all signals that have arrived run together. It is therefore enough that the one
    of the nudge has run.
    """
    while _END not in (numbers := os.read(arrivals, 4096)):
        if set(numbers) <= {_NUDGE}:
            continue
        _take(handled, 0)
        signal.pthread_kill(thread, _NUDGE)
        while not _take(handled, _NUDGE_SECONDS):
            signal.pthread_kill(thread, _NUDGE)


def _take(event: int, seconds: float) -> bool:
    """Wait for an event and reset it; return whether it happened within this time."""
    has_happened = wait_readable(event, seconds)
    if has_happened:
        os.eventfd_read(event)
    return has_happened


def _join(thread: Thread) -> None:
    """Wait for the end of a thread, also if the handler of a signal raises meanwhile."""
    try:
        thread.join()
    finally:
        thread.join()  # a second signal ends the process


class _Action(ctypes.Structure):
    """`struct sigaction` of glibc and musl on 64-bit Linux (sigaction(2))."""

    _fields_ = [  # type: ignore[mutable-override]
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_uint),
        ("restorer", ctypes.c_void_p),
    ]


def _reset_on_delivery(number: int) -> None:
    """Let the kernel restore the default action of a signal when it delivers the first one.

    Python runs a handler between two of its own instructions only. While a library computes, that
    may be never, and so it is not the handler that makes the second signal end the process.
    """
    libc = ctypes.CDLL(None)
    action = _Action()
    libc.sigaction(number, None, ctypes.byref(action))
    action.flags |= _RESET_ON_DELIVERY
    libc.sigaction(number, ctypes.byref(action), None)
