"""The files that a script runs as its own code: those that it sources, and scripts that it names.

Nothing is executed, so the result errs on the side of too many: a file that is only mentioned
counts as read.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from posixpath import dirname, join, normpath
from typing import NamedTuple

_SOURCE = re.compile(
    r"(?:^|[;&|({!]|\b(?:then|do|else)\b)[ \t]*(?:builtin[ \t]+|command[ \t]+)?"
    r"(?:source|\.)[ \t]+(\S.*)",
    re.MULTILINE,
)
_UNKNOWN = "\0"
_EXPANSION = re.compile(r"\$\([^()]*\)|`[^`]*`|\$\{[^{}]*\}|\$\w+|\$[@*#?!$-]|[*?]")
_PATH = re.compile(r"[\w.+@-]+(?:/[\w.+@-]+)*")
_DIRECTORY = re.compile(r"([\w.+@-]+(?:/[\w.+@-]+)*)/(?=[*?\[{$\"'])")
SUFFIXES = (".sh", ".bash")
"""The suffixes of shell scripts."""


def find_sourced(text: str) -> Iterator[str]:
    """Yield the path that each `source` command names, after its last expansion.

    `source "$HERE/lib.sh"` names `lib.sh`.
    """
    return filter(None, map(_parse_target, _SOURCE.findall(text)))


def _parse_target(statement: str) -> str:
    while (shorter := _EXPANSION.sub(_UNKNOWN, statement)) != statement:
        statement = shorter
    try:
        word = shlex.split(statement)[0]
    except (ValueError, IndexError):
        word = re.split(r"[\s;&|]", statement)[0].strip("\"'")
    _, unknown, known = word.rstrip(";&|)}").rpartition(_UNKNOWN)
    return known.lstrip("/") if unknown else known


def find_named(text: str) -> set[str]:
    """Return everything in a text that may be a path, and each tail of it.

    From `$HERE/a/b.sh` these are `HERE/a/b.sh`, `a/b.sh` and `b.sh`.
    """
    matches = {match.rstrip(".") for match in _PATH.findall(text)}
    paths = [match.split("/") for match in matches]
    return {"/".join(parts[start:]) for parts in paths for start in range(len(parts))}


def find_directories(text: str) -> set[str]:
    """Return every directory that a text names before a pattern or an expansion, and its tails."""
    paths = [match.split("/") for match in _DIRECTORY.findall(text)]
    return {"/".join(parts[start:]) for parts in paths for start in range(len(parts))}


class Candidates(NamedTuple):
    """Paths that a script may run or read; `directories` are named before a pattern."""

    sourced: set[str]
    named: set[str]
    directories: set[str]


def find_candidates(script: str, text: str, directory: str) -> Candidates:
    """Return the paths that a text mentions, relative to the top.

    `script` is its path and `directory` that of its manifest. A mentioned path is relative to
    either of the two directories.
    """
    bases = (dirname(script), directory)
    return Candidates(
        _join(bases, find_sourced(text)),
        _join(bases, find_named(text)),
        _join(bases, find_directories(text)) - {".", directory},
    )


def _join(bases: Iterable[str], names: Iterable[str]) -> set[str]:
    unique = set(names)
    return {normpath(join(base, name)) for base in bases for name in unique}
