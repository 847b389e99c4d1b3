"""The encoding of commands to the keeper and the decoding of its events (pure).

A frame is one byte of type, four bytes of payload length (big endian) and the payload. `keeper.c`
in this directory is the other end. It has `VERSION`, `Command` and `EventKind` with the same names
and letters, which a test compares. When a frame changes, `VERSION` is raised in both files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import PurePosixPath
from struct import Struct
from struct import error as struct_error
from typing import Literal

from isosmoke.dataclass import dataclass
from isosmoke.keeper.events import (
    Broken,
    Empty,
    Event,
    Frozen,
    InputAccepted,
    InputClosed,
    Listed,
    Output,
    Probed,
    ProbeOutput,
    Ready,
    Refused,
    ScriptExited,
    ShellExited,
    ShellOutput,
    Sockets,
    Survivor,
    Thawed,
    UsageReport,
)
from isosmoke.sandbox.survivors import Usage

VERSION = "6"


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
    INPUT = b"i"
    RESIZE = b"w"
    SCRIPT_INPUT = b"I"
    SCRIPT_RESIZE = b"W"
    CLOSE_OUTPUT = b"O"


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
    INPUT_ACCEPTED = b"y"
    SHELL_EXITED = b"H"
    SCRIPT_INPUT_ACCEPTED = b"Y"
    SCRIPT_INPUT_CLOSED = b"Z"
    BROKEN = b"!"


_HEADER = Struct(">cI")
_LENGTH = Struct(">I")
_SIZE = Struct(">HH")
_MAX_STATUS = 0xFFFF
_STOPPED = 0x7F
"""The lower bits of the status of a stopped process, which has not ended."""


def encode_frame(kind: bytes, payload: bytes) -> bytes:
    """Return the bytes of one frame."""
    return _HEADER.pack(bytes(kind), len(payload)) + payload


def take_frames(pending: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Remove each complete frame from the front of `pending`; yield its type and payload."""
    while len(pending) >= _HEADER.size:
        kind, size = _HEADER.unpack_from(pending)
        end = _HEADER.size + size
        if len(pending) < end:
            return
        payload = bytes(pending[_HEADER.size : end])
        del pending[:end]
        yield kind, payload


TERM = encode_frame(Command.TERM, b"")
KILL = encode_frame(Command.KILL, b"")
FREEZE = encode_frame(Command.FREEZE, b"")
THAW = encode_frame(Command.THAW, b"")
LIST = encode_frame(Command.LIST, b"")
USAGE = encode_frame(Command.USAGE, b"")
END_PROBE = encode_frame(Command.END_PROBE, b"")


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a terminal in characters."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """The kinds of a script's standard streams, and its file mode creation mask.

    The input is empty, what the runner sends (`passed`), or that of the terminal. The output is two
    pipes, one pipe (`joined`), or a terminal, whose size is then not None. Without a `mask`, the
    script has that of the sandbox.
    """

    input: Literal["", "passed", "terminal"] = ""
    output: Literal["", "joined", "terminal"] = ""
    size: Size | None = None
    mask: int | None = None


SEPARATE = StreamPlan()
"""The streams of a scenario's script: no input, and two pipes."""


def encode_go(  # noqa: PLR0913 - a field of the frame each
    argv: Sequence[str],
    directory: PurePosixPath,
    environment: Mapping[str, str],
    *,
    processes: int | None = None,
    open_files: int | None = None,
    search: str = "",
    plan: StreamPlan = SEPARATE,
) -> bytes:
    """Return the command that starts the script.

    A limit of None leaves the sandbox's own limit. The program is looked up in the directories of
    `search`, or if that is empty, in those of the environment's PATH.
    """
    streams = f"{plan.input}\0{plan.output}\0".encode() + _encode_size(plan.size)
    limits = _encode_number(processes) + _encode_number(open_files)
    job = _encode_job(argv, directory, environment, search)
    return encode_frame(Command.GO, streams + _encode_number(plan.mask) + limits + job)


def encode_shell(
    argv: Sequence[str],
    directory: PurePosixPath,
    environment: Mapping[str, str],
    *,
    size: Size | None,
    processes: int | None = None,
    open_files: int | None = None,
) -> bytes:
    """Return the command that starts a shell with its own terminal, or with pipes if size is None.

    A limit of None leaves the sandbox's own limit.
    """
    limits = _encode_number(processes) + _encode_number(open_files)
    return encode_frame(
        Command.SHELL, _encode_size(size) + limits + _encode_job(argv, directory, environment)
    )


def encode_input(content: bytes, receiver: Literal["script", "shell"] = "shell") -> bytes:
    """Return the command that sends input to the shell or script; empty content ends the input."""
    return encode_frame(Command.INPUT if receiver == "shell" else Command.SCRIPT_INPUT, content)


def encode_resize(size: Size, receiver: Literal["script", "shell"] = "shell") -> bytes:
    """Return the command that resizes the terminal of the shell or script."""
    kind = Command.RESIZE if receiver == "shell" else Command.SCRIPT_RESIZE
    return encode_frame(kind, _SIZE.pack(size.rows, size.columns))


def encode_close_output(stream: Literal["stdout", "stderr"]) -> bytes:
    """Return the command after which the script writes to a stream without a reader (SIGPIPE)."""
    kind = EventKind.STDOUT if stream == "stdout" else EventKind.STDERR
    return encode_frame(Command.CLOSE_OUTPUT, kind)


def encode_probe(
    argv: Sequence[str], directory: PurePosixPath, environment: Mapping[str, str]
) -> bytes:
    """Return the command that starts a probe, to which the script's limits do not apply."""
    no_limits = _encode_number(None) + _encode_number(None)
    return encode_frame(Command.PROBE, no_limits + _encode_job(argv, directory, environment))


def _encode_number(number: int | None) -> bytes:
    return b"\0" if number is None else b"%d\0" % number


def _encode_size(size: Size | None) -> bytes:
    rows, columns = (None, None) if size is None else (size.rows, size.columns)
    return _encode_number(rows) + _encode_number(columns)


def _encode_job(
    argv: Sequence[str], directory: PurePosixPath, environment: Mapping[str, str], search: str = ""
) -> bytes:
    variables = (f"{name}={value}" for name, value in environment.items())
    search_path = f"PATH={search}" if search else ""
    fields = (search_path, str(directory), str(len(argv)), *argv, *variables)
    return b"".join(field.encode(errors="surrogateescape") + b"\0" for field in fields)


class ProtocolError(Exception):
    """The channel delivered bytes that no keeper sends."""


def _split_fields(payload: bytes) -> Iterator[bytes]:
    end = 0
    while end < len(payload):
        (size,) = _LENGTH.unpack_from(payload, end)
        end += _LENGTH.size + size
        if end > len(payload):
            raise ValueError("a field is truncated")
        yield payload[end - size : end]


def _decode_status(payload: bytes) -> int:
    """Return the raw wait status of a process that has ended, by itself or by a signal."""
    (status,) = _LENGTH.unpack(payload)
    if status > _MAX_STATUS or status & _STOPPED == _STOPPED:
        raise ValueError(f"{status:#x} is not the status of a process that has ended")
    return int(status)


def _decode_survivor(payload: bytes) -> Survivor:
    stat, cmdline, cwd, exe, sockets = _split_fields(payload)
    return Survivor(stat, cmdline, cwd, exe, frozenset(sockets.decode().split()))


def _decode_usage(payload: bytes) -> UsageReport:
    user, system, kibibytes = map(int, payload.split())
    return UsageReport(Usage(user / 1e6, system / 1e6, kibibytes * 1024))


def _decode_sockets(payload: bytes) -> Sockets:
    table, _, content = payload.partition(b"\0")
    return Sockets(table.decode(), content)


_EVENTS: Mapping[bytes, Callable[[bytes], Event]] = {
    EventKind.READY: lambda payload: Ready(payload.decode()),
    EventKind.STDOUT: lambda payload: Output("stdout", payload),
    EventKind.STDERR: lambda payload: Output("stderr", payload),
    EventKind.EXITED: lambda payload: ScriptExited(_decode_status(payload)),
    EventKind.EMPTY: lambda _: Empty(),
    EventKind.FROZEN: lambda payload: Frozen(payload == b"1"),
    EventKind.THAWED: lambda _: Thawed(),
    EventKind.PROCESS: _decode_survivor,
    EventKind.SOCKETS: _decode_sockets,
    EventKind.LISTED: lambda payload: Listed(float(payload.split()[0])),
    EventKind.USED: _decode_usage,
    EventKind.PROBE_OUTPUT: ProbeOutput,
    EventKind.PROBED: lambda payload: Probed(_decode_status(payload)),
    EventKind.SHELL_STDOUT: lambda payload: ShellOutput("stdout", payload),
    EventKind.SHELL_STDERR: lambda payload: ShellOutput("stderr", payload),
    EventKind.INPUT_ACCEPTED: lambda payload: InputAccepted(*_LENGTH.unpack(payload)),
    EventKind.SCRIPT_INPUT_ACCEPTED: lambda payload: InputAccepted(*_LENGTH.unpack(payload)),
    EventKind.SCRIPT_INPUT_CLOSED: lambda _: InputClosed(),
    EventKind.SHELL_EXITED: lambda payload: ShellExited(_decode_status(payload)),
    EventKind.REFUSED: lambda payload: Refused(payload.decode(errors="replace")),
    EventKind.BROKEN: lambda payload: Broken(payload.decode(errors="replace")),
}


def _decode_event(kind: bytes, payload: bytes) -> Event:
    try:
        return _EVENTS[kind](payload)
    except (ValueError, LookupError, OverflowError, struct_error) as error:
        raise ProtocolError(f"frame {kind!r} of {len(payload)} bytes: {error}") from error


class Decoder:
    """A decoder that turns chunks of bytes into events, in order."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, content: bytes) -> Iterator[Event]:
        """Yield each event that `content` completes."""
        self._pending += content
        for kind, payload in take_frames(self._pending):
            yield _decode_event(kind, payload)
