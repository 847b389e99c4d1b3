"""Secrets in what is kept and told: found however they are spelled, replaced by their names (pure).

Spellings that are found: the bytes themselves; base64, standard and urlsafe, at any place in a
longer encoded text, and with the line feeds of encoders that wrap at 60 columns or more; hex;
percent-encoded; escaped for JSON, for Python, for a shell, or for HTML and XML. Not found: what was
compressed, encrypted, cut up, shuffled over both streams, or encoded twice.
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

SHORTEST = 4
"""Bytes; what is shorter than that is found in any text, and is not replaced."""

LARGEST = 256 * 1024
"""Bytes; what is larger than that is no credential, and is not replaced."""

WHY_UNGUARDED = f"only {SHORTEST} bytes to {LARGEST // 1024} KiB are redacted"

SHORTEST_PART = 8
"""Bytes of a line, or of a value in a file, that count as secret by themselves."""

_WRAPPED = 60
_WRAP = re.compile(rb"[\r\n](?<=[A-Za-z0-9+/_=-]{%d}[\r\n])[\r\n]*" % _WRAPPED)
_URLSAFE = bytes.maketrans(b"+/", b"-_")
_ASSIGNED = re.compile(
    rb"""^\s*(?:export\s+)?["']?[\w.-]+["']?\s*[=:]\s*(?P<value>\S.*?)[\s,;]*$"""
)
_PASSWORD = re.compile(rb"://[^/\s:@]*:(?P<value>[^/\s@]+)@")
_PERCENT = re.compile(r"%[0-9A-F]{2}")
_LEFT_BY_ENCODERS = ("", "/", "!'()*", ";,/?:@&=+$#!'()*")
_QUOTES = ('"', "&quot;", "&#34;")
_APOSTROPHES = ("'", "&#39;", "&#x27;", "&apos;")


@dataclass(frozen=True, slots=True)
class Secret:
    """What nobody may read, by the name that is shown instead.

    No parts: it is shorter or larger than what can be replaced.
    """

    name: str
    parts: tuple[bytes, ...]

    @classmethod
    def of_variable(cls, name: str, value: str) -> "Secret":
        """A variable: all of it, its lines, the strings in its JSON, the password of its URL."""
        content = value.encode(errors="surrogateescape")
        return cls(name, _fitting(content, _parts(content)))

    @classmethod
    def of_file(cls, name: str, content: bytes) -> "Secret":
        """A file: as a variable, and besides each value that a line of it assigns to a key."""
        assigned = (part for line in content.splitlines() for part in _assigned(line))
        return cls(name, _fitting(content, chain(_parts(content), assigned)))


def placeholder(name: str) -> str:
    """What stands where a secret was."""
    return f"[redacted {name}]"


def _fitting(content: bytes, parts: Iterable[bytes]) -> tuple[bytes, ...]:
    whole = content.strip()
    if not SHORTEST <= len(whole) <= LARGEST:
        return ()
    return tuple(dict.fromkeys([whole, *(part for part in parts if len(part) >= SHORTEST_PART)]))


def _parts(content: bytes) -> Iterator[bytes]:
    for text in (content, *_strings(content)):
        yield text.strip()
        yield from (line.strip() for line in text.splitlines())
        yield from (found["value"] for found in _PASSWORD.finditer(text))


def _assigned(line: bytes) -> Iterator[bytes]:
    found = _ASSIGNED.match(line)
    if found:
        yield found["value"].strip(b"\"'")


def _strings(content: bytes) -> Iterator[bytes]:
    """The strings in a JSON document, but not its keys."""
    with suppress(ValueError, RecursionError):
        left = [json.loads(content)]
        while left:
            match left.pop():
                case str(text):
                    yield text.encode(errors="surrogatepass")
                case list(items):
                    left += items
                case dict(table):
                    left += table.values()
                case _:
                    pass


def _spellings(value: bytes) -> Iterator[bytes]:
    yield value
    yield from _base64(value)
    yield from (value.hex().encode(), value.hex().upper().encode())
    yield from (one.encode() for one in _percent(value))
    text = value.decode(errors="backslashreplace")
    escaped = (*_escaped(text), *_in_python(text, value), *_in_a_page(text))
    yield from (one.encode(errors="backslashreplace") for one in escaped)


def _base64(value: bytes) -> Iterator[bytes]:
    """Alone; and inside a longer text, all but the bits that it shares with its neighbours."""
    for alone in (value, value + b"\n"):
        yield b64encode(alone).rstrip(b"=")
    for before in range(3):
        encoded = b64encode(bytes(before) + value)
        inner = encoded[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]
        yield from (inner, inner.translate(_URLSAFE))


def _percent(value: bytes) -> Iterator[str]:
    """As browsers, forms, Python and curl do it, a value or a whole address."""
    for safe in _LEFT_BY_ENCODERS:
        quoted = quote_from_bytes(value, safe=safe)
        for one in (quoted, _PERCENT.sub(lambda found: found[0].lower(), quoted)):
            yield from (one, one.replace("%20", "+"))


def _escaped(text: str) -> Iterator[str]:
    yield text
    for ascii_only in (True, False):
        in_json = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield from (in_json, in_json.replace("/", r"\/"))
    yield shlex.quote(text).removeprefix("'").removesuffix("'")
    yield text.replace("'", r"'\''")
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", text)
    yield re.sub(r"([$`\"\\])", r"\\\1", text)


def _in_python(text: str, value: bytes) -> Iterator[str]:
    """What else is in a text decides whether its apostrophes are escaped: here, both quotes are."""
    shown = (repr(f"{text}\"'"), ascii(f"{text}\"'"), repr(value + b"\"'")[1:])
    for escaped in (one[1:-4] for one in shown):
        yield from (escaped, escaped.replace(r"\'", "'"))


def _in_a_page(text: str) -> Iterator[str]:
    """HTML and XML: some writers escape no quotes, or only one kind, or by number."""
    for quote, apostrophe in product(_QUOTES, _APOSTROPHES):
        yield html.escape(text, quote=False).replace('"', quote).replace("'", apostrophe)


@dataclass(frozen=True, slots=True)
class _View:
    """A text without some of its bytes, and where in the text each byte of it was.

    `gaps` are the places in the view where bytes are missing, `shifts` how many up to each.
    """

    text: bytes
    gaps: tuple[int, ...] = ()
    shifts: tuple[int, ...] = (0,)

    @classmethod
    def unwrapped(cls, text: bytes) -> "_View":
        """The view without the line feeds of wrapped base64."""
        gaps, shifts = [], [0]
        for found in _WRAP.finditer(text):
            gaps.append(found.start() - shifts[-1])
            shifts.append(shifts[-1] + len(found[0]))
        return cls(_WRAP.sub(b"", text), tuple(gaps), tuple(shifts))

    def place(self, index: int) -> int:
        """Where in the text the byte `index` of the view is."""
        return index + self.shifts[bisect_right(self.gaps, index)]


class Redactor:
    """Replaces secrets in texts, and in streams that come in pieces."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        secrets = tuple(secrets)
        self.unguarded = tuple(one.name for one in secrets if not one.parts)
        """The names of those that are too short or too large to be replaced."""
        self._names = dict(_named(secrets))
        self._sorted = sorted(self._names)
        self._longest = max(map(len, self._sorted), default=0)
        heads = groupby(self._sorted, itemgetter(slice(SHORTEST)))
        self._by_head = {head: sorted(forms, key=len, reverse=True) for head, forms in heads}
        self._head = re.compile(_any_of(sorted(self._by_head)), re.DOTALL)

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._names)

    def text(self, text: str) -> str:
        """`text` without secrets."""
        stream = self.stream()
        content = text.encode(errors="surrogateescape")
        return (stream.feed(content) + stream.flush()).decode(errors="surrogateescape")

    def stream(self) -> "Stream":
        """A new stream."""
        return Stream(self)

    def occurrences(self, text: bytes) -> list[tuple[int, int, str]]:
        """Where a secret begins and ends in `text`, and its name; by place, none within another."""
        found = {
            (view.place(start), -view.place(start + len(form) - 1) - 1): self._names[form]
            for view in _views(text)
            for start in self._starts(view.text, 0)
            for form in self._beginning(view.text, start)
        }
        return [(start, -end, found[start, end]) for start, end in sorted(found)]

    def pending(self, text: bytes) -> int:
        """Where the end of `text` begins that may yet become a secret; its length if none does."""
        return min((self._pending(view) for view in _views(text)), default=len(text))

    def _pending(self, view: _View) -> int:
        size = len(view.text)
        begin = max(0, size - self._longest + 1)
        last = range(max(begin, size - SHORTEST + 1), size)
        for start in (*self._starts(view.text, begin), *last):
            if self._goes_on(view.text[start:]):
                return view.place(start)
        return size + view.shifts[-1]

    def _goes_on(self, text: bytes) -> bool:
        after = bisect_right(self._sorted, text)
        return after < len(self._sorted) and self._sorted[after].startswith(text)

    def _starts(self, text: bytes, begin: int) -> Iterator[int]:
        while found := self._head.search(text, begin):
            yield found.start()
            begin = found.start() + 1

    def _beginning(self, text: bytes, start: int) -> Iterator[bytes]:
        """The longest spelling that begins there."""
        forms = self._by_head[text[start : start + SHORTEST]]
        yield from [form for form in forms if text.startswith(form, start)][:1]


def _named(secrets: Iterable[Secret]) -> Iterator[tuple[bytes, str]]:
    for secret in secrets:
        for part in secret.parts:
            for form in _spellings(part):
                if len(form) >= SHORTEST:
                    yield form, secret.name


def _any_of(heads: list[bytes]) -> bytes:
    """A pattern of words of one length, by their first bytes: none of them: nothing."""
    if not heads:
        return rb"(?!)"
    if not heads[0]:
        return b""
    firsts = groupby(heads, itemgetter(slice(1)))
    branches = [re.escape(first) + _any_of([one[1:] for one in some]) for first, some in firsts]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"


def _views(text: bytes) -> Iterator[_View]:
    yield _View(text)
    if _WRAP.search(text):
        yield _View.unwrapped(text)


class Stream:
    """One stream of bytes, in pieces of any size.

    Only an end that may yet become a secret is held back. However the stream is cut, the same comes
    out of it: each stretch of bytes that secrets cover, overlapping ones together, becomes the
    name of the first.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._kept = b""
        self._told = 0  # of what is kept, so much went out already
        self._covered = 0  # so far reaches the secret whose name went out last

    def feed(self, content: bytes) -> bytes:
        """What can be told now."""
        if not self._redactor:
            return content
        self._kept += content
        return self._out(self._redactor.pending(self._kept))

    def flush(self) -> bytes:
        """What was held back, at the end of the stream."""
        return self._out(len(self._kept))

    def _out(self, end: int) -> bytes:
        end = max(end, self._told)
        out = b"".join(self._pieces(end))
        past = max(0, end - _WRAPPED)  # tells whether a line feed to come is one of wrapped base64
        self._kept = self._kept[past:]
        self._told, self._covered = end - past, self._covered - past
        return out

    def _pieces(self, end: int) -> Iterator[bytes]:
        at = max(self._told, self._covered)
        for start, stop, name in self._redactor.occurrences(self._kept):
            if self._told <= start < end and start >= self._covered:
                yield self._kept[at:start]
                yield placeholder(name).encode(errors="surrogateescape")
            if self._told <= start < end:
                at = self._covered = max(self._covered, stop)
        yield self._kept[at:end]
