"""The keeper's stdin and stdout over Docker's attach stream, and the output of other containers.

The stream is multiplexed. Each payload follows a header of eight bytes: the first is the stream (1
stdout, 2 stderr) and the last four are the size (big endian).
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from struct import Struct

from isosmoke.errors import EngineError

CHUNK_SIZE = 1 << 16
STDERR = 2

_HEADER = Struct(">BxxxI")


class Demultiplexer:
    """A filter that takes the attach stream in chunks of any size and returns stdout.

    With `separate_stderr` it collects stderr in `stderr`; otherwise it returns both streams mixed.
    """

    def __init__(self, *, separate_stderr: bool = True) -> None:
        self._separate_stderr = separate_stderr
        self._pending = bytearray()
        self._stream = 0
        self._remaining = 0
        self.stderr = bytearray()

    def feed(self, content: bytes) -> bytes:
        """Return the bytes of stdout in `content`."""
        self._pending += content
        stdout = bytearray()
        while self._next_header():
            payload = self._pending[: self._remaining]
            del self._pending[: self._remaining]
            self._remaining -= len(payload)
            output = self.stderr if self._separate_stderr and self._stream == STDERR else stdout
            output += payload
        return bytes(stdout)

    def _next_header(self) -> bool:
        """Return whether payload bytes are pending, after reading a header if one is due."""
        if not self._remaining and len(self._pending) >= _HEADER.size:
            self._stream, self._remaining = _HEADER.unpack_from(self._pending)
            del self._pending[: _HEADER.size]
            return True
        return bool(self._remaining and self._pending)


class AttachChannel:
    """A keeper's channel; `explain` returns why its container ended, or an empty string."""

    def __init__(self, connection: socket.socket, explain: Callable[[], str]) -> None:
        self._connection = connection
        self._explain = explain
        self._demultiplexer = Demultiplexer()

    def fileno(self) -> int:
        return self._connection.fileno()

    def read(self) -> bytes:
        while received := self._receive():
            content = self._demultiplexer.feed(received)
            if content:
                return content
        self._raise_error()
        return b""

    def write_fileno(self) -> int:
        return self._connection.fileno()

    def write(self, content: bytes) -> int:
        try:
            return self._connection.send(content, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._raise_error()
            raise EngineError("the sandbox ended before the command could be sent") from error

    def close(self) -> None:
        """End the keeper and every other process in its sandbox."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _receive(self) -> bytes:
        try:
            return self._connection.recv(CHUNK_SIZE)
        except ConnectionResetError:
            return b""

    def _raise_error(self) -> None:
        error = self._demultiplexer.stderr.decode(errors="replace").strip()
        error = error or self._explain()
        if error:
            raise EngineError(error)


class ContainerOutput:
    """Both output streams of a container, in order of arrival, until it ends or this is closed."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def __iter__(self) -> Iterator[bytes]:
        demultiplexer = Demultiplexer(separate_stderr=False)
        with suppress(OSError):
            while received := self._connection.recv(CHUNK_SIZE):
                yield demultiplexer.feed(received)

    def close(self) -> None:
        """Stop listening; a reader that waits for the next chunk reaches the end."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
