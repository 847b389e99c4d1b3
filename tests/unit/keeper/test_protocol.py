"""The frames between runner and keeper: encoding, and decoding of any chunks and bytes."""

import struct
from itertools import pairwise
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.keeper import protocol
from isosmoke.keeper.events import (
    Broken,
    Empty,
    Event,
    Frozen,
    InputAccepted,
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
from isosmoke.keeper.protocol import (
    Decoder,
    ProtocolError,
    Size,
    StreamPlan,
    encode_close_output,
    encode_frame,
    encode_go,
    encode_input,
    encode_probe,
    encode_resize,
    encode_shell,
)
from isosmoke.sandbox.survivors import Usage


def join_fields(*fields: bytes) -> bytes:
    """Return the payload of a survivor's frame."""
    return b"".join(struct.pack(">I", len(field)) + field for field in fields)


def encode(event: Event) -> bytes:
    """Return the frame that a keeper would send for this event."""
    match event:
        case Ready(version):
            return encode_frame(b"R", version.encode())
        case Output(stream, content):
            return encode_frame(b"o" if stream == "stdout" else b"e", content)
        case ScriptExited(status):
            return encode_frame(b"X", struct.pack(">I", status))
        case Survivor(stat, cmdline, cwd, exe, sockets):
            inodes = "".join(f"{inode} " for inode in sorted(sockets)).encode()
            return encode_frame(b"P", join_fields(stat, cmdline, cwd, exe, inodes))
        case _:
            return _encode_sandbox_event(event)


def _encode_sandbox_event(event: Event) -> bytes:
    match event:
        case Sockets(table, content):
            return encode_frame(b"S", table.encode() + b"\0" + content)
        case Broken(message):
            return encode_frame(b"!", message.encode())
        case Frozen(still):
            return encode_frame(b"F", b"1" if still else b"0")
        case Thawed() | Empty():
            return encode_frame(b"T" if event == Thawed() else b"0", b"")
        case _:
            return _encode_answer(event)


def _encode_answer(event: Event) -> bytes:
    match event:
        case ProbeOutput(content):
            return encode_frame(b"q", content)
        case Probed(status):
            return encode_frame(b"Q", struct.pack(">I", status))
        case Refused(message):
            return encode_frame(b"N", message.encode())
        case UsageReport(Usage(user, system, largest)):
            micros = (round(seconds * 1e6) for seconds in (user, system))
            return encode_frame(b"U", " ".join(map(str, (*micros, largest // 1024))).encode())
        case _:
            return _encode_shell_event(event)


def _encode_shell_event(event: Event) -> bytes:
    match event:
        case ShellOutput(stream, content):
            return encode_frame(b"h" if stream == "stdout" else b"j", content)
        case InputAccepted(size):
            return encode_frame(b"y", struct.pack(">I", size))
        case Listed(uptime):
            return encode_frame(b"L", f"{uptime} 12.5\n".encode())
        case ShellExited(status):
            return encode_frame(b"H", struct.pack(">I", status))
        case _:
            raise AssertionError(event)


SECONDS = st.integers(0, 10**12).map(lambda micros: micros / 1e6)

STATUSES = st.one_of(
    st.integers(0, 255).map((256).__mul__),  # an exit code
    st.integers(0, 255).filter(lambda status: status & 127 != 127),  # a signal, and a core dump
)

EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Ready, st.text()),
    st.builds(Output, st.sampled_from(["stdout", "stderr"]), st.binary()),
    st.builds(ScriptExited, STATUSES),
    st.just(Empty()),
    st.builds(Frozen, st.booleans()),
    st.builds(
        Survivor,
        *[st.binary()] * 4,
        st.frozensets(st.integers(0, 2**32).map(str)),
    ),
    st.builds(Sockets, st.sampled_from(["tcp", "tcp6", "udp", "udp6", "unix"]), st.binary()),
    st.builds(Listed, st.floats(0, 1e9)),
    st.just(Thawed()),
    st.builds(ProbeOutput, st.binary()),
    st.builds(Probed, STATUSES),
    st.builds(Refused, st.text()),
    st.builds(ShellOutput, st.sampled_from(["stdout", "stderr"]), st.binary()),
    st.builds(InputAccepted, st.integers(0, 2**32 - 1)),
    st.builds(ShellExited, STATUSES),
    st.builds(
        UsageReport, st.builds(Usage, SECONDS, SECONDS, st.integers(0, 2**40).map((1024).__mul__))
    ),
    st.builds(Broken, st.text()),
)


def decode(content: bytes, cuts: list[int]) -> list[Event]:
    """Return the events of `content` that arrives in chunks, cut at these offsets."""
    decoder = Decoder()
    offsets = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    return [event for a, b in pairwise(offsets) for event in decoder.feed(content[a:b])]


@given(st.lists(EVENTS), st.lists(st.integers(0)))
def test_events_are_decoded_from_any_chunks(events: list[Event], cuts: list[int]) -> None:
    """The same events are decoded wherever the bytes are cut."""
    content = b"".join(map(encode, events))

    assert decode(content, cuts) == events


@given(EVENTS)
def test_event_is_decoded_with_its_last_byte(event: Event) -> None:
    """An event is returned with its last byte, and not earlier."""
    decoder, content = Decoder(), encode(event)
    early = [early for byte in content[:-1] for early in decoder.feed(bytes([byte]))]

    assert early == []
    assert list(decoder.feed(content[-1:])) == [event]


KINDS = st.sampled_from([bytes([kind]) for kind in b"RoeX0FTPSLUqQNhjyH!gtkfclupxsiw\xff"])
PAYLOADS = st.one_of(
    st.binary(),
    st.lists(st.binary(max_size=4), max_size=6).map(lambda fields: join_fields(*fields)),
    st.sampled_from([b"nan", b"1e999", b"-1", b"tcp\0", b"\xff\0", b"\0\0\0\xff"]),
)


@given(st.one_of(st.binary(), st.lists(st.builds(encode_frame, KINDS, PAYLOADS)).map(b"".join)))
def test_any_bytes_are_decoded_or_refused(content: bytes) -> None:
    """Arbitrary bytes are decoded or raise a ProtocolError, and no other exception."""
    try:
        list(Decoder().feed(content))
    except ProtocolError as error:
        assert str(error)  # noqa: PT017 - passing is allowed too


INVALID = {
    "an unknown frame": encode_frame(b"?", b""),
    "a version in invalid UTF-8": encode_frame(b"R", b"\xff"),
    "a status too short": encode_frame(b"X", b"\0\0\0"),
    "a status too long": encode_frame(b"X", b"\0\0\0\0\0"),
    "a status of a stopped process": encode_frame(b"X", struct.pack(">I", 0x137F)),
    "a shell's status that no process has": encode_frame(b"H", struct.pack(">I", 1 << 31)),
    "a probe's status that no process has": encode_frame(b"Q", struct.pack(">I", 1 << 16)),
    "a usage that is too large": encode_frame(b"U", b"0 " + b"9" * 400 + b" 0"),
    "a survivor without fields": encode_frame(b"P", b""),
    "a survivor with a field too few": encode_frame(b"P", join_fields(b"", b"", b"", b"")),
    "a survivor with a field too many": encode_frame(b"P", join_fields(*[b""] * 6)),
    "a truncated length of a field": encode_frame(b"P", join_fields(*[b""] * 4) + b"\0\0"),
    "a truncated field": encode_frame(b"P", join_fields(*[b""] * 4) + b"\0\0\0\x09abc"),
    "sockets in invalid UTF-8": encode_frame(b"P", join_fields(b"", b"", b"", b"", b"\xff")),
    "a table in invalid UTF-8": encode_frame(b"S", b"\xff\0"),
    "a list without an uptime": encode_frame(b"L", b""),
    "an uptime that is not a number": encode_frame(b"L", b"soon"),
    "a usage with a number too few": encode_frame(b"U", b"1 2"),
    "a usage that is not a number": encode_frame(b"U", b"1 2 much"),
    "a probe's status too short": encode_frame(b"Q", b"\0"),
}


@pytest.mark.parametrize("content", INVALID.values(), ids=INVALID)
def test_invalid_frame_is_refused(content: bytes) -> None:
    """A frame that no keeper sends is refused, and not decoded as another event."""
    with pytest.raises(ProtocolError):
        list(Decoder().feed(content))


def test_events_before_an_invalid_frame_are_returned() -> None:
    """Events that were decoded before an invalid frame are not lost."""
    events = Decoder().feed(encode_frame(b"o", b"said") + encode_frame(b"?", b""))

    assert next(events) == Output("stdout", b"said")
    with pytest.raises(ProtocolError, match="'\\?'"):
        next(events)


def test_message_in_invalid_utf8_is_decoded() -> None:
    """An error message may contain any bytes, because a path in it may."""
    assert decode(encode_frame(b"!", b"/\xff: No such file"), []) == [
        Broken("/\ufffd: No such file")
    ]


def test_commands_are_empty_frames() -> None:
    """A command without arguments is its letter and a length of zero."""
    commands = (
        *(protocol.TERM, protocol.KILL, protocol.FREEZE, protocol.THAW),
        *(protocol.LIST, protocol.USAGE, protocol.END_PROBE),
    )

    assert commands == tuple(encode_frame(bytes([kind]), b"") for kind in b"tkfclux")


def test_go_has_limits_directory_arguments_and_environment() -> None:
    """The order is streams, limits, directory, number of arguments, arguments and environment."""
    command = encode_go(
        ["bash", "a b.sh", ""],
        PurePosixPath("/work"),
        {"A": "1", "B": ""},
        processes=64,
        open_files=256,
    )

    payload = b"\0\0\0\0\x0064\x00256\0\0/work\x003\0bash\0a b.sh\0\0A=1\0B=\0"
    assert command == b"g" + struct.pack(">I", len(payload)) + payload


def test_missing_limit_is_an_empty_field() -> None:
    """A limit of None is an empty field, which means no limit to the keeper."""
    assert encode_go(["x"], PurePosixPath("/"), {}) == encode_frame(
        b"g", b"\0\0\0\0\0\0\0\0/\x001\0x\0"
    )


@pytest.mark.parametrize(
    ("plan", "fields"),
    [
        (StreamPlan(), b"\0\0\0\0\0"),
        (StreamPlan(input="passed", output="joined"), b"passed\0joined\0\0\0\0"),
        (
            StreamPlan(input="terminal", output="terminal", size=Size(24, 80), mask=0o27),
            b"terminal\0terminal\x0024\x0080\x0023\0",
        ),
    ],
)
def test_go_has_the_kinds_of_the_streams(plan: StreamPlan, fields: bytes) -> None:
    """The kinds of input and output come first, then the size of a terminal, then the mode mask."""
    command = encode_go(["x"], PurePosixPath("/"), {}, plan=plan)

    assert command == encode_frame(b"g", fields + b"\0\0\0/\x001\0x\0")


def test_go_has_the_search_path_of_its_program() -> None:
    """The search path comes before the directory, as a PATH variable."""
    command = encode_go(["bash"], PurePosixPath("/"), {"PATH": "/fakes"}, search="/bin:/usr/bin")

    assert command == encode_frame(
        b"g", b"\0\0\0\0\0\0\0PATH=/bin:/usr/bin\0/\x001\0bash\0PATH=/fakes\0"
    )


def test_probe_is_a_job_without_limits() -> None:
    """A probe is encoded like a script, without limits."""
    command = encode_probe(["tmux", "ls"], PurePosixPath("/work"), {"A": "1"})

    assert command == encode_frame(b"p", b"\0\0\0/work\x002\0tmux\0ls\0A=1\0")


@pytest.mark.parametrize(
    ("size", "fields"), [(Size(24, 80), b"24\x0080\0"), (None, b"\0\0")], ids=str
)
def test_shell_is_a_job_with_a_terminal_size(size: Size | None, fields: bytes) -> None:
    """A shell has the size of its terminal, empty for pipes, and is then encoded like a script."""
    command = encode_shell(["bash"], PurePosixPath("/work"), {"A": "1"}, size=size, processes=9)

    assert command == encode_frame(b"s", fields + b"9\0\0\0/work\x001\0bash\0A=1\0")


def test_input_and_size_are_encoded() -> None:
    """Input is sent unchanged, a size as two numbers of two bytes."""
    assert encode_input(b"ls\r") == encode_frame(b"i", b"ls\r")
    assert encode_resize(Size(24, 300)) == encode_frame(b"w", b"\0\x18\x01\x2c")
    assert encode_input(b"ls\r", "script") == encode_frame(b"I", b"ls\r")
    assert encode_resize(Size(24, 300), "script") == encode_frame(b"W", b"\0\x18\x01\x2c")


def test_closed_output_is_named_like_its_frames() -> None:
    """The stream to close has the letter of the frames with its output."""
    assert encode_close_output("stdout") == encode_frame(b"O", b"o")
    assert encode_close_output("stderr") == encode_frame(b"O", b"e")


def test_usage_is_in_seconds_and_bytes() -> None:
    """The keeper sends microseconds and kibibytes, which are converted."""
    events = decode(encode_frame(b"U", b"1500000 250000 2048"), [])

    assert events == [UsageReport(Usage(1.5, 0.25, 2 << 20))]


def test_go_preserves_invalid_utf8() -> None:
    """An argument or a variable in invalid UTF-8 reaches the script byte for byte."""
    command = encode_go(["\udcff"], PurePosixPath("/\udcfe"), {"A": "\udcfd"})

    assert command == encode_frame(b"g", b"\0\0\0\0\0\0\0\0/\xfe\x001\0\xff\0A=\xfd\0")
