"""The user of a shell: a terminal is restored in any case, and piped lines need no terminal."""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from isosmoke.interrupt import Interrupt
from isosmoke.repro.shell_user import (
    Patience,
    local_user,
    write_all,
    write_until_interrupted,
)
from support import terminal_screen

_IMPORT = (
    f"from isosmoke.repro.shell_user import {local_user.__name__} as local_user\n"
    "from isosmoke.interrupt import Interrupt"
)

_PROGRAM = f"""
{_IMPORT}
with local_user(Interrupt()) as user:
    print("opened with", user.size, end="\\r\\n", flush=True)
    {{}}
"""


def _create_command(line: str) -> list[str]:
    return [sys.executable, "-c", _PROGRAM.format(line)]


def test_terminal_is_restored_after_exception(tmp_path: Path) -> None:
    """The terminal has its original settings after an exception in the block."""
    command = [sys.executable, "-c", f"input(); exec({_PROGRAM.format('input(); 1 / 0')!r})"]
    with terminal_screen.program(command, working=tmp_path, environment=os.environ) as (
        screen,
        process,
    ):
        before = screen.settings()
        screen.type("\r")
        screen.wait_for("opened with Size(rows=24, columns=80)")
        assert screen.settings() != before
        screen.type("\n")
        assert process.wait(60) == 1
        assert screen.settings() == before


def test_new_size_is_reported(tmp_path: Path) -> None:
    """SIGWINCH makes the descriptor for it readable, and the size is that of the terminal."""
    line = (
        "import select; select.select([user.resizes], [], []); print(user.read_size(), flush=True)"
    )
    with terminal_screen.program(
        _create_command(line), working=tmp_path, environment=os.environ
    ) as (
        screen,
        process,
    ):
        screen.wait_for("opened")
        screen.resize(9, 33)
        screen.wait_for("Size(rows=9, columns=33)")
        assert process.wait(60) == 0


def test_closed_terminal_ends_input(tmp_path: Path) -> None:
    """A closed terminal reads as the end of the input, and is no error."""
    line = "import os; os.close(0); print(user.typed(9) == b'', flush=True)"
    done = subprocess.run(
        _create_command(line),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )

    assert done.stdout.split() == [b"opened", b"with", b"None", b"True"]


def test_previous_handler_of_sizes_is_restored(tmp_path: Path) -> None:
    """The handler of SIGWINCH from before the block is restored."""
    code = (
        f"import signal\n{_IMPORT}\n"
        "with local_user(Interrupt()): inside = signal.getsignal(signal.SIGWINCH)\n"
        "print(callable(inside), signal.getsignal(signal.SIGWINCH) == signal.SIG_DFL, flush=True)"
    )
    command = [sys.executable, "-c", code]
    with terminal_screen.program(command, working=tmp_path, environment=os.environ) as (
        screen,
        process,
    ):
        screen.wait_for("True True")
        assert process.wait(60) == 0


def test_all_output_is_written_to_nonblocking_descriptor() -> None:
    """Output is written completely even if the descriptor was made non-blocking.

    An error would end a command's sandbox and become its verdict.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    content = bytes(range(256)) * 4096
    received: list[bytes] = []
    with os.fdopen(reading, "rb") as file:
        reader = threading.Thread(target=lambda: received.append(file.read()))
        reader.start()
        try:
            write_all(writing, content, Patience(Interrupt()))
        finally:
            os.close(writing)
            reader.join()

    assert received == [content]


@pytest.fixture
def slow() -> Iterator[tuple[int, int]]:
    """Return the ends of a pipe with space for two pages, which nothing reads."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 2 * os.sysconf("SC_PAGE_SIZE"))
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_interrupt_ends_a_write(slow: tuple[int, int]) -> None:
    """Output that nothing reads is dropped once the interrupt is raised, and no write blocks."""
    reading, writing = slow
    interrupt, content = Interrupt(), bytes(range(256)) * 256
    interrupt.raise_for("SIGTERM")

    with pytest.raises(TimeoutError, match="not read"):
        write_all(writing, content, Patience(interrupt))
    write_until_interrupted(writing, interrupt, content)
    written = os.read(reading, len(content))
    assert written == content[: fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)]


def test_patience_ends_a_write(slow: tuple[int, int]) -> None:
    """The time for slow readers is limited in total; a reader that is not slow needs none."""
    reading, writing = slow
    patience = Patience(Interrupt(), 0.25)

    with pytest.raises(TimeoutError):
        write_all(writing, bytes(1 << 16), patience)
    assert patience.seconds == 0
    os.read(reading, 1 << 16)
    write_all(writing, b"read", patience)
    assert os.read(reading, 9) == b"read"


def test_closed_reader_is_an_error_at_once() -> None:
    """A reader that is gone is not waited for."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(BrokenPipeError):
            write_all(writing, b"unread", Patience(Interrupt()))
    finally:
        os.close(writing)
