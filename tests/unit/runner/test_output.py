"""The captured output, in memory and in its log."""

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

from isosmoke.keeper.events import Output
from isosmoke.redaction import Redactor, Secret
from isosmoke.results.run_results import CapturedOutput
from isosmoke.runner.output import HEAD, TAIL, Capture

MARKER = re.compile(rb"\n\[isosmoke: (\d+) bytes left out\]\n")
LIMIT = 1 << 20

SIZES = st.sampled_from(
    [0, 1, HEAD - 1, HEAD, HEAD + 1, HEAD + TAIL, HEAD + TAIL + 1, HEAD + 3 * TAIL + 5]
)
CUTS = st.lists(st.integers(0, HEAD + 3 * TAIL + 5), max_size=8)


def create_content(size: int) -> bytes:
    """Return this many bytes, each different from its neighbours."""
    return bytes(range(251)) * (size // 251 + 1)


def split(content: bytes, cuts: list[int]) -> list[bytes]:
    """Return `content` cut at these positions."""
    return [content[a:b] for a, b in pairwise([0, *sorted(cuts), len(content)])]


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Yield a directory for one example of a property."""
    with TemporaryDirectory() as path:
        yield Path(path)


def capture_stdout(
    chunks: list[bytes], log: Path | None = None, limit: int = LIMIT
) -> CapturedOutput:
    """Return the captured output of these chunks on stdout."""
    with Capture(log, limit, redactor=Redactor()) as capture:
        for chunk in chunks:
            capture.take(Output("stdout", chunk))
    return capture.output


@given(SIZES, CUTS)
def test_chunk_sizes_make_no_difference(size: int, cuts: list[int]) -> None:
    """The captured output and the log are independent of the division into pieces."""
    content = create_content(size)[:size]
    with temporary_directory() as directory:
        output = capture_stdout(split(content, cuts), directory / "cut.log", HEAD + 10)
        whole = capture_stdout([content], directory / "whole.log", HEAD + 10)

        assert output == whole
        assert (directory / "cut.log").read_bytes() == (directory / "whole.log").read_bytes()


@given(SIZES)
def test_head_and_tail_are_ends_of_output(size: int) -> None:
    """Head and tail are the ends of the output without overlap, and the size counts every byte."""
    content = create_content(size)[:size]
    output = capture_stdout([content])

    assert output.head == content[:HEAD]
    assert output.tail == content[HEAD:][-TAIL:]
    assert output.size == size
    assert output.left_out == max(0, size - HEAD - TAIL)


def test_output_has_both_streams_in_order() -> None:
    """Both streams are stored in order of arrival, and stderr also separately."""
    pieces: list[tuple[Literal["stdout", "stderr"], bytes]] = [
        ("stdout", b"a"),
        ("stderr", b"b"),
        ("stdout", b"c"),
        ("stderr", b"d"),
    ]
    with Capture(None, 0, redactor=Redactor()) as capture:
        for stream, content in pieces:
            capture.take(Output(stream, content))

    assert (capture.output.head, capture.stderr.head) == (b"abcd", b"bd")


def test_callback_receives_every_piece() -> None:
    """The callback receives each piece completely, even beyond the limit of the log."""
    echoed: list[Output] = []
    with Capture(None, 1, redactor=Redactor(), on_output=echoed.append) as capture:
        capture.take(Output("stdout", b"one"))
        assert echoed == [Output("stdout", b"one")]
        capture.take(Output("stderr", b"two"))

    assert echoed == [Output("stdout", b"one"), Output("stderr", b"two")]


def test_only_stream_is_also_stderr() -> None:
    """If a command has one stream, the cause of a failure is found in it."""
    with Capture(None, LIMIT, redactor=Redactor(), output="joined") as capture:
        capture.take(Output("stdout", b"error: no such file\n"))

    assert capture.stderr == capture.output


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"secret-value"]), max_size=12))
def test_record_of_a_terminal_has_the_line_endings_of_the_program(pieces: list[bytes]) -> None:
    """The terminal shows every byte, the record no carriage return before a line feed."""
    echoed: list[Output] = []
    redactor = Redactor([Secret.of_variable("T", "secret-value")])
    with Capture(
        None, LIMIT, redactor=redactor, on_output=echoed.append, output="terminal"
    ) as capture:
        for piece in pieces:
            capture.take(Output("stdout", piece))

    shown = b"".join(pieces).replace(b"secret-value", b"[redacted T]")
    assert b"".join(output.content for output in echoed) == shown
    assert capture.output.head == shown.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_log_within_limit_is_the_output(tmp_path: Path, size: int) -> None:
    """An output within the limit is in the log unchanged, without a marker."""
    capture_stdout([create_content(size)[:size]], tmp_path / "new" / "a.log", 100)

    assert (tmp_path / "new" / "a.log").read_bytes() == create_content(size)[:size]


def test_log_is_created_without_output(tmp_path: Path) -> None:
    """A silent script has an empty log, which replaces the log of an earlier run."""
    log = tmp_path / "a.log"
    log.write_text("old")
    capture_stdout([], log)

    assert log.read_bytes() == b""


def test_log_beyond_limit_has_marker_and_end(tmp_path: Path) -> None:
    """A truncated log has its limit, a line that counts the missing bytes, and the end."""
    content = create_content(HEAD + 3 * TAIL)
    capture_stdout([content], tmp_path / "a.log", 1000)
    log = (tmp_path / "a.log").read_bytes()

    (marker,) = MARKER.finditer(log)
    assert log[: marker.start()] == content[:1000]
    assert log[marker.end() :] == content[-TAIL:]
    assert int(marker[1]) == len(content) - 1000 - TAIL


def test_log_with_small_limit_has_end_of_output(tmp_path: Path) -> None:
    """The log has the end of an output that fits in memory, even if its limit is small."""
    capture_stdout([b"begin" + b"." * 200 + b"end"], tmp_path / "a.log", 5)
    log = (tmp_path / "a.log").read_bytes()

    assert log.startswith(b"begin")
    assert log.endswith(b"end")


@given(SIZES, st.sampled_from([0, 5, HEAD - 1, HEAD + 10, HEAD + TAIL, LIMIT]))
def test_log_accounts_for_every_byte(size: int, limit: int) -> None:
    """The bytes in a log and those counted by its marker are the whole output, within a limit."""
    content = create_content(size)[:size]
    with temporary_directory() as directory:
        capture_stdout([content], directory / "a.log", limit)
        log = (directory / "a.log").read_bytes()
    marker = MARKER.search(log) if log != content else None
    left_out = int(marker[1]) if marker else 0
    held = len(log) - (len(marker[0]) if marker else 0)

    assert held + left_out == size
    assert held <= limit + TAIL
    assert marker is None or left_out > 0


def test_log_is_complete_if_block_fails(tmp_path: Path) -> None:
    """A run that aborts still has the log of its output."""
    log = tmp_path / "a.log"

    def raise_in_block() -> None:
        with Capture(log, 100, redactor=Redactor()) as capture:
            capture.take(Output("stdout", b"last output"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        raise_in_block()

    assert log.read_bytes() == b"last output"


def test_full_disk_affects_only_the_log(tmp_path: Path) -> None:
    """The output in memory is complete, and the reason for the missing log is reported."""
    (tmp_path / "full.log").symlink_to("/dev/full")

    with Capture(tmp_path / "full.log", LIMIT, redactor=Redactor()) as capture:
        for _ in range(3):
            capture.take(Output("stdout", create_content(10_000)))

    assert capture.output.size == 3 * len(create_content(10_000))
    assert capture.unlogged == f"{tmp_path}/full.log: No space left on device"


def test_log_that_cannot_be_created_is_none(tmp_path: Path) -> None:
    """No user is referred to a log that does not exist."""
    (tmp_path / "file").write_text("")

    with Capture(tmp_path / "file/one.log", LIMIT, redactor=Redactor()) as capture:
        capture.take(Output("stdout", b"fine\n"))

    assert (capture.log, capture.output.head) == (None, b"fine\n")
    assert capture.unlogged.endswith("one.log: File exists")


def test_secret_is_redacted_everywhere(tmp_path: Path) -> None:
    """A secret divided into pieces of a stream is in no log, memory or callback."""
    log, echoed = tmp_path / "a.log", list[Output]()
    redactor = Redactor([Secret.of_variable("T", "hunter2hunter2")])
    with Capture(log, 100, redactor=redactor, on_output=echoed.append) as capture:
        for stream, content in [
            ("stdout", b"out hunter2"),
            ("stderr", b"err hunter2hun"),
            ("stdout", b"hunter2."),
            ("stderr", b"ter2 hunter2"),
        ]:
            capture.take(Output(stream, content))  # type: ignore[arg-type]

    shown = b"out err [redacted T].[redacted T] hunter2"
    printed = b"".join(output.content for output in echoed)
    assert (log.read_bytes(), printed, capture.output.head) == (shown, shown, shown)
    assert capture.stderr.head == b"err [redacted T] hunter2"
    assert capture.output.size == len(shown)
