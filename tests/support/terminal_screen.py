"""A program at a real terminal, with a user who reads and types."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

_WAIT_SECONDS = 60.0

_LEAD = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Screen:
    """The master side of the terminal; `seen` is all that was printed on it."""

    def __init__(self, master: int, slave: int) -> None:
        self._master, self._slave = master, slave
        self.seen = b""
        self._read = 0

    def settings(self) -> list[Any]:
        """Return the terminal's attributes, as in termios(3)."""
        return termios.tcgetattr(self._slave)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size, as a window manager does."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press these keys."""
        os.write(self._master, keys.encode())

    def wait_for(self, text: str) -> None:
        """Wait until this text is printed, after the text of the previous wait."""
        deadline = monotonic() + _WAIT_SECONDS
        while text.encode() not in self.seen[self._read :]:
            remaining = deadline - monotonic()
            if remaining < 0 or not select.select([self._master], [], [], remaining)[0]:
                shown = self.seen[self._read :].decode(errors="replace")
                raise AssertionError(f"{text!r} is not seen after {shown!r}")
            self.seen += os.read(self._master, 1 << 16)
        self._read = self.seen.index(text.encode(), self._read) + len(text.encode())

    def clear(self) -> None:
        """Read the remaining output of a program that has ended."""
        while select.select([self._master], [], [], 0)[0]:
            self.seen += os.read(self._master, 1 << 16)


@contextmanager
def program(
    command: Sequence[str], *, working: Path, environment: Mapping[str, str]
) -> Iterator[tuple[Screen, "subprocess.Popen[bytes]"]]:
    """Start a program in its own session, at a terminal of 24 rows and 80 columns."""
    master, slave = pty.openpty()
    screen = Screen(master, slave)
    screen.resize(24, 80)
    process = subprocess.Popen(
        [sys.executable, "-c", _LEAD, *command],
        cwd=working,
        env=dict(environment),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    try:
        yield screen, process
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
