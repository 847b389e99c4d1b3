"""The files that the text of a script mentions: those that it sources, and all that it names.

Nothing is executed, so the result errs on the side of too many: a file that is only mentioned
counts as read.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

_SOURCE = re.compile(
    r"(?:^|[;&|({!]|\b(?:then|do|else)\b)[ \t]*(?:(?:builtin|command)[ \t]+)*"
    r"(?:source|\.)[ \t]+(\S.*)",
    re.MULTILINE,
)
_UNKNOWN = "\0"
_EXPANSION = re.compile(r"\$\([^()]*\)|`[^`]*`|\$\{[^{}]*\}|\$\w+|\$[@*#?!$-]|[*?]")
_PATH = re.compile(r"[\w.+@-]+(?:/[\w.+@-]+)*")
_DIRECTORY = re.compile(r"(?<![\w.+@-])([\w.+@-]+(?:/[\w.+@-]+)*)/(?=[*?\[{$\"'])")
SUFFIXES = (".sh", ".bash")
"""The suffixes of shell scripts."""


class Mentions(NamedTuple):
    """The paths that a script sources, everything that may be a path, and directories.

    A path starts anywhere: `source "$HERE/lib.sh"` sources `lib.sh`, and from `$HERE/a/b.sh` the
    names are `HERE/a/b.sh`, `a/b.sh` and `b.sh`. Directories are named before a pattern or an
    expansion.
    """

    sourced: frozenset[str]
    named: frozenset[str]
    directories: frozenset[str]
    scripts: frozenset[str]
    """The names that end as a shell script does."""

    by_end: Mapping[str, tuple[str, ...]]
    """The names by their last parts."""


@lru_cache(maxsize=4096)
def find_mentions(text: str) -> Mentions:
    """Return the paths that a text mentions; scripts seldom change, so the result is kept."""
    named = frozenset(_list_tails(match.rstrip(".") for match in _PATH.findall(text)))
    return Mentions(
        frozenset(_find_sourced(text)),
        named,
        frozenset(_list_tails(_DIRECTORY.findall(text))),
        frozenset(name for name in named if name.endswith(SUFFIXES)),
        _group_by_end(named),
    )


def _group_by_end(names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition("/")[2], []).append(name)
    return {end: tuple(group) for end, group in groups.items()}


def _find_sourced(text: str) -> Iterator[str]:
    """Yield the path that each `source` command names, after its last expansion."""
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


def _list_tails(paths: Iterable[str]) -> Iterator[str]:
    """Yield each path, and each tail of it."""
    for path in set(paths):
        parts = path.split("/")
        yield from ("/".join(parts[start:]) for start in range(len(parts)))
