"""Who sits at a shell, with a keeper that is played: what is typed, shown, resized and ended."""

import socket
import struct
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from isosmoke.interrupt import Interrupt
from isosmoke.keeper import interactive_shell, protocol
from isosmoke.keeper.client import Conversation, RefusedError, StoppedError
from isosmoke.keeper.protocol import Size, frame
from isosmoke.sandbox.spec import Job, Limits, SandboxSpec
from isosmoke.testing.bench import Typist

SCREEN = Size(24, 80)


class Keeper:
    """The other end: it starts with `says`, and takes what is typed where it `takes` it."""

    def __init__(self, says: bytes = b"", *, takes: bool = True) -> None:
        self._runner, self._own = socket.socketpair()
        self._takes = takes
        self.says(says)
        self.commands: list[tuple[bytes, bytes]] = []

    def says(self, content: bytes) -> None:
        self._own.sendall(content)

    def fileno(self) -> int:
        return self._runner.fileno()

    def read(self) -> bytes:
        return self._runner.recv(1 << 16)

    def outlet(self) -> int:
        return self._runner.fileno()

    def write(self, content: bytes) -> int:
        kind, payload = content[:1], content[5:]
        self.commands.append((kind, payload))
        if kind == b"i" and payload in (b"bye\n", b""):
            self.says(left(0))
        elif kind == b"i" and self._takes:
            self.says(frame(b"y", struct.pack(">I", len(payload))))
        elif kind == b"i" and self.typed == 1 << 14:
            self.says(left(3))
        return len(content)

    @property
    def typed(self) -> int:
        """How many bytes were typed."""
        return sum(len(payload) for kind, payload in self.commands if kind == b"i")

    def close(self) -> None:
        self._runner.close()
        self._own.close()


def left(status: int) -> bytes:
    """The frame of a shell that ended."""
    return frame(b"H", struct.pack(">I", status))


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    """A keeper that has printed a prompt."""
    made = Keeper(frame(b"h", b"$ "))
    yield made
    made.close()


def sit(keeper: Keeper, user: Typist, interrupt: Interrupt | None = None) -> int:
    """Sit at a shell of this keeper."""
    spec = SandboxSpec(
        label="one",
        image="host",
        mounts=(),
        uid=0,
        gid=0,
        network="host",
        limits=Limits(processes=9),
    )
    job = Job(
        spec=spec,
        argv=("bash",),
        folder=PurePosixPath("/"),
        environment={"A": "1"},
        timeout=0,
        grace=0,
        settle=0,
    )
    talk = Conversation(keeper, sink=print, interrupt=interrupt or Interrupt())
    with user:
        return interactive_shell.attend(talk, job, user)


def test_shell_is_started_with_limits_and_terminal(keeper: Keeper) -> None:
    """The shell is the job's command, with its folder, environment and limits."""
    sit(keeper, Typist(("$ ", b"bye\n"), size=SCREEN))
    wanted = protocol.shell(
        ("bash",), PurePosixPath("/"), {"A": "1"}, size=SCREEN, processes=9, open_files=None
    )

    assert keeper.commands[0] == (b"s", wanted[5:])


def test_both_streams_are_shown(keeper: Keeper) -> None:
    """What the shell prints is shown as it came, up to its end."""
    keeper.says(frame(b"j", b"oh") + frame(b"h", b"last") + left(256))
    user = Typist(size=None)

    assert sit(keeper, user) == 256
    assert user.seen == {"stdout": b"$ last", "stderr": b"oh"}


def test_new_size_is_passed_on_before_what_is_typed_then(keeper: Keeper) -> None:
    """A resize is told to the shell, once."""
    sit(keeper, Typist(("$ ", Size(9, 33)), ("$ ", b"bye\n"), size=SCREEN))

    assert [kind for kind, _ in keeper.commands] == [b"s", b"w", b"i"]
    assert keeper.commands[1] == (b"w", struct.pack(">HH", 9, 33))


def test_end_of_lines_is_passed_on_once(keeper: Keeper) -> None:
    """Without a terminal the end of the input is told, and nobody asks for more."""
    user = Typist(("$ ", b"ls\n"), ("$ ", b""), size=None)

    assert sit(keeper, user) == 0
    assert keeper.commands[1:] == [(b"i", b"ls\n"), (b"i", b"")]


def test_no_more_is_typed_ahead_than_a_window() -> None:
    """A shell that takes nothing is sent a window's worth, and the rest waits for it."""
    keeper = Keeper(frame(b"h", b"$ "), takes=False)
    user = Typist(("$ ", b"x" * 60_000), size=SCREEN)

    assert sit(keeper, user) == 3
    assert keeper.typed == 1 << 14
    keeper.close()


def test_terminal_that_is_gone_ends_it(keeper: Keeper) -> None:
    """Nobody is left to see anything, so nothing goes on."""
    with pytest.raises(StoppedError, match="terminal is gone"):
        sit(keeper, Typist(("$ ", b""), size=SCREEN))


def test_interrupt_ends_it(keeper: Keeper) -> None:
    """A signal to isosmoke ends the shell like everything else."""
    interrupt = Interrupt()
    interrupt.raise_for("SIGTERM")
    with pytest.raises(StoppedError, match="SIGTERM"):
        sit(keeper, Typist(size=SCREEN), interrupt)


def test_refusal_is_told(keeper: Keeper) -> None:
    """Where no terminal can be had, the keeper's words say why."""
    keeper.says(frame(b"N", b"starting the shell: No space left on device"))
    with pytest.raises(RefusedError, match="No space left"):
        sit(keeper, Typist(size=SCREEN))


def test_output_of_survivors_is_not_the_shells(keeper: Keeper) -> None:
    """What a thawed process prints does not get onto the user's screen."""
    keeper.says(frame(b"o", b"leaked") + left(0))
    user = Typist(size=SCREEN)
    sit(keeper, user)

    assert user.seen["stdout"] == b"$ "
