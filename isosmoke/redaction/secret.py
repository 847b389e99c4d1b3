"""Secrets and the parts of them that are secrets by themselves (pure)."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain

from isosmoke.dataclass import dataclass

MIN_SECRET_BYTES = 4
"""The minimum size of a secret; a shorter one occurs in any text and is not redacted."""

MAX_SECRET_BYTES = 256 * 1024
"""The maximum size of a secret, in bytes; larger data is not a credential and is not redacted."""

MAX_TOTAL_BYTES = 1024**2
"""The maximum size of all secrets of a scenario together, in bytes."""

MAX_TOTAL_PARTS = 50_000
"""The maximum number of the parts of all secrets of a scenario together."""

MIN_PART_BYTES = 8
"""The minimum size of a line or value that counts as a secret by itself."""

_BLOCK_BYTES = 1024
"""The maximum size of a part; a longer one is searched as blocks, so that little is held back."""

_SHARED_BYTES = 16
"""The bytes that successive blocks share, so that their occurrences are replaced together."""

_ASSIGNED = re.compile(rb"""\s*(?:export\s+)?["']?[\w.-]+["']?\s*[=:]\s*(?P<value>\S.*)""")
_PASSWORD = re.compile(rb"://[^/\s:@]*:(?P<value>[^/\s@]+)@")


_ORDINARY = re.compile(r"(?=.{4,16}$)[A-Za-z]+(?:[-_.][A-Za-z]+)*|\d{4,5}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret with the name that replaces it.

    `parts` is empty if the secret is too short or too large to be redacted; `size` is in bytes.
    """

    name: str
    parts: tuple[bytes, ...]
    size: int = 0

    @classmethod
    def of_variable(cls, name: str, value: str) -> "Secret":
        """Create a secret from a variable: its value, lines, JSON strings and URL password."""
        content = value.encode(errors="surrogateescape")
        return cls(name, _select_parts(content, _find_parts(content)), len(content))

    @classmethod
    def of_file(cls, name: str, content: bytes) -> "Secret":
        """Create a secret from a file, as from a variable, plus each value assigned to a key."""
        assigned = (part for line in content.splitlines() for part in _find_assigned(line))
        parts = _select_parts(content, chain(_find_parts(content), assigned))
        return cls(name, parts, len(content))


def is_ordinary(value: str) -> bool:
    """Return True if other text probably contains a value too: a word or a small number."""
    return _ORDINARY.fullmatch(value) is not None


def _select_parts(content: bytes, parts: Iterable[bytes]) -> tuple[bytes, ...]:
    whole = content.strip()
    if not MIN_SECRET_BYTES <= len(whole) <= MAX_SECRET_BYTES:
        return ()
    selected = dict.fromkeys([whole, *(part for part in parts if len(part) >= MIN_PART_BYTES)])
    return tuple(dict.fromkeys(chain.from_iterable(map(_split_into_blocks, selected))))


def _split_into_blocks(part: bytes) -> Iterator[bytes]:
    """Yield a part in blocks that overlap and split no character."""
    for start in range(0, max(1, len(part) - _SHARED_BYTES), _BLOCK_BYTES - _SHARED_BYTES):
        begin, end = (_find_character(part, at) for at in (start, start + _BLOCK_BYTES))
        yield part[begin:end]


def _find_character(text: bytes, at: int) -> int:
    """Return the start of the UTF-8 character at a position; the position itself if it has none."""
    starts = (start for start in range(at, max(-1, at - 4), -1) if _is_character_start(text, start))
    return next(starts, at)


def _is_character_start(text: bytes, at: int) -> bool:
    return at >= len(text) or text[at] & 0xC0 != 0x80  # noqa: PLR2004 - a continuation byte of UTF-8


def _find_parts(content: bytes) -> Iterator[bytes]:
    for text in (content, *_find_json_strings(content)):
        yield text.strip()
        yield from (line.strip() for line in text.splitlines())
        yield from (match["value"] for match in _PASSWORD.finditer(text))


def _find_assigned(line: bytes) -> Iterator[bytes]:
    match = _ASSIGNED.match(line)
    if match:
        yield match["value"].rstrip(b" \t\v\f,;").strip(b"\"'")


def _find_json_strings(content: bytes) -> Iterator[bytes]:
    """Yield the strings in a JSON document, except its keys."""
    with suppress(ValueError, RecursionError):
        stack = [json.loads(content)]
        while stack:
            match stack.pop():
                case str(text):
                    yield text.encode(errors="surrogatepass")
                case list(items):
                    stack += items
                case dict(table):
                    stack += table.values()
                case _:
                    pass
