"""Text formatting for terminals, shells and TOML."""

import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from textwrap import wrap

_DEFAULT_LENGTH = 300
_ESCAPED = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\t": r"\t"}


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
    """Return a document as JSON text that ends with a line feed."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def suggest_match(word: str, known: Collection[str]) -> str:
    """Return `; did you mean '…'?` with the most similar known word; empty if none is similar."""
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
