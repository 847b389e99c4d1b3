"""Who sits at a shell here: a terminal is given back on every way out, and lines need none."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from isosmoke.repro.shell_input import write
from support import terminal_screen

_SEATED = """
import sys
from isosmoke.repro.shell_input import seat
with seat() as user:
    print("seated at", user.size, end="\\r\\n", flush=True)
    {}
"""


def _seated(line: str) -> list[str]:
    return [sys.executable, "-c", _SEATED.format(line)]


def test_exception_gives_the_terminal_back(tmp_path: Path) -> None:
    """Whatever goes wrong while somebody sits there, the terminal is an ordinary one afterwards."""
    command = [sys.executable, "-c", f"input(); exec({_SEATED.format('input(); 1 / 0')!r})"]
    with terminal_screen.program(command, working=tmp_path, environment=os.environ) as (
        screen,
        one,
    ):
        before = screen.settings()
        screen.type("\r")
        screen.see("seated at Size(rows=24, columns=80)")
        assert screen.settings() != before
        screen.type("\n")
        assert one.wait(60) == 1
        assert screen.settings() == before


def test_new_size_is_told(tmp_path: Path) -> None:
    """SIGWINCH makes the descriptor for it readable, and the size is the terminal's."""
    line = "import select; select.select([user.resizes], [], []); print(user.resized(), flush=True)"
    with terminal_screen.program(_seated(line), working=tmp_path, environment=os.environ) as (
        screen,
        one,
    ):
        screen.see("seated")
        screen.resize(9, 33)
        screen.see("Size(rows=9, columns=33)")
        assert one.wait(60) == 0


def test_terminal_that_hangs_up_has_typed_its_last(tmp_path: Path) -> None:
    """A terminal that is gone reads as the end of what is typed, and is no error."""
    line = "import os; os.close(0); print(user.typed(9) == b'', flush=True)"
    done = subprocess.run(
        _seated(line), stdin=subprocess.DEVNULL, capture_output=True, check=True, cwd=tmp_path
    )

    assert done.stdout.split() == [b"seated", b"at", b"None", b"True"]


def test_earlier_handler_of_sizes_comes_back(tmp_path: Path) -> None:
    """After the seat nobody is told of sizes who was not before."""
    code = (
        "import signal; from isosmoke.repro.shell_input import seat\n"
        "with seat(): inside = signal.getsignal(signal.SIGWINCH)\n"
        "print(callable(inside), signal.getsignal(signal.SIGWINCH) == signal.SIG_DFL, flush=True)"
    )
    command = [sys.executable, "-c", code]
    with terminal_screen.program(command, working=tmp_path, environment=os.environ) as (
        screen,
        one,
    ):
        screen.see("True True")
        assert one.wait(60) == 0


def test_all_is_written_where_writing_does_not_block() -> None:
    """Whoever shares the terminal may have made it non-blocking: what is shown is whole, no error.

    What a command prints would else end its sandbox, and be its verdict.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    content = bytes(range(256)) * 4096
    seen: list[bytes] = []
    with os.fdopen(reading, "rb") as file:
        reader = threading.Thread(target=lambda: seen.append(file.read()))
        reader.start()
        try:
            write(writing, content)
        finally:
            os.close(writing)
            reader.join()

    assert seen == [content]
