"""Text that somebody else wrote, as one line that cannot steer the terminal it is printed on."""

import shlex
from collections.abc import Iterable

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
