"""Text formatting for terminals, shells and TOML."""

import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from itertools import accumulate
from json.encoder import encode_basestring as _quote_json
from textwrap import wrap
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.text import Text

_DEFAULT_LENGTH = 300
_JSON = json.JSONEncoder(ensure_ascii=False)
_ESCAPED = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\t": r"\t"}


_STYLE = re.compile(r"\x1b\[[0-9;:]*[mK]")
_ESCAPED_BYTE = re.compile(r"\\u(dc[89a-f][0-9a-f])")


def escape_bytes(text: str) -> str:
    """Escape the bytes of a path or argument that are not valid UTF-8, for JSON and TOML."""
    return text.encode(errors="backslashreplace").decode()


def restore_bytes(text: str) -> str:
    """Return the path or argument that `escape_bytes` escaped."""
    return _ESCAPED_BYTE.sub(lambda byte: chr(int(byte[1], 16)), text)


def is_set(value: str) -> bool:
    """Return whether the value of a variable turns something on: empty, 0 and false do not."""
    return value not in ("", "0", "false")


def escape_controls(line: str) -> str:
    """Escape all control characters except tabs, so that a line cannot control a terminal."""
    return "".join(
        character if character.isprintable() or character == "\t" else repr(character)[1:-1]
        for character in line
    )


def strip_styles(line: str) -> str:
    """Remove the sequences that set colours and styles or erase the rest of a line (ECMA-48)."""
    return _STYLE.sub("", line)


def truncate(line: str, max_length: int = _DEFAULT_LENGTH) -> str:
    """Escape control characters, and truncate the line to at most `max_length` characters."""
    escaped = escape_controls(line)
    return escaped if len(escaped) <= max_length else f"{escaped[: max_length - 1]}…"


def wrap_words(text: str, width: int, *, start: int = 0, indent: int = 0) -> str:
    """Wrap the words of a line at `width` characters; a longer word is not split.

    The first row begins at column `start`, the others at column `indent`.
    """
    if start + len(text) <= width or width <= 0:  # some terminals do not report their width
        return text
    rows = wrap(
        text,
        width,
        initial_indent=" " * start,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(rows)[start:]


MAX_CHARACTERS = 8000
"""The length of a text that is shown to a coding agent: it becomes part of its context."""


def count_fitting(lines: Iterable[str]) -> int:
    """Return the number of lines that a coding agent is shown: all that fit, but at least one."""
    ends = accumulate(len(line) + 1 for line in lines)
    return max(1, sum(end <= MAX_CHARACTERS for end in ends))


def shorten(text: str, max_length: int = _DEFAULT_LENGTH) -> str:
    """Join lines, escape control characters, and truncate to at most `max_length` characters."""
    return truncate(" ".join(text.split()), max_length)


def quote_command(arguments: Iterable[str]) -> str:
    """Quote arguments for a shell and join them on one printable line.

    Unprintable characters are quoted as `$'…'`, which bash, zsh and ksh read (POSIX.1-2024, 2.2.4).
    """
    return " ".join(
        shlex.quote(argument) if argument.isprintable() else _dollar_quote(argument)
        for argument in arguments
    )


def _dollar_quote(argument: str) -> str:
    return "$'" + "".join(map(_escape, argument)) + "'"


def _escape(character: str) -> str:
    if character in _ESCAPED or character.isprintable():
        return _ESCAPED.get(character, character)
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", errors))


def format_size(size: int) -> str:
    """Return a number of bytes in the largest unit that gives an integer, such as `64 MiB`."""
    for exponent, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size and not size % (1 << exponent):
            return f"{size >> exponent} {unit}"
    return f"{size} bytes"


def format_json(document: object) -> str:
    """Return a document as JSON text that ends with a line feed; all keys must be texts."""
    return format_json_item(document, "") + "\n"


def format_json_item(value: object, indent: str) -> str:
    """Return a value as JSON text whose further lines begin with `indent`.

    Python's encoder takes five times as long for lines that are indented, and each run writes three
    documents for each scenario.
    """
    if isinstance(value, str):
        return _quote_json(value)
    inner = f"{indent}  "
    separator = f",\n{inner}"
    if isinstance(value, dict) and value:
        items = (f"{_quote_json(key)}: {format_json_item(value[key], inner)}" for key in value)
        return f"{{\n{inner}{separator.join(items)}\n{indent}}}"
    if isinstance(value, list | tuple) and value:
        items = (format_json_item(item, inner) for item in value)
        return f"[\n{inner}{separator.join(items)}\n{indent}]"
    return _JSON.encode(value)


def suggest_match(word: str, known: Collection[str]) -> str:
    """Return `; did you mean '…'?` with the most similar known word; empty if none is similar."""
    from difflib import get_close_matches

    return "".join(f"; did you mean {match!r}?" for match in get_close_matches(word, known, n=1))


def format_toml(value: object) -> str:
    """Return `value` as TOML 1.0 on one line; all table keys must be bare keys.

    For these values JSON is valid TOML, except for tables and for the control character DEL, which
    JSON does not escape.
    """
    match value:
        case Mapping():
            return (
                f"{{ {', '.join(f'{key} = {format_toml(item)}' for key, item in value.items())} }}"
            )
        case list() | tuple():
            return f"[{', '.join(map(format_toml, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


class Line:
    """Text in parts, each with a style: a file or a pipe gets the text, a terminal the styles.

    Only a terminal needs rich, whose import takes a tenth of a short run.
    """

    def __init__(self, text: str = "", style: str = "") -> None:
        self._parts = [(text, style)]

    @classmethod
    def assemble(cls, *parts: str | tuple[str, str]) -> Self:
        """Return a line of texts, and of texts with styles."""
        line = cls()
        for part in parts:
            line.append(*((part, "") if isinstance(part, str) else part))
        return line

    def append(self, text: str, style: str = "") -> Self:
        """Add a text at the end, and return the line."""
        self._parts.append((text, style))
        return self

    def __add__(self, other: "Line") -> "Line":
        return Line.assemble(*self._parts, *other._parts)

    def __str__(self) -> str:
        return "".join(text for text, _ in self._parts)

    def __rich__(self) -> "Text":
        from rich.text import Text

        return Text.assemble(*self._parts)
