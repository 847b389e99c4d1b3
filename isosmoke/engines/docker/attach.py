"""The keeper's stdin and stdout over Docker's attach stream; and what another container prints.

The stream is multiplexed: eight bytes of header, of which the first is the stream (1 stdout,
2 stderr) and the last four the size (big endian), then the payload.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from struct import Struct

from isosmoke.errors import EngineError

CHUNK = 1 << 16
STDERR = 2

_HEADER = Struct(">BxxxI")


class Demultiplexer:
    """Bytes in, whatever the chunks; stdout out; what came on stderr is kept in `complaint`.

    Unless it is to be kept `apart`, stderr comes out among it.
    """

    def __init__(self, *, apart: bool = True) -> None:
        self._apart = apart
        self._pending = bytearray()
        self._stream = 0
        self._left = 0
        self.complaint = bytearray()

    def feed(self, content: bytes) -> bytes:
        """The bytes of stdout that `content` brought."""
        self._pending += content
        stdout = bytearray()
        while self._next_header():
            piece = self._pending[: self._left]
            del self._pending[: self._left]
            self._left -= len(piece)
            into = self.complaint if self._apart and self._stream == STDERR else stdout
            into += piece
        return bytes(stdout)

    def _next_header(self) -> bool:
        """Whether a payload can go on, after a header if one is due."""
        if not self._left and len(self._pending) >= _HEADER.size:
            self._stream, self._left = _HEADER.unpack_from(self._pending)
            del self._pending[: _HEADER.size]
            return True
        return bool(self._left and self._pending)


class AttachChannel:
    """A keeper's channel; `explain` says why its container ended, or nothing."""

    def __init__(self, connection: socket.socket, explain: Callable[[], str]) -> None:
        self._connection = connection
        self._explain = explain
        self._demultiplexer = Demultiplexer()

    def fileno(self) -> int:
        return self._connection.fileno()

    def read(self) -> bytes:
        while received := self._received():
            content = self._demultiplexer.feed(received)
            if content:
                return content
        self._raise_complaint()
        return b""

    def outlet(self) -> int:
        return self._connection.fileno()

    def write(self, content: bytes) -> int:
        try:
            return self._connection.send(content, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._raise_complaint()
            raise EngineError("the sandbox ended before it could be spoken to") from error

    def close(self) -> None:
        """End the keeper, and everything in its sandbox."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _received(self) -> bytes:
        try:
            return self._connection.recv(CHUNK)
        except ConnectionResetError:
            return b""

    def _raise_complaint(self) -> None:
        complaint = self._demultiplexer.complaint.decode(errors="replace").strip()
        complaint = complaint or self._explain()
        if complaint:
            raise EngineError(complaint)


class Printed:
    """Both streams of a container, in order of arrival, until it ends or this is closed."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def __iter__(self) -> Iterator[bytes]:
        demultiplexer = Demultiplexer(apart=False)
        with suppress(OSError):
            while received := self._connection.recv(CHUNK):
                yield demultiplexer.feed(received)

    def close(self) -> None:
        """Listen no more; whoever waits for the next piece gets the end."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
