"""Redaction of secrets in stored and printed text, in any common encoding (pure).

These encodings are found: the bytes themselves; standard and URL-safe base64, at any position in a
longer encoded text and with the line feeds of encoders that wrap at 60 columns or more; hex;
percent-encoding; and escaping for JSON, Python, shells, HTML and XML. Secrets are not found if they
are compressed, encrypted, split, interleaved over both streams, or encoded twice.
"""

import html
import json
import re
import shlex
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, groupby, product
from operator import itemgetter
from urllib.parse import quote_from_bytes

MIN_SECRET_BYTES = 4
"""The minimum size of a secret; a shorter one occurs in any text and is not redacted."""

MAX_SECRET_BYTES = 256 * 1024
"""The maximum size of a secret, in bytes; larger data is not a credential and is not redacted."""

REDACTION_LIMITS = f"only {MIN_SECRET_BYTES} bytes to {MAX_SECRET_BYTES // 1024} KiB are redacted"

MIN_PART_BYTES = 8
"""The minimum size of a line or value that counts as a secret by itself."""

_MIN_WRAP_COLUMNS = 60
_WRAP = re.compile(rb"[\r\n](?<=[A-Za-z0-9+/_=-]{%d}[\r\n])[\r\n]*" % _MIN_WRAP_COLUMNS)
_URLSAFE = bytes.maketrans(b"+/", b"-_")
_ASSIGNED = re.compile(
    rb"""^\s*(?:export\s+)?["']?[\w.-]+["']?\s*[=:]\s*(?P<value>\S.*?)[\s,;]*$"""
)
_PASSWORD = re.compile(rb"://[^/\s:@]*:(?P<value>[^/\s@]+)@")
_PERCENT = re.compile(r"%[0-9A-F]{2}")
_UNENCODED = ("", "/", "!'()*", ";,/?:@&=+$#!'()*")
_QUOTES = ('"', "&quot;", "&#34;")
_APOSTROPHES = ("'", "&#39;", "&#x27;", "&apos;")


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret with the name that replaces it.

    `parts` is empty if the secret is too short or too large to be redacted.
    """

    name: str
    parts: tuple[bytes, ...]

    @classmethod
    def of_variable(cls, name: str, value: str) -> "Secret":
        """Create a secret from a variable: its value, lines, JSON strings and URL password."""
        content = value.encode(errors="surrogateescape")
        return cls(name, _select_parts(content, _find_parts(content)))

    @classmethod
    def of_file(cls, name: str, content: bytes) -> "Secret":
        """Create a secret from a file, as from a variable, plus each value assigned to a key."""
        assigned = (part for line in content.splitlines() for part in _find_assigned(line))
        return cls(name, _select_parts(content, chain(_find_parts(content), assigned)))


def format_placeholder(name: str) -> str:
    """Return the text that replaces a secret."""
    return f"[redacted {name}]"


def _select_parts(content: bytes, parts: Iterable[bytes]) -> tuple[bytes, ...]:
    whole = content.strip()
    if not MIN_SECRET_BYTES <= len(whole) <= MAX_SECRET_BYTES:
        return ()
    return tuple(dict.fromkeys([whole, *(part for part in parts if len(part) >= MIN_PART_BYTES)]))


def _find_parts(content: bytes) -> Iterator[bytes]:
    for text in (content, *_find_json_strings(content)):
        yield text.strip()
        yield from (line.strip() for line in text.splitlines())
        yield from (match["value"] for match in _PASSWORD.finditer(text))


def _find_assigned(line: bytes) -> Iterator[bytes]:
    match = _ASSIGNED.match(line)
    if match:
        yield match["value"].strip(b"\"'")


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


def _encode(value: bytes) -> Iterator[bytes]:
    yield value
    yield from _encode_base64(value)
    yield from (value.hex().encode(), value.hex().upper().encode())
    yield from (text.encode() for text in _encode_percent(value))
    text = value.decode(errors="backslashreplace")
    escaped = (*_escape(text), *_escape_for_python(text, value), *_escape_for_html(text))
    yield from (escaped_text.encode(errors="backslashreplace") for escaped_text in escaped)


def _encode_base64(value: bytes) -> Iterator[bytes]:
    """Yield the base64 of a value on its own, and within a longer text.

    Within a longer text, the characters that encode bits of neighbouring bytes are omitted.
    """
    for whole in (value, value + b"\n"):
        yield b64encode(whole).rstrip(b"=")
    for before in range(3):
        encoded = b64encode(bytes(before) + value)
        inner = encoded[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]
        yield from (inner, inner.translate(_URLSAFE))


def _encode_percent(value: bytes) -> Iterator[str]:
    """Yield the percent-encodings of browsers, forms, Python and curl, for values and URLs."""
    for safe in _UNENCODED:
        quoted = quote_from_bytes(value, safe=safe)
        for text in (quoted, _PERCENT.sub(lambda match: match[0].lower(), quoted)):
            yield from (text, text.replace("%20", "+"))


def _escape(text: str) -> Iterator[str]:
    yield text
    for ascii_only in (True, False):
        in_json = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield from (in_json, in_json.replace("/", r"\/"))
    yield shlex.quote(text).removeprefix("'").removesuffix("'")
    yield text.replace("'", r"'\''")
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", text)
    yield re.sub(r"([$`\"\\])", r"\\\1", text)


def _escape_for_python(text: str, value: bytes) -> Iterator[str]:
    """Yield the Python literals of a value, without their quotes.

    The appended quotes make `repr` escape apostrophes, as it does if the text has both kinds.
    """
    literals = (repr(f"{text}\"'"), ascii(f"{text}\"'"), repr(value + b"\"'")[1:])
    for escaped in (literal[1:-4] for literal in literals):
        yield from (escaped, escaped.replace(r"\'", "'"))


def _escape_for_html(text: str) -> Iterator[str]:
    """Yield the HTML and XML escapes; writers differ in the escaping of quotes."""
    for quote, apostrophe in product(_QUOTES, _APOSTROPHES):
        yield html.escape(text, quote=False).replace('"', quote).replace("'", apostrophe)


@dataclass(frozen=True, slots=True)
class _View:
    """A text without some of its bytes, with a mapping to the original positions.

    `gaps` are the positions in the view where bytes are missing; `shifts` are the numbers of bytes
    missing up to each gap.
    """

    text: bytes
    gaps: tuple[int, ...] = ()
    shifts: tuple[int, ...] = (0,)

    @classmethod
    def unwrap(cls, text: bytes) -> "_View":
        """Create a view without the line feeds of wrapped base64."""
        gaps, shifts = [], [0]
        for match in _WRAP.finditer(text):
            gaps.append(match.start() - shifts[-1])
            shifts.append(shifts[-1] + len(match[0]))
        return cls(_WRAP.sub(b"", text), tuple(gaps), tuple(shifts))

    def locate(self, index: int) -> int:
        """Return the position in the text of byte `index` of the view."""
        return index + self.shifts[bisect_right(self.gaps, index)]


class Redactor:
    """A replacer of secrets in texts and in streams of bytes."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        secrets = tuple(secrets)
        self.unredacted = tuple(secret.name for secret in secrets if not secret.parts)
        """The names of secrets that are too short or too large to be redacted."""
        self._names = dict(_encode_secrets(secrets))
        self._sorted = sorted(self._names)
        self._longest = max(map(len, self._sorted), default=0)
        heads = groupby(self._sorted, itemgetter(slice(MIN_SECRET_BYTES)))
        self._by_head = {head: sorted(forms, key=len, reverse=True) for head, forms in heads}
        self._head = re.compile(_build_head_pattern(sorted(self._by_head)), re.DOTALL)

    def __bool__(self) -> bool:
        """Return whether there are any secrets to redact."""
        return bool(self._names)

    def text(self, text: str) -> str:
        """Return `text` with its secrets replaced."""
        stream = self.stream()
        content = text.encode(errors="surrogateescape")
        return (stream.feed(content) + stream.flush()).decode(errors="surrogateescape")

    def stream(self) -> "RedactionStream":
        """Return a new stream."""
        return RedactionStream(self)

    def find_occurrences(self, text: bytes) -> list[tuple[int, int, str]]:
        """Return the start, end and name of each secret in `text`, sorted by position."""
        names = {
            (view.locate(start), -view.locate(start + len(form) - 1) - 1): self._names[form]
            for view in _build_views(text)
            for start in self._find_starts(view.text, 0)
            for form in self._match_longest(view.text, start)
        }
        return [(start, -end, names[start, end]) for start, end in sorted(names)]

    def find_incomplete(self, text: bytes) -> int:
        """Return the start of a suffix that may be an incomplete secret, or the size of `text`."""
        return min((self._find_incomplete(view) for view in _build_views(text)), default=len(text))

    def _find_incomplete(self, view: _View) -> int:
        size = len(view.text)
        begin = max(0, size - self._longest + 1)
        last = range(max(begin, size - MIN_SECRET_BYTES + 1), size)
        for start in (*self._find_starts(view.text, begin), *last):
            if self._is_prefix(view.text[start:]):
                return view.locate(start)
        return size + view.shifts[-1]

    def _is_prefix(self, text: bytes) -> bool:
        after = bisect_right(self._sorted, text)
        return after < len(self._sorted) and self._sorted[after].startswith(text)

    def _find_starts(self, text: bytes, begin: int) -> Iterator[int]:
        while match := self._head.search(text, begin):
            yield match.start()
            begin = match.start() + 1

    def _match_longest(self, text: bytes, start: int) -> Iterator[bytes]:
        """Yield the longest encoding of a secret at `start`, if there is one."""
        forms = self._by_head[text[start : start + MIN_SECRET_BYTES]]
        yield from [form for form in forms if text.startswith(form, start)][:1]


def _encode_secrets(secrets: Iterable[Secret]) -> Iterator[tuple[bytes, str]]:
    for secret in secrets:
        for part in secret.parts:
            for form in _encode(part):
                if len(form) >= MIN_SECRET_BYTES:
                    yield form, secret.name


def _build_head_pattern(heads: list[bytes]) -> bytes:
    """Return a pattern that matches any of `heads`, which have equal length and are sorted.

    Without heads, the pattern matches nothing. It branches by the first byte, for speed.
    """
    if not heads:
        return rb"(?!)"
    if not heads[0]:
        return b""
    firsts = groupby(heads, itemgetter(slice(1)))
    branches = [
        re.escape(first) + _build_head_pattern([head[1:] for head in group])
        for first, group in firsts
    ]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"


def _build_views(text: bytes) -> Iterator[_View]:
    yield _View(text)
    if _WRAP.search(text):
        yield _View.unwrap(text)


class RedactionStream:
    """A stream of bytes that is redacted in chunks of any size.

    Only a suffix that may be an incomplete secret is held back. The result does not depend on the
    chunk sizes: overlapping secrets are replaced together, by the name of the first.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._buffer = b""
        self._emitted = 0  # the number of bytes of the buffer that were returned already
        self._covered = 0  # the end in the buffer of the last secret that was replaced

    def feed(self, content: bytes) -> bytes:
        """Add a chunk and return the redacted bytes that are complete."""
        if not self._redactor:
            return content
        self._buffer += content
        return self._emit(self._redactor.find_incomplete(self._buffer))

    def flush(self) -> bytes:
        """Return the bytes that were held back, at the end of the stream."""
        return self._emit(len(self._buffer))

    def _emit(self, end: int) -> bytes:
        end = max(end, self._emitted)
        output = b"".join(self._build_output(end))
        # The last columns show whether a following line feed belongs to wrapped base64.
        dropped = max(0, end - _MIN_WRAP_COLUMNS)
        self._buffer = self._buffer[dropped:]
        self._emitted, self._covered = end - dropped, self._covered - dropped
        return output

    def _build_output(self, end: int) -> Iterator[bytes]:
        at = max(self._emitted, self._covered)
        for start, stop, name in self._redactor.find_occurrences(self._buffer):
            if self._emitted <= start < end and start >= self._covered:
                yield self._buffer[at:start]
                yield format_placeholder(name).encode(errors="surrogateescape")
            if self._emitted <= start < end:
                at = self._covered = max(self._covered, stop)
        yield self._buffer[at:end]
