"""Frames between runner and keeper, both ways, as pure functions: bytes ⇄ commands and events.

A frame is one byte of type, four bytes of payload length (big endian) and the payload.
`keeper.c` beside this file is the other end, and has `VERSION`, `Command` and `EventKind` under the
same names; a test compares them. `VERSION` is raised in both when a frame changes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from struct import Struct
from struct import error as struct_error
from typing import Literal

from isosmoke.sandbox.processes import Usage

VERSION = "3"


class Command(bytes, Enum):
    """The type of a frame to the keeper."""

    GO = b"g"
    TERM = b"t"
    KILL = b"k"
    FREEZE = b"f"
    THAW = b"c"
    LIST = b"l"
    USAGE = b"u"
    PROBE = b"p"
    END_PROBE = b"x"
    SHELL = b"s"
    TYPE = b"i"
    RESIZE = b"w"


class EventKind(bytes, Enum):
    """The type of a frame from the keeper."""

    READY = b"R"
    STDOUT = b"o"
    STDERR = b"e"
    EXITED = b"X"
    EMPTY = b"0"
    FROZEN = b"F"
    THAWED = b"T"
    PROCESS = b"P"
    SOCKETS = b"S"
    LISTED = b"L"
    USED = b"U"
    PROBE_OUTPUT = b"q"
    PROBED = b"Q"
    REFUSED = b"N"
    SHELL_STDOUT = b"h"
    SHELL_STDERR = b"j"
    TOOK = b"y"
    LEFT = b"H"
    BROKEN = b"!"


_HEADER = Struct(">cI")
_LENGTH = Struct(">I")
_SIZE = Struct(">HH")


def frame(kind: bytes, payload: bytes) -> bytes:
    """One frame, ready to be sent."""
    return _HEADER.pack(bytes(kind), len(payload)) + payload


def take_frames(pending: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Remove each whole frame from the front of `pending`; yield its type and its payload."""
    while len(pending) >= _HEADER.size:
        kind, size = _HEADER.unpack_from(pending)
        end = _HEADER.size + size
        if len(pending) < end:
            return
        payload = bytes(pending[_HEADER.size : end])
        del pending[:end]
        yield kind, payload


TERM = frame(Command.TERM, b"")
KILL = frame(Command.KILL, b"")
FREEZE = frame(Command.FREEZE, b"")
THAW = frame(Command.THAW, b"")
LIST = frame(Command.LIST, b"")
USAGE = frame(Command.USAGE, b"")
END_PROBE = frame(Command.END_PROBE, b"")


def go(
    argv: Sequence[str],
    folder: PurePosixPath,
    environment: Mapping[str, str],
    *,
    processes: int | None = None,
    open_files: int | None = None,
    search: str = "",
) -> bytes:
    """The command that starts the script; limits of None leave what the sandbox has.

    The program is looked for in the directories of `search`, or where it is empty in those of the
    environment's own PATH.
    """
    limits = _limit(processes) + _limit(open_files)
    return frame(Command.GO, limits + _job(argv, folder, environment, search))


@dataclass(frozen=True, slots=True)
class Size:
    """How large a terminal is."""

    rows: int
    columns: int


def shell(
    argv: Sequence[str],
    folder: PurePosixPath,
    environment: Mapping[str, str],
    *,
    size: Size | None,
    processes: int | None = None,
    open_files: int | None = None,
) -> bytes:
    """The command that starts a shell at a terminal of its own, or at pipes where size is None."""
    terminal = b"\0\0" if size is None else _limit(size.rows) + _limit(size.columns)
    limits = _limit(processes) + _limit(open_files)
    return frame(Command.SHELL, terminal + limits + _job(argv, folder, environment))


def typed(content: bytes) -> bytes:
    """The command that types into the shell; nothing is the end of its input."""
    return frame(Command.TYPE, content)


def resized(size: Size) -> bytes:
    """The command that gives the shell's terminal another size."""
    return frame(Command.RESIZE, _SIZE.pack(size.rows, size.columns))


def probe(argv: Sequence[str], folder: PurePosixPath, environment: Mapping[str, str]) -> bytes:
    """The command that starts a probe, which the script's limits do not bind."""
    return frame(Command.PROBE, _limit(None) + _limit(None) + _job(argv, folder, environment))


def _limit(most: int | None) -> bytes:
    return b"\0" if most is None else b"%d\0" % most


def _job(
    argv: Sequence[str], folder: PurePosixPath, environment: Mapping[str, str], search: str = ""
) -> bytes:
    variables = (f"{name}={value}" for name, value in environment.items())
    searched = f"PATH={search}" if search else ""
    words = (searched, str(folder), str(len(argv)), *argv, *variables)
    return b"".join(word.encode(errors="surrogateescape") + b"\0" for word in words)


@dataclass(frozen=True, slots=True)
class Ready:
    """The keeper is PID 1, hardened, and waits for `go`."""

    version: str


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes that the script, or what it left behind, printed."""

    stream: Literal["stdout", "stderr"]
    content: bytes


@dataclass(frozen=True, slots=True)
class Exited:
    """The script ended; `status` is the raw wait status (see `os.waitstatus_to_exitcode`)."""

    status: int


@dataclass(frozen=True, slots=True)
class Empty:
    """The script ended and no process but the keeper is left."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """Every survivor was told to stop; `still` when each was seen to have stopped."""

    still: bool


@dataclass(frozen=True, slots=True)
class Thawed:
    """Every process was told to go on."""


@dataclass(frozen=True, slots=True)
class ProbeOutput:
    """Bytes that the probe printed, on either stream."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Probed:
    """The probe is over and nothing of it is left; `status` is its raw wait status."""

    status: int


@dataclass(frozen=True, slots=True)
class Refused:
    """What was asked for could not be done; all else goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class ShellOutput:
    """Bytes that the shell printed; at a terminal all of it is stdout."""

    stream: Literal["stdout", "stderr"]
    content: bytes


@dataclass(frozen=True, slots=True)
class Took:
    """So many bytes of what was typed have gone to the shell."""

    size: int


@dataclass(frozen=True, slots=True)
class Left:
    """The shell ended; `status` is its raw wait status."""

    status: int


@dataclass(frozen=True, slots=True)
class Used:
    """What the script took, and all else that is over."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Survivor:
    """One living process, as raw as `/proc` gives it; `sockets` are inodes."""

    stat: bytes
    cmdline: bytes
    cwd: bytes
    exe: bytes
    sockets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Sockets:
    """A piece of `/proc/net/<table>`."""

    table: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """The list is complete; `uptime` is the sandbox's clock in seconds, for the ages."""

    uptime: float


@dataclass(frozen=True, slots=True)
class Broken:
    """The script could not be started, or the keeper cannot go on."""

    message: str


Judging = Ready | Output | Exited | Empty | Frozen | Survivor | Sockets | Listed | Broken
Event = Judging | Thawed | ProbeOutput | Probed | ShellOutput | Took | Left | Refused | Used


class ProtocolError(Exception):
    """What came over the channel is not a keeper's."""


def _fields(payload: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(payload):
        (size,) = _LENGTH.unpack_from(payload, at)
        at += _LENGTH.size + size
        if at > len(payload):
            raise ValueError("a field is cut short")
        yield payload[at - size : at]


def _survivor(payload: bytes) -> Survivor:
    stat, cmdline, cwd, exe, sockets = _fields(payload)
    return Survivor(stat, cmdline, cwd, exe, frozenset(sockets.decode().split()))


def _used(payload: bytes) -> Used:
    user, system, kibibytes = map(int, payload.split())
    return Used(Usage(user / 1e6, system / 1e6, kibibytes * 1024))


def _sockets(payload: bytes) -> Sockets:
    table, _, content = payload.partition(b"\0")
    return Sockets(table.decode(), content)


_EVENTS: Mapping[bytes, Callable[[bytes], Event]] = {
    EventKind.READY: lambda payload: Ready(payload.decode()),
    EventKind.STDOUT: lambda payload: Output("stdout", payload),
    EventKind.STDERR: lambda payload: Output("stderr", payload),
    EventKind.EXITED: lambda payload: Exited(*_LENGTH.unpack(payload)),
    EventKind.EMPTY: lambda _: Empty(),
    EventKind.FROZEN: lambda payload: Frozen(payload == b"1"),
    EventKind.THAWED: lambda _: Thawed(),
    EventKind.PROCESS: _survivor,
    EventKind.SOCKETS: _sockets,
    EventKind.LISTED: lambda payload: Listed(float(payload.split()[0])),
    EventKind.USED: _used,
    EventKind.PROBE_OUTPUT: ProbeOutput,
    EventKind.PROBED: lambda payload: Probed(*_LENGTH.unpack(payload)),
    EventKind.SHELL_STDOUT: lambda payload: ShellOutput("stdout", payload),
    EventKind.SHELL_STDERR: lambda payload: ShellOutput("stderr", payload),
    EventKind.TOOK: lambda payload: Took(*_LENGTH.unpack(payload)),
    EventKind.LEFT: lambda payload: Left(*_LENGTH.unpack(payload)),
    EventKind.REFUSED: lambda payload: Refused(payload.decode(errors="replace")),
    EventKind.BROKEN: lambda payload: Broken(payload.decode(errors="replace")),
}


def _event(kind: bytes, payload: bytes) -> Event:
    try:
        return _EVENTS[kind](payload)
    except (KeyError, ValueError, IndexError, struct_error) as error:
        raise ProtocolError(f"frame {kind!r} of {len(payload)} bytes: {error}") from error


class Decoder:
    """Bytes in, whatever the chunks; events out, in order."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, content: bytes) -> Iterator[Event]:
        """Yield each event that `content` completes."""
        self._pending += content
        for kind, payload in take_frames(self._pending):
            yield _event(kind, payload)
