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


def build_frame(stream: int, payload: bytes) -> bytes:
    """Return a frame as the daemon sends it."""
    return pack(">BxxxI", stream, len(payload)) + payload


def split_at(content: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Yield the content in split_at, cut at `cuts`."""
    edges = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    for start, end in pairwise(edges):
        yield content[start:end]


@given(FRAMES, st.lists(st.integers(0, 10_000), max_size=30))
def test_streams_are_separated(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """Both streams arrive complete and in order, in split_at of any size."""
    demultiplexer = Demultiplexer()
    content = b"".join(build_frame(*frame) for frame in frames)

    stdout = b"".join(demultiplexer.feed(chunk) for chunk in split_at(content, cuts))

    assert stdout == b"".join(payload for stream, payload in frames if stream == 1)
    assert demultiplexer.stderr == b"".join(payload for stream, payload in frames if stream == 2)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_partial_payload_is_returned_at_once(payload: bytes, data: st.DataObject) -> None:
    """The start of a payload is returned without waiting for the rest of its frame."""
    size = data.draw(st.integers(1, len(payload)))

    assert Demultiplexer().feed(build_frame(1, payload)[: 8 + size]) == payload[:size]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the two ends of a connection: the channel's, and the daemon's."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        yield ours, theirs


Ends = tuple[socket.socket, socket.socket]


def test_read_returns_bytes_or_the_end(ends: Ends) -> None:
    """A read returns an empty result only at the end."""
    channel = AttachChannel(ends[0], lambda: "")
    ends[1].sendall(build_frame(1, b"") + build_frame(1, b"ready"))
    ends[1].close()

    assert (channel.read(), channel.read()) == (b"ready", b"")


def test_stderr_is_raised_at_the_end(ends: Ends) -> None:
    """The runtime's error on stderr takes precedence over the daemon's explanation."""
    channel = AttachChannel(ends[0], lambda: "the sandbox ran out of memory")
    ends[1].sendall(build_frame(2, b"exec: no such file\n"))
    ends[1].close()

    with pytest.raises(EngineError, match=r"^exec: no such file$"):
        channel.read()


def test_daemon_explanation_is_raised_at_the_end(ends: Ends) -> None:
    """If the sandbox wrote no error, the daemon's explanation is raised."""
    channel = AttachChannel(ends[0], lambda: "the sandbox ran out of memory")
    ends[1].close()

    with pytest.raises(EngineError, match="ran out of memory"):
        channel.read()


def test_write_to_an_ended_sandbox_is_an_error(ends: Ends) -> None:
    """A closed connection is an `EngineError`, never a broken pipe."""
    channel = AttachChannel(ends[0], lambda: "")
    ends[1].close()

    with pytest.raises(EngineError, match="ended before the command could be sent"):
        channel.write(b"g\0\0\0\0")


def test_write_does_not_block(ends: Ends) -> None:
    """A daemon that does not read does not block; the caller sends the rest later."""
    channel, content = AttachChannel(ends[0], lambda: ""), b"x" * 4_000_000
    sent = 0
    while size := channel.write(content):
        sent += size

    assert 0 < sent < len(content)
    assert channel.write_fileno() == ends[0].fileno()


def test_close_reaches_the_other_end_of_a_shared_socket(ends: Ends) -> None:
    """Closing ends the keeper's stdin even if a library holds the socket; it can be repeated."""
    with ends[0].dup():
        channel = AttachChannel(ends[0], lambda: "")
        channel.close()
        channel.close()

        assert ends[1].recv(1) == b""
