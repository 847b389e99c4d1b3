"""The standard streams of isosmoke, which a command after `--` takes over."""

import os
import stat
import termios
import tty
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any, Literal

from isosmoke.keeper.events import Output
from isosmoke.keeper.exchange import StoppedError
from isosmoke.keeper.protocol import Size, StreamPlan
from isosmoke.repro.shell_user import (
    Patience,
    measure_terminal,
    reset_resizes,
    resize_events,
    write_all,
)
from isosmoke.runner.output import LineEndings

_STDIN, _STDOUT, _STDERR = 0, 1, 2

_NULL_DEVICE = os.makedev(1, 3)
"""The number of /dev/null (Documentation/admin-guide/devices.txt of the kernel)."""


class CommandStreams:
    """The streams of this process for a command, whose stdout becomes the descriptor `stdout`.

    In the background of its terminal, this process has no keyboard: the kernel would stop it if it
    read from there. In the foreground, the terminal is in raw mode while the command runs, so that
    each key has its effect in the sandbox. The reader of each descriptor in `unread` is known to
    have gone, also if the descriptor has become /dev/null.
    """

    def __init__(
        self,
        plan: StreamPlan,
        patience: Patience,
        *,
        stdin: int,
        stdout: int,
        resizes: int,
        unread: Collection[int] = (),
    ) -> None:
        self.plan = plan
        self._patience = patience
        self.resizes = resizes
        self.has_interrupted = False
        self._stdin, self._stdout = stdin, stdout
        self._settings: list[Any] = []
        self._endings = LineEndings()
        self._unread = unread
        self._broken: list[Literal["stdout", "stderr"]] = []

    @property
    def keyboard(self) -> int | None:
        """The descriptor of the input; None if it must not be read.

        Raises:
            StoppedError: if the terminal hung up.
        """
        if not _is_in_foreground(self._stdin):
            return None
        if self.plan.input == "terminal" and not self._settings:
            try:
                self._settings = termios.tcgetattr(self._stdin)
                tty.setraw(self._stdin, termios.TCSADRAIN)
            except termios.error as error:  # no OSError
                raise StoppedError("the terminal is gone") from error
        return self._stdin

    def typed(self, limit: int, /) -> bytes:
        try:
            content = os.read(self._stdin, limit)
        except BlockingIOError:
            raise
        except OSError:  # a directory, or the terminal hung up
            return b""
        if self._settings:
            self.has_interrupted |= self._settings[6][termios.VINTR] in content
        return content

    def read_size(self) -> Size:
        reset_resizes(self.resizes)
        return measure_terminal(self._stdout)

    def show(self, output: Output) -> None:
        """Print output; a terminal that is not in raw mode adds carriage returns itself.

        Raises:
            TimeoutError: if it is not read in time; from then on, the stream is /dev/null.
            BrokenPipeError: if its reader has gone, of which the command learns next.
        """
        is_cooked = self.plan.output == "terminal" and not self._settings
        content = self._endings.feed(output.content) if is_cooked else output.content
        stream = _STDERR if output.stream == "stderr" else self._stdout
        if stream in self._unread:
            self._broken.append(output.stream)
            return
        try:
            write_all(stream, content, self._patience)
        except TimeoutError:
            _silence(stream)
            raise
        except BrokenPipeError:
            self._broken.append(output.stream)
            raise

    def take_broken(self) -> Collection[Literal["stdout", "stderr"]]:
        broken, self._broken = self._broken, []
        return broken

    @contextmanager
    def attached(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._settings and _is_in_foreground(self._stdin):
                with suppress(termios.error):  # the terminal hung up
                    termios.tcsetattr(self._stdin, termios.TCSADRAIN, self._settings)
            self._settings = []


@contextmanager
def local_streams(
    patience: Patience, *, stdout_taken: bool, unread: Collection[int] = ()
) -> Iterator[CommandStreams]:
    """Yield the streams of this process; call it in the main thread, which handles signals.

    If stdout has a document, all output of the command goes to stderr. Output that is not read is
    dropped when the patience ends. The command has the mode mask of this process.
    """
    stdout = _STDERR if stdout_taken else _STDOUT
    with ExitStack() as stack:
        plan = replace(plan_streams(_STDIN, stdout, _STDERR), mask=_read_mode_mask())
        is_terminal = plan.output == "terminal"
        resizes = stack.enter_context(resize_events(has_terminal=is_terminal))
        stdin = _STDIN if plan.input == "terminal" else stack.enter_context(_reopened(_STDIN))
        yield CommandStreams(
            plan, patience, stdin=stdin, stdout=stdout, resizes=resizes, unread=unread
        )


def _read_mode_mask() -> int:
    """Return the mode mask of this process, which can only be read by changing it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def plan_streams(stdin: int, stdout: int, stderr: int) -> StreamPlan:
    """Return the streams of a command, like those of this process.

    If stdout and stderr are the same file, only one stream keeps the order of what is printed. A
    terminal for the output is also one for the input, if that is a terminal.
    """
    output: Literal["", "joined", "terminal"] = ""
    if os.path.samestat(os.fstat(stdout), os.fstat(stderr)):
        output = "terminal" if os.isatty(stdout) else "joined"
    size = measure_terminal(stdout) if output == "terminal" else None
    if output == "terminal" and os.isatty(stdin):
        return StreamPlan(input="terminal", output=output, size=size)
    is_empty = os.fstat(stdin).st_rdev == _NULL_DEVICE
    return StreamPlan(input="" if is_empty else "passed", output=output, size=size)


def _silence(stream: int) -> None:
    """Redirect a stream of this process to /dev/null, and the other one if it is the same file.

    Reports would otherwise wait for the same reader.
    """
    status = os.fstat(stream)
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    for descriptor in (_STDOUT, _STDERR):
        if os.path.samestat(os.fstat(descriptor), status):
            os.dup2(null, descriptor)
    os.close(null)


def _is_in_foreground(descriptor: int) -> bool:
    """Return whether this process may read from a descriptor: always, if it is no own terminal."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True


@contextmanager
def _reopened(descriptor: int) -> Iterator[int]:
    """Yield another descriptor of a pipe, which never blocks; the given one for other files.

    Another process may read the bytes that poll(2) saw. The flags of the given descriptor belong to
    all of its holders.
    """
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        yield descriptor
        return
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        own = os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:  # a pipe of another user
        yield descriptor
        return
    try:
        yield own
    finally:
        os.close(own)
