"""The forwarding of input, and of the terminal's size, to a script or to a shell."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from typing import Literal, Protocol

from isosmoke.keeper import protocol
from isosmoke.keeper.events import InputAccepted, InputClosed
from isosmoke.keeper.exchange import StoppedError
from isosmoke.keeper.protocol import Size, StreamPlan

WINDOW = 1 << 14
"""The maximum input in transit, in bytes: less than a pipe holds, to prevent a deadlock."""


class InputSource(Protocol):
    """The stdin of isosmoke, or another source of input."""

    @property
    def keyboard(self) -> int | None:
        """The descriptor that is readable when input is available; None if it must not be read."""

    @property
    def resizes(self) -> int:
        """The descriptor that is readable when the terminal has been resized."""

    def typed(self, limit: int, /) -> bytes:
        """Return the available input, at most `limit` bytes; empty bytes at its end.

        Raises:
            BlockingIOError: if no input is available any more.
        """

    def read_size(self) -> Size:
        """Return the terminal's new size; `resizes` is then not readable until the next change."""


class Streams(InputSource, Protocol):
    """The standard streams of isosmoke, which a command takes over."""

    @property
    def plan(self) -> StreamPlan:
        """The kinds of the command's streams."""

    @property
    def has_interrupted(self) -> bool:
        """True if the user typed the key that interrupts the command."""

    def attached(self) -> AbstractContextManager[None]:
        """Give the terminal, if there is one, to the command during a block."""

    def take_broken(self) -> Collection[Literal["stdout", "stderr"]]:
        """Return each stream whose reader has gone since the last call."""


class InputForwarder:
    """The input of one receiver; it is read only as fast as the receiver accepts it.

    `send` sends a command to the keeper. At a terminal, the end of the input is an error.
    """

    def __init__(
        self,
        source: InputSource,
        send: Callable[[bytes], object],
        receiver: Literal["script", "shell"],
        *,
        is_open: bool = True,
        types: bool,
        resizes: bool,
    ) -> None:
        self._source, self._send, self._receiver = source, send, receiver
        self._types, self._resizes = types, resizes
        self._in_transit = 0
        self._is_open = is_open

    def list_sources(self) -> tuple[int, ...]:
        """Return the descriptors to wait for."""
        wants_input = self._is_open and self._in_transit < WINDOW
        keyboard = self._source.keyboard if wants_input else None
        resizes = (self._source.resizes,) if self._resizes else ()
        return resizes if keyboard is None else (keyboard, *resizes)

    def handle(self, event: InputAccepted | InputClosed) -> None:
        """Note that the receiver accepted input, or that it accepts no more."""
        match event:
            case InputAccepted(size):
                self._in_transit -= size
            case InputClosed():
                self._is_open = False

    def forward(self, readable: Collection[int]) -> None:
        """Send what is available on the readable descriptors.

        Raises:
            StoppedError: if the terminal of the user is gone.
        """
        if self._resizes and self._source.resizes in readable:
            self._send(protocol.encode_resize(self._source.read_size(), self._receiver))
        if self._is_open and self._source.keyboard in readable:
            with suppress(BlockingIOError):  # another process read it
                self._send_input(self._source.typed(WINDOW - self._in_transit))

    def _send_input(self, content: bytes) -> None:
        if not content and self._types:
            raise StoppedError("the terminal is gone")
        self._is_open = bool(content)
        self._in_transit += len(content)
        self._send(protocol.encode_input(content, self._receiver))


class StreamForwarder(InputForwarder):
    """The input of a command that takes over streams, which also learns that a reader has gone."""

    def __init__(self, streams: Streams, send: Callable[[bytes], object]) -> None:
        plan = streams.plan
        super().__init__(
            streams,
            send,
            "script",
            is_open=plan.input != "",
            types=plan.input == "terminal",
            resizes=plan.output == "terminal",
        )
        self._streams = streams

    def forward(self, readable: Collection[int]) -> None:
        super().forward(readable)
        for stream in self._streams.take_broken():
            self._send(protocol.encode_close_output(stream))
