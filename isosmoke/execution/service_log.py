"""The output of a service: read as it arrives, written to a log, and searched for a line.

Nothing else stores the output, so a service that prints without end is slowed to this reader's
speed.
"""

from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

from isosmoke.engines.docker.attach import ContainerOutput
from isosmoke.keeper.events import Output
from isosmoke.regular_expressions import Pattern
from isosmoke.runner.output import Capture
from isosmoke.worker_threads import Workers

_LAST_SECONDS = 5.0
"""The timeout for the last output of a service that has ended."""

_SPAN = 4096
"""The maximum length in bytes of a match that arrives in pieces."""


class Search:
    """A search for a pattern in text that arrives in pieces; without a pattern nothing matches."""

    def __init__(self, pattern: str | None) -> None:
        self._pattern = None if pattern is None else Pattern(pattern, multiline=True)
        self._buffer = b""
        self._start = 0
        self.has_match = False

    def feed(self, piece: bytes) -> None:
        """Search the next piece.

        The character before the buffered text is retained, so that `^` matches correctly.
        """
        if self._pattern is None or self.has_match:
            return
        content = self._buffer + piece
        self.has_match = self._pattern.is_in(content.decode(errors="replace"), self._start)
        self._start = int(self._start or len(content) > _SPAN)
        self._buffer = content[-_SPAN:]


class Transcript:
    """The output of one service, read during a `with` block in which the service ends."""

    def __init__(self, capture: Capture, awaited: str | None) -> None:
        self._capture = capture
        self._search = Search(awaited)
        self._stack = ExitStack()
        self._reading: Future[None] | None = None

    def __enter__(self) -> Self:
        self._stack.enter_context(self._capture)
        self._workers = self._stack.enter_context(Workers(max_workers=1))
        return self

    def follow(self, printing: AbstractContextManager[ContainerOutput]) -> None:
        """Start to read; called before the service starts."""
        printed = self._stack.enter_context(printing)
        self._reading = self._workers.submit(self._read, printed)

    def _read(self, printed: ContainerOutput) -> None:
        for piece in printed:
            self._capture.take(Output("stdout", piece))
            self._search.feed(piece)

    @property
    def has_match(self) -> bool:
        """True if the awaited line was printed."""
        return self._search.has_match

    def last_lines(self, count: int) -> str:
        """Return the last lines of the output, joined on a single line."""
        return " | ".join(self._capture.output.last_lines(count))

    def settle(self) -> None:
        """Wait for the rest of the output of a service that has ended."""
        if self._reading is not None:
            wait([self._reading], _LAST_SECONDS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.settle()
        self._stack.close()
