"""A one-shot flag that a thread or signal handler sets and a poll can wait for."""

import ctypes
import os
import select
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import finalize

_RESET_ON_DELIVERY = 0x80000000
"""SA_RESETHAND of sigaction(2)."""

_STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


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
        raise SystemExit(_get_exit_code(interrupt))

    def stop(number: int, _: object) -> None:
        for other in before:
            signal.signal(other, signal.SIG_DFL)
        interrupt.raise_for(signal.Signals(number).name)
        raise SystemExit(_get_exit_code(interrupt))

    before = _install(stop)
    try:
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


def _get_exit_code(interrupt: Interrupt) -> int:
    """Return the exit code that a shell reports for SIGTERM, or else for SIGINT."""
    return 128 + (signal.SIGTERM if interrupt.reason == "SIGTERM" else signal.SIGINT)


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
