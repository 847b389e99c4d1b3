"""What is kept of an output, in memory and in its log."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.keeper.protocol import Output
from isosmoke.redaction import Redactor, Secret
from isosmoke.results.run_results import Captured
from isosmoke.runner.output import HEAD, TAIL, Capture

MARKER = re.compile(rb"\n\[isosmoke: (\d+) bytes left out\]\n")
LIMIT = 1 << 20

SIZES = st.sampled_from(
    [0, 1, HEAD - 1, HEAD, HEAD + 1, HEAD + TAIL, HEAD + TAIL + 1, HEAD + 3 * TAIL + 5]
)
CUTS = st.lists(st.integers(0, HEAD + 3 * TAIL + 5), max_size=8)


def printed(size: int) -> bytes:
    """This many bytes, each of them unlike its neighbours."""
    return bytes(range(251)) * (size // 251 + 1)


def pieces(content: bytes, cuts: list[int]) -> list[bytes]:
    """`content` cut at these places."""
    return [content[a:b] for a, b in pairwise([0, *sorted(cuts), len(content)])]


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for one example of a property."""
    with TemporaryDirectory() as path:
        yield Path(path)


def captured(chunks: list[bytes], log: Path | None = None, limit: int = LIMIT) -> Captured:
    """What is kept of stdout printed in these chunks."""
    with Capture(log, limit, redactor=Redactor()) as capture:
        for chunk in chunks:
            capture.take(Output("stdout", chunk))
    return capture.output


@given(SIZES, CUTS)
def test_chunks_make_no_difference(size: int, cuts: list[int]) -> None:
    """However an output is cut into pieces, the same of it is kept, in memory and in the log."""
    content = printed(size)[:size]
    with folder() as here:
        kept = captured(pieces(content, cuts), here / "cut.log", HEAD + 10)
        whole = captured([content], here / "whole.log", HEAD + 10)

        assert kept == whole
        assert (here / "cut.log").read_bytes() == (here / "whole.log").read_bytes()


@given(SIZES)
def test_head_and_tail_are_the_ends_of_what_was_printed(size: int) -> None:
    """Head and tail are true ends that do not overlap, and the size counts every byte."""
    content = printed(size)[:size]
    kept = captured([content])

    assert kept.head == content[:HEAD]
    assert kept.tail == content[HEAD:][-TAIL:]
    assert kept.size == size
    assert kept.left_out == max(0, size - HEAD - TAIL)


def test_output_is_both_streams_in_order_of_arrival() -> None:
    """Both streams are kept together as they came, and stderr once more by itself."""
    told: list[tuple[Literal["stdout", "stderr"], bytes]] = [
        ("stdout", b"a"),
        ("stderr", b"b"),
        ("stdout", b"c"),
        ("stderr", b"d"),
    ]
    with Capture(None, 0, redactor=Redactor()) as capture:
        for stream, content in told:
            capture.take(Output(stream, content))

    assert (capture.output.head, capture.stderr.head) == (b"abcd", b"bd")


def test_echo_sees_every_piece_as_it_comes() -> None:
    """Whoever listens hears each piece whole, also past the limit of the log."""
    heard: list[bytes] = []
    with Capture(None, 1, redactor=Redactor(), on_output=heard.append) as capture:
        capture.take(Output("stdout", b"one"))
        assert heard == [b"one"]
        capture.take(Output("stderr", b"two"))

    assert heard == [b"one", b"two"]


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_log_within_its_limit_is_the_output(tmp_path: Path, size: int) -> None:
    """An output within the limit is in the log as it was printed, without a marker."""
    captured([printed(size)[:size]], tmp_path / "new" / "a.log", 100)

    assert (tmp_path / "new" / "a.log").read_bytes() == printed(size)[:size]


def test_log_is_made_although_nothing_was_printed(tmp_path: Path) -> None:
    """A silent script leaves an empty log, and not the log of an earlier run."""
    log = tmp_path / "a.log"
    log.write_text("old")
    captured([], log)

    assert log.read_bytes() == b""


def test_log_past_its_limit_says_what_is_missing_and_ends_as_the_output(tmp_path: Path) -> None:
    """A log that was cut holds its limit, one line that counts the loss, and the kept end."""
    content = printed(HEAD + 3 * TAIL)
    captured([content], tmp_path / "a.log", 1000)
    log = (tmp_path / "a.log").read_bytes()

    (marker,) = MARKER.finditer(log)
    assert log[: marker.start()] == content[:1000]
    assert log[marker.end() :] == content[-TAIL:]
    assert int(marker[1]) == len(content) - 1000 - TAIL


def test_log_with_a_small_limit_still_ends_as_the_output(tmp_path: Path) -> None:
    """An output that fits in memory keeps its end, however small the limit of its log is."""
    captured([b"begin" + b"." * 200 + b"end"], tmp_path / "a.log", 5)
    log = (tmp_path / "a.log").read_bytes()

    assert log.startswith(b"begin")
    assert log.endswith(b"end")


@given(SIZES, st.sampled_from([0, 5, HEAD - 1, HEAD + 10, HEAD + TAIL, LIMIT]))
def test_log_accounts_for_every_byte(size: int, limit: int) -> None:
    """What a log holds and what its marker counts are together the output, and it is bounded."""
    content = printed(size)[:size]
    with folder() as here:
        captured([content], here / "a.log", limit)
        log = (here / "a.log").read_bytes()
    marker = MARKER.search(log) if log != content else None
    left_out = int(marker[1]) if marker else 0
    held = len(log) - (len(marker[0]) if marker else 0)

    assert held + left_out == size
    assert held <= limit + TAIL
    assert marker is None or left_out > 0


def test_log_is_finished_when_the_block_fails(tmp_path: Path) -> None:
    """A run that breaks off still leaves the log of what was printed."""
    log = tmp_path / "a.log"

    def breaking() -> None:
        with Capture(log, 100, redactor=Redactor()) as capture:
            capture.take(Output("stdout", b"last words"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        breaking()

    assert log.read_bytes() == b"last words"


def test_a_full_disk_costs_the_log_and_nothing_else(tmp_path: Path) -> None:
    """What is kept in memory stays whole, and why the log is not is told."""
    (tmp_path / "full.log").symlink_to("/dev/full")

    with Capture(tmp_path / "full.log", LIMIT, redactor=Redactor()) as capture:
        for _ in range(3):
            capture.take(Output("stdout", printed(10_000)))

    assert capture.output.size == 3 * len(printed(10_000))
    assert capture.unlogged == f"{tmp_path}/full.log: No space left on device"


def test_a_log_that_cannot_be_made_is_none(tmp_path: Path) -> None:
    """Nobody is sent to a log that is not there."""
    (tmp_path / "taken").write_text("")

    with Capture(tmp_path / "taken/one.log", LIMIT, redactor=Redactor()) as capture:
        capture.take(Output("stdout", b"fine\n"))

    assert (capture.log, capture.output.head) == (None, b"fine\n")
    assert capture.unlogged.endswith("one.log: File exists")


def test_nobody_sees_what_is_redacted(tmp_path: Path) -> None:
    """A secret cut over pieces of either stream is in no log, no memory and no echo."""
    log, heard = tmp_path / "a.log", list[bytes]()
    redactor = Redactor([Secret.of_variable("T", "hunter2hunter2")])
    with Capture(log, 100, redactor=redactor, on_output=heard.append) as capture:
        for stream, content in [
            ("stdout", b"out hunter2"),
            ("stderr", b"err hunter2hun"),
            ("stdout", b"hunter2."),
            ("stderr", b"ter2 hunter2"),
        ]:
            capture.take(Output(stream, content))  # type: ignore[arg-type]

    shown = b"out err [redacted T].[redacted T] hunter2"
    assert (log.read_bytes(), b"".join(heard), capture.output.head) == (shown, shown, shown)
    assert capture.stderr.head == b"err [redacted T] hunter2"
    assert capture.output.size == len(shown)
