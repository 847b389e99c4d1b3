"""An index of byte strings, the forms, that finds those at a position of a text (pure).

Its cost at a position depends neither on the size of the text nor on how many forms begin alike.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

_KEY_BYTES = 64
"""The size of the piece of a text that is compared first; most forms are not longer."""

_MAX_HEADS = 4096
"""The maximum number of beginnings in the pattern that finds possible positions."""


class FormIndex:
    """Forms of at least `shortest` bytes."""

    def __init__(self, forms: Iterable[bytes], shortest: int) -> None:
        self._forms = sorted(set(forms))
        self._keys = [form[:_KEY_BYTES] for form in self._forms]
        self._shorter = list(_find_longest_prefixes(self._forms))
        self._heads = {form[:shortest] for form in self._forms}
        self._shortest = shortest
        self._pattern = re.compile(_build_pattern(self._heads, shortest), re.DOTALL)
        self.longest = max(map(len, self._forms), default=0)
        """The size of the longest form."""

    def __len__(self) -> int:
        """Return the number of forms."""
        return len(self._forms)

    def find_starts(self, text: bytes, begin: int) -> Iterator[int]:
        """Yield the positions from `begin` at which a form may start."""
        while match := self._pattern.search(text, begin):
            begin = match.start() + 1
            if text[match.start() : match.start() + self._shortest] in self._heads:
                yield match.start()

    def find_longest(self, text: bytes, start: int) -> bytes | None:
        """Return the longest form at `start`; None if there is none.

        Of all forms that sort before the rest of the text, the last one is its longest prefix, or
        begins with it.
        """
        low, high = self._find_range(text, start)
        if low < high:
            high = bisect_right(self._forms, text[start : start + self.longest], low, high)
        at = high - 1
        while at >= 0 and not text.startswith(self._forms[at], start):
            at = self._shorter[at]
        return self._forms[at] if at >= 0 else None

    def is_beginning(self, text: bytes, start: int) -> bool:
        """Return True if the text from `start` is the beginning of a longer form."""
        size = len(text) - start
        if size >= self.longest:
            return False
        low, high = self._find_range(text, start) if size > _KEY_BYTES else (0, len(self))
        rest = text[start:] if low < high else b""
        after = bisect_right(self._forms, rest, low, high)
        return after < high and self._forms[after].startswith(rest)

    def _find_range(self, text: bytes, start: int) -> tuple[int, int]:
        """Return the range of the forms that begin like the text at `start`."""
        key = text[start : start + _KEY_BYTES]
        low = bisect_left(self._keys, key)
        return low, bisect_right(self._keys, key, low)


def _find_longest_prefixes(forms: Sequence[bytes]) -> Iterator[int]:
    """Yield for each of the sorted forms the index of its longest proper prefix; -1 if none."""
    enclosing: list[int] = []
    for number, form in enumerate(forms):
        while enclosing and not form.startswith(forms[enclosing[-1]]):
            enclosing.pop()
        yield enclosing[-1] if enclosing else -1
        enclosing.append(number)


def _build_pattern(heads: Iterable[bytes], size: int) -> bytes:
    """Return a pattern for the beginnings of forms, as long as it can be while it is small."""
    shortened = sorted(heads)
    while len(shortened) > _MAX_HEADS and size > 1:
        size -= 1
        shortened = sorted({head[:size] for head in shortened})
    return _build_head_pattern(shortened)


def _build_head_pattern(heads: list[bytes]) -> bytes:
    """Return a pattern that matches any of `heads`, which have equal length and are sorted.

    Without heads, the pattern matches nothing. It branches by the first byte, for speed.
    """
    if not heads:
        return rb"(?!)"
    if not heads[0]:
        return b""
    firsts = groupby(heads, itemgetter(slice(1)))
    branches = [
        re.escape(first) + _build_head_pattern([head[1:] for head in group])
        for first, group in firsts
    ]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"
