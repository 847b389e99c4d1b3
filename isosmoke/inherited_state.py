"""The start of a process: imports, and the state that it inherits, the same for every parent.

A parent may have closed standard streams, may ignore or block signals, and may have set a file mode
mask under which even the owner of a new directory cannot enter it.
"""

import atexit
import gc
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_STREAMS = (0, 1, 2)

_KEPT_SIGNALS = frozenset(
    {
        *(signal.SIGHUP, signal.SIGINT, signal.SIGTERM),  # nohup(1), a shell's background jobs
        *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),  # a shell without job control
        *(signal.SIGPIPE, signal.SIGXFSZ),  # Python itself ignores these, and raises OSError
        *(signal.SIGKILL, signal.SIGSTOP),
    }
)
"""The signals that stay ignored if the parent ignores them, or that cannot be changed."""

_PASSED_OVER = frozenset({signal.SIGUSR1, signal.SIGUSR2})
"""The signals that would end a run by default; a run may show its state for the first."""


class ErrorStream(io.TextIOWrapper):
    """A stderr whose loss ends nothing: after the first failed write, all text is dropped."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            self._drop_all()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._drop_all()

    def _drop_all(self) -> None:
        """Redirect the descriptor, as Python retries what it could not write when it exits."""
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


@contextmanager
def importing() -> Iterator[None]:
    """Import modules in the block without a search for garbage.

    All objects that an import creates stay, so the garbage collector has nothing to find there.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def reset_inherited_state() -> None:
    """Open missing standard streams, encode them as UTF-8, and reset signals and the mode mask."""
    _open_missing_streams()
    _encode_streams()
    _reset_signals()
    os.umask(os.umask(0) & ~0o700)


def _open_missing_streams() -> None:
    """Open /dev/null as each closed standard descriptor, or the next file would get its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) in _STREAMS:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - it has no name
    os.close(descriptor)


def _encode_streams() -> None:
    """Write UTF-8 in any locale; what UTF-8 cannot encode is written as an escape sequence."""
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = _wrap(sys.stdout, 1, io.TextIOWrapper)
    sys.stderr = _wrap(sys.stderr, 2, ErrorStream)


def _wrap(stream: TextIO | None, descriptor: int, kind: type[io.TextIOWrapper]) -> io.TextIOWrapper:
    """Return a new stream over the buffer of `stream`, or over the descriptor if that is None."""
    if isinstance(stream, io.TextIOWrapper):
        buffer = stream.detach()
    else:
        buffer = io.BufferedWriter(io.FileIO(descriptor, "wb", closefd=False))
    is_interactive = kind is ErrorStream or buffer.isatty()
    return kind(buffer, "utf-8", "backslashreplace", line_buffering=is_interactive)


def _reset_signals() -> None:
    """Unblock all signals, and give those their default action that the parent ignores."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - _KEPT_SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for number in _PASSED_OVER:
        signal.signal(number, _pass_over)  # a handler, for a child inherits SIG_IGN
    atexit.register(_ignore_to_the_end)  # the first to be registered is the last to be called


def _ignore_to_the_end() -> None:
    """Ignore the signals without a meaning, as Python resets handlers while it ends."""
    for number in _PASSED_OVER:
        signal.signal(number, signal.SIG_IGN)


def _pass_over(_number: int, _frame: object) -> None:
    """Continue as before."""
