"""What a service prints: found in whatever pieces it comes, and never piled up."""

import os
import socket
import struct
from contextlib import closing
from pathlib import Path

import pytest

from isosmoke.engines.docker.attach import Printed
from isosmoke.execution.service_log import Search, Transcript
from isosmoke.redaction import Redactor
from isosmoke.runner.output import Capture


def found(pattern: str | None, *pieces: bytes) -> bool:
    """Whether a search has found it once it was fed with these."""
    search = Search(pattern)
    for piece in pieces:
        search.feed(piece)
    return search.found


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        ("^ready to", [b"starting\nre", b"ad", b"y to accept\n"]),
        ("one\ntwo", [b"one\n", b"two"]),
        ("^ready", [b"x" * 5000, b"x" * 5000 + b"\nready"]),
        ("\N{SNOWMAN}", ["\N{SNOWMAN}".encode()[:1], "\N{SNOWMAN}".encode()[1:]]),
    ],
)
def test_what_is_awaited_is_found_in_pieces(pattern: str, pieces: list[bytes]) -> None:
    """However a text is cut, and whatever came before."""
    assert found(pattern, *pieces)
    assert found(pattern, *(bytes([one]) for one in b"".join(pieces)))


@pytest.mark.parametrize("size", [1, 10, 4095, 4096, 4097, 9000])
def test_a_piece_begins_no_line(size: int) -> None:
    """What is kept of a long line is not taken for a line's beginning."""
    text = b"r" * 20_000

    assert not found("^r{1,4}s", *(text[i : i + size] for i in range(0, len(text), size)), b"s")


def test_without_a_pattern_nothing_is_found() -> None:
    """A service that is waited for in another way has its words kept, and no more."""
    assert not found(None, b"anything")


def test_both_streams_are_kept_in_order_until_the_end(tmp_path: Path) -> None:
    """What was printed before the end is in the log, and nothing stays open."""
    capture = Capture(tmp_path / "log", 1000, redactor=Redactor())
    ours, theirs = socket.socketpair()
    with theirs, Transcript(capture, "last") as transcript:
        transcript.follow(closing(Printed(ours)))
        for stream, content in ((1, b"one\n"), (2, b"two\n"), (1, b"the last\n")):
            theirs.sendall(struct.pack(">BxxxI", stream, len(content)) + content)
        theirs.shutdown(socket.SHUT_WR)
        transcript.settle()
        assert transcript.has_match
        assert transcript.last_lines(2) == "two | the last"

    assert (tmp_path / "log").read_bytes() == b"one\ntwo\nthe last\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(ours.fileno())
