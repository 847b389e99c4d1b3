"""The keeper's channel over Docker's multiplexed stream, without a daemon."""

import socket
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.engines.docker.attach import AttachChannel, Demultiplexer
from isosmoke.errors import EngineError

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=300)), max_size=12)


def framed(stream: int, payload: bytes) -> bytes:
    """A frame as the daemon sends it."""
    return pack(">BxxxI", stream, len(payload)) + payload


def chunks(content: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The content, cut."""
    edges = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    for begin, end in pairwise(edges):
        yield content[begin:end]


@given(FRAMES, st.lists(st.integers(0, 10_000), max_size=30))
def test_streams_come_apart_whatever_the_chunks(
    frames: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    """Both streams arrive whole and in order, however the bytes were cut."""
    demultiplexer = Demultiplexer()
    content = b"".join(framed(*frame) for frame in frames)

    stdout = b"".join(demultiplexer.feed(chunk) for chunk in chunks(content, cuts))

    assert stdout == b"".join(payload for stream, payload in frames if stream == 1)
    assert demultiplexer.complaint == b"".join(payload for stream, payload in frames if stream == 2)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_payload_is_handed_on_before_its_frame_is_complete(
    payload: bytes, data: st.DataObject
) -> None:
    """What is known of a frame does not wait for its end."""
    size = data.draw(st.integers(1, len(payload)))

    assert Demultiplexer().feed(framed(1, payload)[: 8 + size]) == payload[:size]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection: a channel's, and the daemon's."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        yield ours, theirs


Ends = tuple[socket.socket, socket.socket]


def test_read_gives_bytes_or_the_end(ends: Ends) -> None:
    """A read never gives nothing before the end, and nothing at the end."""
    channel = AttachChannel(ends[0], lambda: "")
    ends[1].sendall(framed(1, b"") + framed(1, b"ready"))
    ends[1].close()

    assert (channel.read(), channel.read()) == (b"ready", b"")


def test_end_tells_what_came_on_stderr(ends: Ends) -> None:
    """What the runtime complained about is the error; the daemon's own view comes second."""
    channel = AttachChannel(ends[0], lambda: "the sandbox ran out of memory")
    ends[1].sendall(framed(2, b"exec: no such file\n"))
    ends[1].close()

    with pytest.raises(EngineError, match=r"^exec: no such file$"):
        channel.read()


def test_end_tells_what_the_daemon_knows(ends: Ends) -> None:
    """A sandbox that ended without a word is explained by the daemon, where it can."""
    channel = AttachChannel(ends[0], lambda: "the sandbox ran out of memory")
    ends[1].close()

    with pytest.raises(EngineError, match="ran out of memory"):
        channel.read()


def test_write_to_a_sandbox_that_ended_is_an_error(ends: Ends) -> None:
    """Nobody who listens is an error in our words, never a broken pipe."""
    channel = AttachChannel(ends[0], lambda: "")
    ends[1].close()

    with pytest.raises(EngineError, match="ended before it could be spoken to"):
        channel.write(b"g\0\0\0\0")


def test_write_takes_what_can_be_sent_now(ends: Ends) -> None:
    """A daemon that does not read holds nobody up: what is left is the caller's to send later."""
    channel, content = AttachChannel(ends[0], lambda: ""), b"x" * 4_000_000
    taken = 0
    while more := channel.write(content):
        taken += more

    assert 0 < taken < len(content)
    assert channel.outlet() == ends[0].fileno()


def test_close_reaches_the_other_end_past_a_second_holder(ends: Ends) -> None:
    """Closing ends the keeper's stdin even where a library still holds the socket, and twice."""
    with ends[0].dup():
        channel = AttachChannel(ends[0], lambda: "")
        channel.close()
        channel.close()

        assert ends[1].recv(1) == b""
