"""The output of a service: searched in pieces of any size, and never accumulated."""

import os
import socket
import struct
from contextlib import closing
from pathlib import Path

import pytest

from isosmoke.engines.docker.attach import ContainerOutput
from isosmoke.execution.service_log import Search, Transcript
from isosmoke.redaction import Redactor
from isosmoke.runner.output import Capture


def matches(pattern: str | None, *pieces: bytes) -> bool:
    """Return whether a search finds the pattern in these pieces."""
    search = Search(pattern)
    for piece in pieces:
        search.feed(piece)
    return search.has_match


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        ("^ready to", [b"starting\nre", b"ad", b"y to accept\n"]),
        ("one\ntwo", [b"one\n", b"two"]),
        ("^ready", [b"x" * 5000, b"x" * 5000 + b"\nready"]),
        ("\N{SNOWMAN}", ["\N{SNOWMAN}".encode()[:1], "\N{SNOWMAN}".encode()[1:]]),
    ],
)
def test_pattern_is_found_across_pieces(pattern: str, pieces: list[bytes]) -> None:
    """A text is found regardless of its division and of earlier text."""
    assert matches(pattern, *pieces)
    assert matches(pattern, *(bytes([byte]) for byte in b"".join(pieces)))


@pytest.mark.parametrize("size", [1, 10, 4095, 4096, 4097, 9000])
def test_piece_does_not_start_a_line(size: int) -> None:
    """The buffered part of a long line is not taken for the start of a line."""
    text = b"r" * 20_000

    assert not matches("^r{1,4}s", *(text[i : i + size] for i in range(0, len(text), size)), b"s")


def test_search_without_pattern_finds_nothing() -> None:
    """The output is only stored if the service is not awaited by a pattern."""
    assert not matches(None, b"anything")


def test_streams_are_logged_in_order_until_the_end(tmp_path: Path) -> None:
    """The log has all output until the end, and no descriptor stays open."""
    capture = Capture(tmp_path / "log", 1000, redactor=Redactor())
    near_end, far_end = socket.socketpair()
    with far_end, Transcript(capture, "last") as transcript:
        transcript.follow(closing(ContainerOutput(near_end)))
        for stream, content in ((1, b"one\n"), (2, b"two\n"), (1, b"the last\n")):
            far_end.sendall(struct.pack(">BxxxI", stream, len(content)) + content)
        far_end.shutdown(socket.SHUT_WR)
        transcript.settle()
        assert transcript.has_match
        assert transcript.last_lines(2) == "two | the last"

    assert (tmp_path / "log").read_bytes() == b"one\ntwo\nthe last\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(near_end.fileno())
