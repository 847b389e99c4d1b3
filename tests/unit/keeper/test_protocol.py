"""Frames between runner and keeper: any chunks, any bytes, and both ways."""

import struct
from itertools import pairwise
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.keeper import protocol
from isosmoke.keeper.protocol import (
    Broken,
    Decoder,
    Empty,
    Event,
    Exited,
    Frozen,
    Left,
    Listed,
    Output,
    Probed,
    ProbeOutput,
    ProtocolError,
    Ready,
    Refused,
    ShellOutput,
    Size,
    Sockets,
    Survivor,
    Thawed,
    Took,
    Used,
    frame,
    go,
    probe,
    resized,
    shell,
    typed,
)
from isosmoke.sandbox.processes import Usage


def fields(*parts: bytes) -> bytes:
    """The payload of a survivor's frame."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def encoded(event: Event) -> bytes:
    """The frame that a keeper would send for this event."""
    match event:
        case Ready(version):
            return frame(b"R", version.encode())
        case Output(stream, content):
            return frame(b"o" if stream == "stdout" else b"e", content)
        case Exited(status):
            return frame(b"X", struct.pack(">I", status))
        case Survivor(stat, cmdline, cwd, exe, sockets):
            inodes = "".join(f"{one} " for one in sorted(sockets)).encode()
            return frame(b"P", fields(stat, cmdline, cwd, exe, inodes))
        case _:
            return _encoded_further(event)


def _encoded_further(event: Event) -> bytes:
    match event:
        case Sockets(table, content):
            return frame(b"S", table.encode() + b"\0" + content)
        case Broken(message):
            return frame(b"!", message.encode())
        case Frozen(still):
            return frame(b"F", b"1" if still else b"0")
        case Thawed() | Empty():
            return frame(b"T" if event == Thawed() else b"0", b"")
        case _:
            return _encoded_answer(event)


def _encoded_answer(event: Event) -> bytes:
    match event:
        case ProbeOutput(content):
            return frame(b"q", content)
        case Probed(status):
            return frame(b"Q", struct.pack(">I", status))
        case Refused(message):
            return frame(b"N", message.encode())
        case Used(Usage(user, system, largest)):
            micros = (round(one * 1e6) for one in (user, system))
            return frame(b"U", " ".join(map(str, (*micros, largest // 1024))).encode())
        case _:
            return _encoded_rest(event)


def _encoded_rest(event: Event) -> bytes:
    match event:
        case ShellOutput(stream, content):
            return frame(b"h" if stream == "stdout" else b"j", content)
        case Took(size):
            return frame(b"y", struct.pack(">I", size))
        case Listed(uptime):
            return frame(b"L", f"{uptime} 12.5\n".encode())
        case Left(status):
            return frame(b"H", struct.pack(">I", status))
        case _:
            raise AssertionError(event)


SECONDS = st.integers(0, 10**12).map(lambda micros: micros / 1e6)

EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Ready, st.text()),
    st.builds(Output, st.sampled_from(["stdout", "stderr"]), st.binary()),
    st.builds(Exited, st.integers(0, 2**32 - 1)),
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
    st.builds(Probed, st.integers(0, 2**32 - 1)),
    st.builds(Refused, st.text()),
    st.builds(ShellOutput, st.sampled_from(["stdout", "stderr"]), st.binary()),
    st.builds(Took, st.integers(0, 2**32 - 1)),
    st.builds(Left, st.integers(0, 2**32 - 1)),
    st.builds(Used, st.builds(Usage, SECONDS, SECONDS, st.integers(0, 2**40).map((1024).__mul__))),
    st.builds(Broken, st.text()),
)


def decoded(content: bytes, cuts: list[int]) -> list[Event]:
    """The events of `content` that arrives cut at these places."""
    decoder = Decoder()
    places = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    return [event for a, b in pairwise(places) for event in decoder.feed(content[a:b])]


@given(st.lists(EVENTS), st.lists(st.integers(0)))
def test_events_come_back_whatever_the_chunks(events: list[Event], cuts: list[int]) -> None:
    """What a keeper says is understood alike, wherever the bytes are cut."""
    content = b"".join(map(encoded, events))

    assert decoded(content, cuts) == events


@given(EVENTS)
def test_event_comes_back_byte_by_byte(event: Event) -> None:
    """An event is told with its last byte, and not before."""
    decoder, content = Decoder(), encoded(event)
    early = [one for at in range(len(content) - 1) for one in decoder.feed(content[at : at + 1])]

    assert early == []
    assert list(decoder.feed(content[-1:])) == [event]


KINDS = st.sampled_from([bytes([kind]) for kind in b"RoeX0FTPSLUqQNhjyH!gtkfclupxsiw\xff"])
PAYLOADS = st.one_of(
    st.binary(),
    st.lists(st.binary(max_size=4), max_size=6).map(lambda parts: fields(*parts)),
    st.sampled_from([b"nan", b"1e999", b"-1", b"tcp\0", b"\xff\0", b"\0\0\0\xff"]),
)


@given(st.one_of(st.binary(), st.lists(st.builds(frame, KINDS, PAYLOADS)).map(b"".join)))
def test_any_bytes_are_understood_or_refused(content: bytes) -> None:
    """Bytes that are not a keeper's raise a ProtocolError and nothing else."""
    try:
        list(Decoder().feed(content))
    except ProtocolError as error:
        assert str(error)  # noqa: PT017 - passing is allowed too


NONSENSE = {
    "an unknown frame": frame(b"?", b""),
    "a version that is no text": frame(b"R", b"\xff"),
    "a status too short": frame(b"X", b"\0\0\0"),
    "a status too long": frame(b"X", b"\0\0\0\0\0"),
    "a survivor without fields": frame(b"P", b""),
    "a survivor with a field too few": frame(b"P", fields(b"", b"", b"", b"")),
    "a survivor with a field too many": frame(b"P", fields(*[b""] * 6)),
    "a survivor whose last length is cut": frame(b"P", fields(*[b""] * 4) + b"\0\0"),
    "a survivor whose last field is cut": frame(b"P", fields(*[b""] * 4) + b"\0\0\0\x09abc"),
    "sockets that are no text": frame(b"P", fields(b"", b"", b"", b"", b"\xff")),
    "a table that is no text": frame(b"S", b"\xff\0"),
    "a list without a clock": frame(b"L", b""),
    "a clock that is no number": frame(b"L", b"soon"),
    "a usage with a number too few": frame(b"U", b"1 2"),
    "a usage that is no number": frame(b"U", b"1 2 much"),
    "a probe's status too short": frame(b"Q", b"\0"),
}


@pytest.mark.parametrize("content", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_refused(content: bytes) -> None:
    """A frame that no keeper sends is refused, never read as something else."""
    with pytest.raises(ProtocolError):
        list(Decoder().feed(content))


def test_events_before_nonsense_are_told() -> None:
    """What was understood before the nonsense came is not lost."""
    events = Decoder().feed(frame(b"o", b"said") + frame(b"?", b""))

    assert next(events) == Output("stdout", b"said")
    with pytest.raises(ProtocolError, match="'\\?'"):
        next(events)


def test_broken_tells_bytes_that_are_no_text() -> None:
    """A complaint is shown whatever its bytes are: a path in it may be any."""
    assert decoded(frame(b"!", b"/\xff: No such file"), []) == [Broken("/\ufffd: No such file")]


def test_commands_are_empty_frames() -> None:
    """Each command without arguments is its letter and a length of zero."""
    commands = (
        *(protocol.TERM, protocol.KILL, protocol.FREEZE, protocol.THAW),
        *(protocol.LIST, protocol.USAGE, protocol.END_PROBE),
    )

    assert commands == tuple(frame(bytes([kind]), b"") for kind in b"tkfclux")


def test_go_lists_limits_folder_arguments_and_environment() -> None:
    """The keeper reads limits, folder, count of arguments, arguments and environment, in order."""
    told = go(
        ["bash", "a b.sh", ""],
        PurePosixPath("/work"),
        {"A": "1", "B": ""},
        processes=64,
        open_files=256,
    )

    words = b"64\x00256\0\0/work\x003\0bash\0a b.sh\0\0A=1\0B=\0"
    assert told == b"g" + struct.pack(">I", len(words)) + words


def test_go_without_limits_leaves_them_blank() -> None:
    """A limit of None is an empty word, which the keeper takes for no limit."""
    assert go(["x"], PurePosixPath("/"), {}) == frame(b"g", b"\0\0\0/\x001\0x\0")


def test_go_names_where_its_program_is_looked_for() -> None:
    """The directories come before the folder, as the variable that the keeper searches by."""
    told = go(["bash"], PurePosixPath("/"), {"PATH": "/fakes"}, search="/bin:/usr/bin")

    assert told == frame(b"g", b"\0\0PATH=/bin:/usr/bin\0/\x001\0bash\0PATH=/fakes\0")


def test_probe_is_a_job_without_limits() -> None:
    """A probe is told as a script is, and nothing limits it."""
    told = probe(["tmux", "ls"], PurePosixPath("/work"), {"A": "1"})

    assert told == frame(b"p", b"\0\0\0/work\x002\0tmux\0ls\0A=1\0")


@pytest.mark.parametrize(
    ("size", "words"), [(Size(24, 80), b"24\x0080\0"), (None, b"\0\0")], ids=str
)
def test_shell_is_a_job_at_a_terminal_or_at_none(size: Size | None, words: bytes) -> None:
    """A shell is told with the size of its terminal, blank for pipes, and then as a script is."""
    told = shell(["bash"], PurePosixPath("/work"), {"A": "1"}, size=size, processes=9)

    assert told == frame(b"s", words + b"9\0\0\0/work\x001\0bash\0A=1\0")


def test_typing_and_resizing_are_frames_of_their_own() -> None:
    """What is typed goes as it is, a size as two numbers of two bytes."""
    assert typed(b"ls\r") == frame(b"i", b"ls\r")
    assert resized(Size(24, 300)) == frame(b"w", b"\0\x18\x01\x2c")


def test_usage_is_told_in_seconds_and_bytes() -> None:
    """The keeper counts microseconds and kibibytes, as the kernel does; what is told are units."""
    assert decoded(frame(b"U", b"1500000 250000 2048"), []) == [Used(Usage(1.5, 0.25, 2 << 20))]


def test_go_carries_bytes_that_are_no_text() -> None:
    """An argument or a variable that is no UTF-8 reaches the script byte for byte."""
    told = go(["\udcff"], PurePosixPath("/\udcfe"), {"A": "\udcfd"})

    assert told == frame(b"g", b"\0\0\0/\xfe\x001\0\xff\0A=\xfd\0")
