"""The forwarding of input, with a fake source and a list in place of the keeper."""

import struct
from collections.abc import Collection

import pytest

from isosmoke.keeper.events import InputAccepted, InputClosed
from isosmoke.keeper.exchange import StoppedError
from isosmoke.keeper.input_forwarding import WINDOW, InputForwarder
from isosmoke.keeper.protocol import Size, encode_frame

KEYBOARD, RESIZES = 7, 8


class Pieces:
    """A source with these pieces of input; the keyboard is missing while `is_hidden`."""

    resizes = RESIZES

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.is_hidden = False
        self.limits: list[int] = []

    @property
    def keyboard(self) -> int | None:
        return None if self.is_hidden else KEYBOARD

    def typed(self, limit: int, /) -> bytes:
        self.limits.append(limit)
        if not self._pieces:
            raise BlockingIOError
        return self._pieces.pop(0)

    def read_size(self) -> Size:
        return Size(1, 2)


def forward(
    source: Pieces, *events: Collection[int] | InputAccepted | InputClosed, types: bool = False
) -> tuple[list[bytes], tuple[int, ...]]:
    """Forward a source during these events; return what was sent, and what is awaited then."""
    sent: list[bytes] = []
    forwarder = InputForwarder(source, sent.append, "script", types=types, resizes=types)
    for event in events:
        if isinstance(event, InputAccepted | InputClosed):
            forwarder.handle(event)
        else:
            forwarder.forward(event)
    return sent, forwarder.list_sources()


def test_input_and_its_end_are_sent() -> None:
    """After the end, no input is awaited."""
    sent, sources = forward(Pieces(b"a", b""), [KEYBOARD], [KEYBOARD], [KEYBOARD])

    assert sent == [encode_frame(b"I", b"a"), encode_frame(b"I", b"")]
    assert sources == ()


def test_no_more_is_read_than_was_accepted() -> None:
    """Input in transit is limited, so a command that reads nothing makes no memory grow."""
    source = Pieces(b"x" * WINDOW, b"y")
    assert forward(source, [KEYBOARD])[1] == ()

    _, sources = forward(Pieces(b"x" * WINDOW), [KEYBOARD], InputAccepted(10))
    assert sources == (KEYBOARD,)


def test_limit_is_what_remains_of_the_window() -> None:
    """A read asks for no more than the window still holds."""
    source = Pieces(b"abc", b"d")
    forward(source, [KEYBOARD], [KEYBOARD])

    assert source.limits == [WINDOW, WINDOW - 3]


def test_nothing_is_read_for_a_receiver_that_closed_its_input() -> None:
    """A closed input is neither awaited nor read any more."""
    source = Pieces(b"a")
    sent, sources = forward(source, InputClosed(), [KEYBOARD])

    assert (sent, sources, source.limits) == ([], (), [])


def test_input_that_another_process_read_is_not_the_end() -> None:
    """If nothing is available any more, the next input is awaited."""
    assert forward(Pieces(), [KEYBOARD]) == ([], (KEYBOARD,))


def test_hidden_keyboard_is_not_awaited() -> None:
    """In the background, only a new size of the terminal is awaited."""
    source = Pieces(b"a")
    source.is_hidden = True

    assert forward(source, types=True) == ([], (RESIZES,))


def test_new_size_is_sent() -> None:
    """A resize of the terminal is sent to the script."""
    sent, _ = forward(Pieces(), [RESIZES], types=True)

    assert sent == [encode_frame(b"W", struct.pack(">HH", 1, 2))]


def test_lost_terminal_is_an_error() -> None:
    """A terminal has no end of input, so an end means that it is gone."""
    with pytest.raises(StoppedError, match="terminal is gone"):
        forward(Pieces(b""), [KEYBOARD], types=True)
