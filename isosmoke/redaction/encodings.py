"""The encodings in which a secret may appear in a text (pure)."""

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Iterator
from itertools import product
from string import ascii_letters, digits

_URLSAFE = bytes.maketrans(b"+/", b"-_")
_UNRESERVED = f"{ascii_letters}{digits}_.-~"
_UNENCODED = ("", "/", "!'()*", ";,/?:@&=+$#!'()*")
_QUOTES = ('"', "&quot;", "&#34;")
_APOSTROPHES = ("'", "&#39;", "&#x27;", "&apos;")

_PERCENT_TABLES = tuple(
    [chr(byte) if chr(byte) in _UNRESERVED + safe else form % byte for byte in range(256)]
    for safe in _UNENCODED
    for form in ("%%%02X", "%%%02x")
)
"""For each style of percent-encoding, the text of each byte."""


def encode(value: bytes) -> Iterator[bytes]:
    """Yield a value in each encoding; an encoding may occur more than once."""
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
    for table in _PERCENT_TABLES:
        quoted = "".join([table[byte] for byte in value])
        yield from (quoted, quoted.replace("%20", "+"))


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
    import html

    escaped = html.escape(text, quote=False)
    quotes = _QUOTES if '"' in text else _QUOTES[:1]
    apostrophes = _APOSTROPHES if "'" in text else _APOSTROPHES[:1]
    for quote, apostrophe in product(quotes, apostrophes):
        yield escaped.replace('"', quote).replace("'", apostrophe)
