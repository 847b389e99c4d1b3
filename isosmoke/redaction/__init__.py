"""Redaction of secrets in stored and printed text, in any common encoding (pure).

These encodings are found: the bytes themselves; standard and URL-safe base64, at any position in a
longer encoded text and with the line feeds of encoders that wrap at 60 columns or more; hex;
percent-encoding; and escaping for JSON, Python, shells, HTML and XML. Secrets are not found if they
are compressed, encrypted, split, interleaved over both streams, or encoded twice.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from isosmoke.dataclass import dataclass
from isosmoke.redaction.encodings import encode
from isosmoke.redaction.form_index import FormIndex
from isosmoke.redaction.secret import (
    MAX_SECRET_BYTES,
    MAX_TOTAL_BYTES,
    MAX_TOTAL_PARTS,
    MIN_PART_BYTES,
    MIN_SECRET_BYTES,
    Secret,
    is_ordinary,
)

__all__ = [
    "MAX_SECRET_BYTES",
    "MAX_TOTAL_BYTES",
    "MAX_TOTAL_PARTS",
    "MIN_PART_BYTES",
    "MIN_SECRET_BYTES",
    "RedactionStream",
    "Redactor",
    "Secret",
    "format_placeholder",
    "is_ordinary",
]

_LIMITS = (
    f"only {MIN_SECRET_BYTES} bytes to {MAX_SECRET_BYTES // 1024} KiB are redacted, and of all "
    f"secrets together {MAX_TOTAL_BYTES // 1024**2} MiB with {MAX_TOTAL_PARTS:,} lines"
)

_MIN_WRAP_COLUMNS = 60
_WRAP = re.compile(rb"[\r\n](?<=[A-Za-z0-9+/_=-]{%d}[\r\n])[\r\n]*" % _MIN_WRAP_COLUMNS)


def format_placeholder(name: str) -> str:
    """Return the text that replaces a secret."""
    return f"[redacted {name}]"


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
        self._sources = Counter(secret.name for secret in secrets)
        self._names = dict(_encode_secrets(secrets))
        self._forms = FormIndex(self._names, MIN_SECRET_BYTES)

    def __bool__(self) -> bool:
        """Return whether there are any secrets to redact."""
        return bool(self._names)

    def list_notes(self) -> Iterator[str]:
        """Yield a note for each name with secrets that are not redacted."""
        for name, number in Counter(self.unredacted).items():
            total = self._sources[name]
            subject = f"{name} is" if total == 1 else f"{number:,} of {total:,} files of {name} are"
            yield f"{subject} not redacted: {_LIMITS}"

    def text(self, text: str) -> str:
        """Return `text` with its secrets replaced, or `text` itself without any secrets."""
        if not self:
            return text
        stream = self.stream()
        content = text.encode(errors="surrogateescape")
        return (stream.feed(content) + stream.flush()).decode(errors="surrogateescape")

    def stream(self) -> "RedactionStream":
        """Return a new stream."""
        return RedactionStream(self)

    def find_occurrences(self, text: bytes) -> list[tuple[int, int, str]]:
        """Return the start, end and name of each secret in `text`, sorted by position."""
        if not self._names:
            return []  # a large text would have several copies
        names = {
            (view.locate(start), -view.locate(start + len(form) - 1) - 1): self._names[form]
            for view in _build_views(text)
            for start in self._forms.find_starts(view.text, 0)
            if (form := self._forms.find_longest(view.text, start)) is not None
        }
        return [(start, -end, names[start, end]) for start, end in sorted(names)]

    def find_incomplete(self, text: bytes) -> int:
        """Return the start of a suffix that may be an incomplete secret, or the size of `text`."""
        return min((self._find_incomplete(view) for view in _build_views(text)), default=len(text))

    def _find_incomplete(self, view: _View) -> int:
        size = len(view.text)
        begin = max(0, size - self._forms.longest + 1)
        last = range(max(begin, size - MIN_SECRET_BYTES + 1), size)
        for start in chain(self._forms.find_starts(view.text, begin), last):
            if self._forms.is_beginning(view.text, start):
                return view.locate(start)
        return size + view.shifts[-1]


def _encode_secrets(secrets: Iterable[Secret]) -> Iterator[tuple[bytes, str]]:
    for secret in secrets:
        for part in secret.parts:
            for form in encode(part):
                if len(form) >= MIN_SECRET_BYTES:
                    yield form, secret.name


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
