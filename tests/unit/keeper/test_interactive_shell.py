"""The interactive shell with a fake keeper: input, output, resizing and endings."""

import socket
import struct
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from isosmoke.interrupt import Interrupt
from isosmoke.keeper import interactive_shell, protocol
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.exchange import RefusedError, StoppedError
from isosmoke.keeper.protocol import Size, encode_frame
from isosmoke.sandbox.spec import Job, ResourceLimits, SandboxSpec
from isosmoke.testing.bench import Typist

SCREEN = Size(24, 80)


class Keeper:
    """The other end of the channel: it first sends `output`, then answers input."""

    def __init__(self, output: bytes = b"", *, accepts_input: bool = True) -> None:
        self._runner, self._own = socket.socketpair()
        self._accepts_input = accepts_input
        self.send(output)
        self.commands: list[tuple[bytes, bytes]] = []

    def send(self, content: bytes) -> None:
        self._own.sendall(content)

    def fileno(self) -> int:
        return self._runner.fileno()

    def read(self) -> bytes:
        return self._runner.recv(1 << 16)

    def write_fileno(self) -> int:
        return self._runner.fileno()

    def write(self, content: bytes) -> int:
        kind, payload = content[:1], content[5:]
        self.commands.append((kind, payload))
        if kind == b"i" and payload in (b"bye\n", b""):
            self.send(encode_exit(0))
        elif kind == b"i" and self._accepts_input:
            self.send(encode_frame(b"y", struct.pack(">I", len(payload))))
        elif kind == b"i" and self.input_size == 1 << 14:
            self.send(encode_exit(3))
        return len(content)

    @property
    def input_size(self) -> int:
        """The size of the input so far, in bytes."""
        return sum(len(payload) for kind, payload in self.commands if kind == b"i")

    def close(self) -> None:
        self._runner.close()
        self._own.close()


def encode_exit(status: int) -> bytes:
    """Return the frame of a shell that ended."""
    return encode_frame(b"H", struct.pack(">I", status))


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    """Return a keeper whose shell has printed a prompt."""
    keeper = Keeper(encode_frame(b"h", b"$ "))
    yield keeper
    keeper.close()


def run_shell(keeper: Keeper, user: Typist, interrupt: Interrupt | None = None) -> int:
    """Run a shell of this keeper for a user, and return its raw wait status."""
    spec = SandboxSpec(
        label="one",
        image="host",
        mounts=(),
        uid=0,
        gid=0,
        network="host",
        limits=ResourceLimits(processes=9),
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
    conversation = Conversation(keeper, sink=print, interrupt=interrupt or Interrupt())
    with user:
        return interactive_shell.run_shell(conversation, job, user)


def test_shell_is_started_with_limits_and_terminal(keeper: Keeper) -> None:
    """The shell is the job's command, with its directory, environment and limits."""
    run_shell(keeper, Typist(("$ ", b"bye\n"), size=SCREEN))
    wanted = protocol.encode_shell(
        ("bash",), PurePosixPath("/"), {"A": "1"}, size=SCREEN, processes=9, open_files=None
    )

    assert keeper.commands[0] == (b"s", wanted[5:])


def test_both_streams_are_shown(keeper: Keeper) -> None:
    """Each output of the shell is shown unchanged."""
    keeper.send(encode_frame(b"j", b"oh") + encode_frame(b"h", b"last") + encode_exit(256))
    user = Typist(size=None)

    assert run_shell(keeper, user) == 256
    assert user.printed == {"stdout": b"$ last", "stderr": b"oh"}


def test_new_size_is_sent_before_later_input(keeper: Keeper) -> None:
    """A resize is sent once, before the input that follows it."""
    run_shell(keeper, Typist(("$ ", Size(9, 33)), ("$ ", b"bye\n"), size=SCREEN))

    assert [kind for kind, _ in keeper.commands] == [b"s", b"w", b"i"]
    assert keeper.commands[1] == (b"w", struct.pack(">HH", 9, 33))


def test_end_of_input_is_sent_once(keeper: Keeper) -> None:
    """Without a terminal, the end of the input is sent and no more input is read."""
    user = Typist(("$ ", b"ls\n"), ("$ ", b""), size=None)

    assert run_shell(keeper, user) == 0
    assert keeper.commands[1:] == [(b"i", b"ls\n"), (b"i", b"")]


def test_input_in_transit_is_limited_to_the_window() -> None:
    """A shell that accepts no input is sent only one window of it."""
    keeper = Keeper(encode_frame(b"h", b"$ "), accepts_input=False)
    user = Typist(("$ ", b"x" * 60_000), size=SCREEN)

    assert run_shell(keeper, user) == 3
    assert keeper.input_size == 1 << 14
    keeper.close()


def test_lost_terminal_ends_the_shell(keeper: Keeper) -> None:
    """The session stops if the user's terminal is gone."""
    with pytest.raises(StoppedError, match="terminal is gone"):
        run_shell(keeper, Typist(("$ ", b""), size=SCREEN))


def test_interrupt_ends_the_shell(keeper: Keeper) -> None:
    """A signal to isosmoke ends the shell."""
    interrupt = Interrupt()
    interrupt.raise_for("SIGTERM")
    with pytest.raises(StoppedError, match="SIGTERM"):
        run_shell(keeper, Typist(size=SCREEN), interrupt)


def test_refusal_is_an_error_with_the_reason(keeper: Keeper) -> None:
    """If no terminal can be opened, the error has the keeper's message."""
    keeper.send(encode_frame(b"N", b"starting the shell: No space left on device"))
    with pytest.raises(RefusedError, match="No space left"):
        run_shell(keeper, Typist(size=SCREEN))


def test_output_of_survivors_is_not_shown(keeper: Keeper) -> None:
    """Output of a resumed process is not shown to the user of the shell."""
    keeper.send(encode_frame(b"o", b"leaked") + encode_exit(0))
    user = Typist(size=SCREEN)
    run_shell(keeper, user)

    assert user.printed["stdout"] == b"$ "
