"""Text as others read it: on one line that cannot steer a terminal, for a shell, and for TOML."""

import json
import shlex
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

_LONGEST = 300
_ESCAPED = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\t": r"\t"}


def printable(line: str) -> str:
    """Every control character made visible."""
    return "".join(one if one.isprintable() or one == "\t" else repr(one)[1:-1] for one in line)


def cut(line: str, most: int = _LONGEST) -> str:
    """Made visible, and cut where it is longer than `most` characters."""
    shown = printable(line)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def shortened(text: str, most: int = _LONGEST) -> str:
    """On one line, made visible, and cut where it is longer than `most` characters."""
    return cut(" ".join(text.split()), most)


def command_line(words: Iterable[str]) -> str:
    """The words on one printable line that a shell reads as just these words.

    What cannot be shown stands in `$'…'`, which bash, zsh and ksh read (POSIX.1-2024, 2.2.4).
    """
    return " ".join(shlex.quote(one) if one.isprintable() else _dollar_quoted(one) for one in words)


def _dollar_quoted(word: str) -> str:
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(one: str) -> str:
    if one in _ESCAPED or one.isprintable():
        return _ESCAPED.get(one, one)
    errors = "surrogateescape" if "\udc80" <= one <= "\udcff" else "surrogatepass"
    return "".join(f"\\{byte:03o}" for byte in one.encode("utf-8", errors))


def meant(word: str, known: Collection[str]) -> str:
    """Return a question after the known word that is most like this one; empty where none is."""
    return "".join(f"; did you mean {one!r}?" for one in get_close_matches(word, known, n=1))


def toml(value: object) -> str:
    """Return `value` as TOML 1.0 on one line; the keys of a table are bare keys.

    JSON is TOML here, but for tables and the one control character that JSON leaves as it is.
    """
    match value:
        case Mapping():
            return f"{{ {', '.join(f'{key} = {toml(one)}' for key, one in value.items())} }}"
        case list() | tuple():
            return f"[{', '.join(map(toml, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
