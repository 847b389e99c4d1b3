"""What a service prints, as it comes: kept in its log, looked through for a line, never piled up.

Nobody else keeps it: a service that prints without end is slowed down to what is read here.
"""

import re
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

from isosmoke.engines.docker.attach import Printed
from isosmoke.keeper.protocol import Output
from isosmoke.runner.output import Capture
from isosmoke.threads import Workers

_LAST_SECONDS = 5.0
"""How long the last words of a service that has ended may take."""

_SPAN = 4096
"""Bytes, the most that what is looked for may lie over when it comes in pieces."""


class Search:
    """Looks for a pattern in a text that comes in pieces; None is never found."""

    def __init__(self, pattern: str | None) -> None:
        self._pattern = None if pattern is None else re.compile(pattern, re.MULTILINE)
        self._kept = b""
        self._begin = 0
        self.found = False

    def feed(self, piece: bytes) -> None:
        """What is kept of earlier pieces has one character before it, so that `^` is no guess."""
        if self._pattern is None or self.found:
            return
        content = self._kept + piece
        self.found = bool(self._pattern.search(content.decode(errors="replace"), self._begin))
        self._begin = int(self._begin or len(content) > _SPAN)
        self._kept = content[-_SPAN:]


class Transcript:
    """The words of one service, for the time of a `with` block that the service ends within."""

    def __init__(self, capture: Capture, awaited: str | None) -> None:
        self._capture = capture
        self._search = Search(awaited)
        self._stack = ExitStack()
        self._reading: Future[None] | None = None

    def __enter__(self) -> Self:
        self._stack.enter_context(self._capture)
        self._workers = self._stack.enter_context(Workers(max_workers=1))
        return self

    def follow(self, printing: AbstractContextManager[Printed]) -> None:
        """Begin to read, before the service starts."""
        printed = self._stack.enter_context(printing)
        self._reading = self._workers.submit(self._read, printed)

    def _read(self, printed: Printed) -> None:
        for piece in printed:
            self._capture.take(Output("stdout", piece))
            self._search.feed(piece)

    @property
    def has_it(self) -> bool:
        """Whether what is awaited was printed."""
        return self._search.found

    def last(self, lines: int) -> str:
        """What was printed last, in a line."""
        return " | ".join(self._capture.output.last_lines(lines))

    def settle(self) -> None:
        """Hear out a service that has ended."""
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
