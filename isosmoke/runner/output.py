"""The capture of a script's output: its ends in memory, and a log on disk up to a limit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from isosmoke.keeper.events import Output
from isosmoke.redaction import Redactor
from isosmoke.results.run_results import CapturedOutput

HEAD = 32 * 1024
TAIL = 64 * 1024


class _HeadAndTail:
    """The beginning and the end of a stream of bytes."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def add(self, content: bytes) -> None:
        self._size += len(content)
        remaining = HEAD - len(self._head)
        self._head += content[:remaining]
        self._tail += content[remaining:]
        if len(self._tail) > 2 * TAIL:
            del self._tail[:-TAIL]

    def snapshot(self) -> CapturedOutput:
        return CapturedOutput(
            head=bytes(self._head), tail=bytes(self._tail[-TAIL:]), size=self._size
        )


class LineEndings:
    """The conversion of the line endings of a terminal to those that a program wrote."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, content: bytes) -> bytes:
        """Return content with line feeds; a carriage return at its end is held back."""
        content = self._held + content
        self._held = content[-1:] if content.endswith(b"\r") else b""
        return content[: len(content) - len(self._held)].replace(b"\r\n", b"\n")

    def flush(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, b""
        return held


class Capture:
    """The output of an attempt, captured during a `with` block.

    The log holds the first `limit` bytes. A longer output is followed by a line with the number of
    missing bytes, and the end. `on_output` receives every piece as it arrives. If the log cannot be
    written, it ends there or `log` is None, and `unlogged` holds the reason; the script is not
    affected. The `redactor` is applied to both streams before anything is stored or passed on.

    With the output `joined` or `terminal`, there is only one stream, which is both stdout and
    stderr. The record of a terminal has the line endings of the program.
    """

    def __init__(
        self,
        log: Path | None,
        limit: int,
        *,
        redactor: Redactor,
        on_output: Callable[[Output], object] | None = None,
        output: Literal["", "joined", "terminal"] = "",
    ) -> None:
        self.log = log
        self._streams = {"stdout": redactor.stream(), "stderr": redactor.stream()}
        self._shown = redactor.stream()
        self._is_one_stream = output != ""
        self._endings = LineEndings() if output == "terminal" else None
        self._on_output = on_output
        self._remaining = limit
        self._both, self._stderr = _HeadAndTail(), _HeadAndTail()
        self._file: IO[bytes] | None = None
        self.unlogged = ""

    def __enter__(self) -> Self:
        if self.log is not None:
            with self._tolerate_write_errors():
                self.log.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.log.open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._endings is None:
            self._store("stdout", self._streams["stdout"].flush())
            self._store("stderr", self._streams["stderr"].flush())
        else:
            self._show(Output("stdout", self._shown.flush()))
            self._keep("stdout", self._streams["stdout"].feed(self._endings.flush()))
            self._keep("stdout", self._streams["stdout"].flush())
        with self._tolerate_write_errors():
            if self._file is not None:
                self._write_end(self._file)
                self._file.close()

    def take(self, output: Output) -> None:
        """Capture a piece of output."""
        if self._endings is None:
            self._store(output.stream, self._streams[output.stream].feed(output.content))
            return
        self._show(replace(output, content=self._shown.feed(output.content)))
        content = self._endings.feed(output.content)
        self._keep(output.stream, self._streams[output.stream].feed(content))

    def _store(self, stream: Literal["stdout", "stderr"], content: bytes) -> None:
        self._show(Output(stream, content))
        self._keep(stream, content)

    def _show(self, output: Output) -> None:
        if output.content and self._on_output is not None:
            self._on_output(output)

    def _keep(self, stream: Literal["stdout", "stderr"], content: bytes) -> None:
        if not content:
            return
        self._both.add(content)
        if stream == "stderr":
            self._stderr.add(content)
        with self._tolerate_write_errors():
            if self._file is not None:
                self._file.write(content[: self._remaining])
        self._remaining = max(0, self._remaining - len(content))

    @contextmanager
    def _tolerate_write_errors(self) -> Iterator[None]:
        """Abandon the log if it cannot be written: a full disk changes no verdict."""
        try:
            yield
        except OSError as error:
            self.unlogged = f"{self.log}: {error.strerror}"
            self._abandon()

    def _abandon(self) -> None:
        if self._file is None:
            self.log = None
        else:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _write_end(self, file: IO[bytes]) -> None:
        missing = self.output.size - file.tell()
        end = self.output.end[-min(missing, TAIL) :] if missing else b""
        if missing > len(end):
            file.write(b"\n[isosmoke: %d bytes left out]\n" % (missing - len(end)))
        file.write(end)

    @property
    def output(self) -> CapturedOutput:
        """The output on both streams, in order of arrival."""
        return self._both.snapshot()

    @property
    def stderr(self) -> CapturedOutput:
        """The output on stderr, or of the only stream."""
        return self._both.snapshot() if self._is_one_stream else self._stderr.snapshot()


class LiveOutputs:
    """The output of the attempts that run, for another thread to read; secrets are redacted."""

    def __init__(self) -> None:
        self._captures: dict[str, Capture] = {}

    @contextmanager
    def showing(self, name: str, capture: Capture) -> Iterator[None]:
        """Show the output of the scenario `name` during the block."""
        self._captures[name] = capture
        try:
            yield
        finally:
            self._captures.pop(name, None)

    def read_last_lines(self, name: str, limit: int) -> tuple[str, ...]:
        """Return at most `limit` last lines of a scenario; none if it does not run."""
        capture = self._captures.get(name)
        return capture.output.last_lines(limit) if capture else ()
