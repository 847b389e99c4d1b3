"""The sending of content to a worker: what it lacks, in parts of a limited size."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

from distributed import Client

from isosmoke.cluster import tasks
from isosmoke.cluster.content.blobs import Part
from isosmoke.cluster.content.trees import Catalog

PART_BYTES = 4 * 1024**2
"""The maximum size of the content in one message to a worker."""

_MAX_PARTS = 100
"""The maximum number of small files in one message, so that each is answered soon."""


class SendingError(Exception):
    """A worker cannot receive or keep content."""


def send(client: Client, address: str, digests: Sequence[str], catalog: Catalog) -> int:
    """Send those of these blobs that a worker lacks; return the number of bytes that were sent.

    Raises:
        SendingError: if it cannot keep them, or does not answer.
    """
    missing = _call(client, address, tasks.find_missing, list(digests))
    sender = token_hex(32)
    total = 0
    for parts in _gather(_split(missing, catalog)):
        if problem := _call(client, address, tasks.put, parts, sender):
            raise SendingError(str(problem))
        total += sum(len(part[3]) for part in parts)
    return total


def _call(client: Client, address: str, function: Callable[..., Any], *arguments: object) -> Any:
    try:
        (result,) = client.run(function, *arguments, workers=[address]).values()
    except Exception as error:
        raise SendingError(f"it cannot receive content: {error}") from error
    return result


def _split(digests: Sequence[str], catalog: Catalog) -> Iterator[Part]:
    for digest in digests:
        content = catalog.blobs.get(digest)
        if content is None:
            raise SendingError(f"it lacks {digest[:12]}, which this client does not have")
        yield from _read_parts(digest, content)


def _read_parts(digest: str, content: Path | bytes) -> Iterator[Part]:
    if isinstance(content, bytes):
        for offset in range(0, max(1, len(content)), PART_BYTES):
            yield digest, offset, len(content), content[offset : offset + PART_BYTES]
        return
    total = content.stat().st_size
    with content.open("rb") as file:
        offset = 0
        while offset == 0 or offset < total:
            piece = file.read(min(PART_BYTES, total - offset)) if total else b""
            yield digest, offset, total, piece
            if not piece:
                return
            offset += len(piece)


def _gather(parts: Iterator[Part]) -> Iterator[list[Part]]:
    """Yield parts together that are small enough for one message."""
    gathered: list[Part] = []
    size = 0
    for part in parts:
        if gathered and (size + len(part[3]) > PART_BYTES or len(gathered) >= _MAX_PARTS):
            yield gathered
            gathered, size = [], 0
        gathered.append(part)
        size += len(part[3])
    if gathered:
        yield gathered
