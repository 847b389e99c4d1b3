"""Which line each key of a TOML text stands on."""

from collections import Counter
from collections.abc import Iterator, Mapping

import tomli

Loc = tuple[str | int, ...]
"""The way to a value: table names, keys and places in lists."""


class Lines:
    """Which line each key of a valid text stands on.

    The TOML reader itself tells statements apart: lines are added until it takes them, which for a
    valid text is just when a statement is whole. This takes longer than reading does, so it is for
    texts with a mistake only.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Loc, int] = {}
        self._lengths: Counter[Loc] = Counter()
        self._table: Loc = ()
        for first, statement in _statements(text):
            if statement[0].lstrip().startswith("["):
                self._open(first, _taken(statement))
            else:
                self._add(first, statement)

    def line(self, loc: Loc) -> int | None:
        """The line of `loc`, else of what it lies in, counted from 1."""
        known = (loc[:end] for end in range(len(loc), 0, -1) if loc[:end] in self._lines)
        return next((self._lines[one] for one in known), None)

    def _open(self, first: int, header: object) -> None:
        loc: Loc = ()
        while isinstance(header, dict) and header:
            ((key, header),) = header.items()
            loc = (*loc, key)
            self._lines.setdefault(loc, first)
            self._lengths[loc] += isinstance(header, list)
            if self._lengths[loc]:
                loc = (*loc, self._lengths[loc] - 1)
                self._lines.setdefault(loc, first)
        self._table = loc

    def _add(self, first: int, statement: list[str]) -> None:
        for loc, line in _places(statement):
            self._lines.setdefault((*self._table, *loc), first + line)


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each statement as its lines, with the number of the first."""
    lines: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        lines.append(line)
        # Beyond one line, only a bracket or three quotes can end it; long text costs one look.
        may_end = len(lines) == 1 or any(end in line for end in ("]", '"""', "'''"))
        if may_end and _taken(lines) is not None:
            yield number - len(lines) + 1, lines
            lines = []


def _places(statement: list[str]) -> Iterator[tuple[Loc, int]]:
    """Each key and item in `statement`, with the line in it where it is whole; the first holds."""
    whole = list(_locs(_taken(statement)))
    items = {loc for loc in whole if any(isinstance(key, int) for key in loc)}
    yield from ((loc, 0) for loc in whole if loc not in items)
    for last in range(len(statement) - 1 if items else 0):
        for closed in ("]", "]}"):
            for loc in _locs(_taken([*statement[: last + 1], closed])):
                yield loc, last
    yield from ((loc, len(statement) - 1) for loc in items)


def _taken(lines: list[str]) -> Mapping[str, object] | None:
    try:
        return tomli.loads("\n".join(lines))
    except tomli.TOMLDecodeError:
        return None


def _locs(document: object) -> Iterator[Loc]:
    """The way to everything in `document`; no recursion, since dotted keys nest without limit."""
    waiting: list[tuple[Loc, object]] = [((), document)]
    while waiting:
        loc, node = waiting.pop()
        inside = enumerate(node) if isinstance(node, list) else ()
        for key, child in node.items() if isinstance(node, dict) else inside:
            yield (*loc, key)
            waiting.append(((*loc, key), child))
