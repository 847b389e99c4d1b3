"""Line numbers of the keys in a TOML text."""

from collections import Counter
from collections.abc import Iterator, Mapping

import tomli

Loc = tuple[str | int, ...]
"""The path to a value: table names, keys and list indices."""


class LineIndex:
    """Line numbers of the keys in a valid TOML text.

    The TOML parser itself finds the end of each statement: lines are added until it accepts them.
    In a valid text that happens exactly when the statement is complete. This is slower than
    parsing the text, so it is only used to report a mistake.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Loc, int] = {}
        self._lengths: Counter[Loc] = Counter()
        self._table: Loc = ()
        for first_line, statement in _split_statements(text):
            if statement[0].lstrip().startswith("["):
                self._add_header(first_line, _parse_lines(statement))
            else:
                self._add_statement(first_line, statement)

    def find_line(self, loc: Loc) -> int | None:
        """Return the line of `loc` or of its closest known parent, counted from 1, or None."""
        known = (loc[:end] for end in range(len(loc), 0, -1) if loc[:end] in self._lines)
        return next((self._lines[parent] for parent in known), None)

    def _add_header(self, first_line: int, header: object) -> None:
        loc: Loc = ()
        while isinstance(header, dict) and header:
            ((key, header),) = header.items()
            loc = (*loc, key)
            self._lines.setdefault(loc, first_line)
            self._lengths[loc] += isinstance(header, list)
            if self._lengths[loc]:
                loc = (*loc, self._lengths[loc] - 1)
                self._lines.setdefault(loc, first_line)
        self._table = loc

    def _add_statement(self, first_line: int, statement: list[str]) -> None:
        for loc, line in _find_lines(statement):
            self._lines.setdefault((*self._table, *loc), first_line + line)


def _split_statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of each statement, with the number of the first line."""
    lines: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        lines.append(line)
        # Only a bracket or triple quotes can end a statement of several lines.
        may_end = len(lines) == 1 or any(end in line for end in ("]", '"""', "'''"))
        if may_end and _parse_lines(lines) is not None:
            yield number - len(lines) + 1, lines
            lines = []


def _find_lines(statement: list[str]) -> Iterator[tuple[Loc, int]]:
    """Yield each key and list item with the line, from 0, where it is complete.

    A path may occur several times; its first occurrence counts.
    """
    locs = list(_find_locs(_parse_lines(statement)))
    items = {loc for loc in locs if any(isinstance(key, int) for key in loc)}
    yield from ((loc, 0) for loc in locs if loc not in items)
    for last in range(len(statement) - 1 if items else 0):
        for closed in ("]", "]}"):
            for loc in _find_locs(_parse_lines([*statement[: last + 1], closed])):
                yield loc, last
    yield from ((loc, len(statement) - 1) for loc in items)


def _parse_lines(lines: list[str]) -> Mapping[str, object] | None:
    try:
        return tomli.loads("\n".join(lines))
    except tomli.TOMLDecodeError:
        return None


def _find_locs(document: object) -> Iterator[Loc]:
    """Yield the path to every value in `document`, without recursion as keys nest without limit."""
    stack: list[tuple[Loc, object]] = [((), document)]
    while stack:
        loc, node = stack.pop()
        children = enumerate(node) if isinstance(node, list) else ()
        for key, child in node.items() if isinstance(node, dict) else children:
            yield (*loc, key)
            stack.append(((*loc, key), child))
