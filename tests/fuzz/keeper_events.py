"""Fuzz the frames from the keeper: the decoder, and every request of the runner's client.

The first byte of an input selects the request and the number of chunks in which the remaining bytes
arrive.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

from isosmoke.errors import EngineError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import events
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.events import Event
from isosmoke.keeper.exchange import BrokenError
from isosmoke.keeper.protocol import Decoder, ProtocolError

_SECONDS = 60.0
_CHUNKS = (1, 2, 5, 16)
_ROOT = PurePosixPath("/")
_NEVER = Interrupt()
_ALWAYS_READY = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


class RecordedChannel:
    """A channel with these bytes, in chunks of `size` bytes; it accepts every command."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content, self._size = content, size

    def fileno(self) -> int:
        return _ALWAYS_READY

    def read(self) -> bytes:
        chunk, self._content = self._content[: self._size], self._content[self._size :]
        return chunk

    def write_fileno(self) -> int:
        return _ALWAYS_READY

    def write(self, content: bytes) -> int:
        return len(content)


def _run_script(conversation: Conversation) -> None:
    conversation.wait_until_ready(_SECONDS)
    conversation.start_script(["x"], _ROOT, {}, processes=None, open_files=None)
    try:
        conversation.wait_for_exit(_SECONDS)
    except BrokenError as error:
        conversation.wait_for_unexecuted(error)
    conversation.wait_until_empty(_SECONDS)


def _run_probes(conversation: Conversation) -> None:
    while True:
        conversation.probe(["x"], _ROOT, {}, _SECONDS)


def _use_shell(conversation: Conversation) -> None:
    wanted = (events.ShellOutput, events.InputAccepted, events.Refused, events.ShellExited)
    while True:
        conversation.wait_for_event(wanted, ())


def _read_usages(conversation: Conversation) -> None:
    while True:
        conversation.read_usage()


def _list_processes(conversation: Conversation) -> None:
    while True:
        conversation.list_processes()


def _freeze_survivors(conversation: Conversation) -> None:
    while True:
        conversation.freeze_survivors()
        conversation.thaw()


_REQUESTS: Sequence[Callable[[Conversation], None]] = (
    *(_list_processes, _freeze_survivors, _run_script, _run_probes, _read_usages, _use_shell),
)


def _decode(chunks: Sequence[bytes]) -> Iterator[Event | str]:
    """Yield the events, and at the end the error if there is one."""
    decoder = Decoder()
    try:
        for chunk in chunks:
            yield from decoder.feed(chunk)
    except ProtocolError as error:
        yield str(error)


def run(content: bytes) -> None:
    """Decode the bytes, whole and in chunks, and use them as the answers to one request."""
    selector, frames = content[0] if content else 0, content[1:]
    size = len(frames) // _CHUNKS[selector // len(_REQUESTS) % len(_CHUNKS)] + 1
    chunks = [frames[start : start + size] for start in range(0, len(frames), size)]
    whole, cut = list(_decode([frames])), list(_decode(chunks))
    if repr(whole) != repr(cut):  # the text, because NaN differs from itself
        raise AssertionError(f"the events depend on the chunks: {whole} and {cut}")
    conversation = Conversation(
        RecordedChannel(frames, size), sink=lambda _: None, interrupt=_NEVER, clock=lambda: 0.0
    )
    with suppress(EngineError):
        _REQUESTS[selector % len(_REQUESTS)](conversation)
