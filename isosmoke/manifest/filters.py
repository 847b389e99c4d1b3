"""The selection language of `-E`: text → tree, tree → text, and whether a scenario is meant.

    owner(fix-chat) and not tag(slow) and name(/^chat_/)

Predicates are `name(…)`, `owner(…)`, `tag(…)`, `image(…)` and `all()`; words and signs mean the
same: `and` `&`, `or` `|`, `not` `!`. An argument is an exact word, a glob (`chat_*`) or a `/regular
expression/` that is found anywhere in the value. `not` binds closer than `and`, `and` than `or`.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from isosmoke.errors import UsageError
from isosmoke.text import meant, printable

_DEEPEST = 50
"""How many brackets and `not`s may be open at once; nobody reads more."""


class Described(Protocol):
    """What an expression reads of a scenario."""

    @property
    def name(self) -> str: ...
    @property
    def owners(self) -> tuple[str, ...]: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def image(self) -> str: ...


_VALUES: Mapping[str, Callable[[Described], tuple[str, ...]]] = {
    "image": lambda one: (one.image,),
    "name": lambda one: (one.name,),
    "owner": lambda one: one.owners,
    "tag": lambda one: one.tags,
}
_ALL = "all"
_KNOWN = (_ALL, *_VALUES)
_EXPECTED = f"expected one of {', '.join(f'{name}()' for name in _KNOWN)}"
_HINT = "-E 'owner(fix-chat) and not (tag(slow) or name(chat_*) or image(/fedora/))'"


@dataclass(frozen=True, slots=True)
class Word:
    """The value itself, or a glob where it has any of `*?[`."""

    text: str

    def fits(self, value: str) -> bool:
        return value == self.text or (self.is_glob and fnmatchcase(value, self.text))

    @property
    def is_glob(self) -> bool:
        return any(one in self.text for one in "*?[")

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Regex:
    r"""A regular expression of Python's, found anywhere in the value; a slash in it is `\/`."""

    text: str

    def fits(self, value: str) -> bool:
        return re.search(self.text, value) is not None

    def __str__(self) -> str:
        return f"/{self.text}/"


@dataclass(frozen=True, slots=True)
class All:
    """Every scenario."""

    def means(self, scenario: Described) -> bool:
        return True

    def __str__(self) -> str:
        return "all()"


@dataclass(frozen=True, slots=True)
class Predicate:
    """Some value of this kind fits the argument."""

    kind: str
    argument: Word | Regex

    def means(self, scenario: Described) -> bool:
        return any(self.argument.fits(value) for value in _VALUES[self.kind](scenario))

    def __str__(self) -> str:
        return f"{self.kind}({self.argument})"


@dataclass(frozen=True, slots=True)
class Not:
    """What the part leaves out."""

    part: "Expression"

    def means(self, scenario: Described) -> bool:
        return not self.part.means(scenario)

    def __str__(self) -> str:
        return f"not {_bracketed(self.part, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """What all parts mean; there are at least two."""

    parts: tuple["Expression", ...]

    def means(self, scenario: Described) -> bool:
        return all(part.means(scenario) for part in self.parts)

    def __str__(self) -> str:
        return " and ".join(_bracketed(part, And, Or) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """What any part means; there are at least two."""

    parts: tuple["Expression", ...]

    def means(self, scenario: Described) -> bool:
        return any(part.means(scenario) for part in self.parts)

    def __str__(self) -> str:
        return " or ".join(_bracketed(part, Or) for part in self.parts)


Expression = All | Predicate | Not | And | Or


def _bracketed(part: Expression, *kinds: type[Expression]) -> str:
    return f"({part})" if isinstance(part, kinds) else str(part)


def unmatched(expression: Expression, scenarios: Collection[Described]) -> Iterator[str]:
    """Each predicate with a word or glob that fits no scenario at all, and what may be meant.

    A typo would else choose nothing or, behind a `not`, leave nothing out. A regular expression may
    fit nothing: it is for what need not be there.
    """
    for one in _predicates(expression):
        if isinstance(one.argument, Word) and not any(map(one.means, scenarios)):
            known = sorted({value for each in scenarios for value in _VALUES[one.kind](each)})
            yield f"no scenario fits {one}{meant(one.argument.text, known)}"


def _predicates(expression: Expression) -> Iterator[Predicate]:
    match expression:
        case Predicate():
            yield expression
        case Not(part):
            yield from _predicates(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from _predicates(part)
        case All():
            return


def parse(text: str) -> Expression:
    """The expression that `text` is.

    Raises:
        UsageError: that points at the place, and says what is expected there.
    """
    return _Parser(text).whole()


_TOKENS = {
    "and": re.compile(r"and\b|&"),
    "or": re.compile(r"or\b|\|"),
    "not": re.compile(r"not\b|!"),
    "(": re.compile(r"\("),
    ")": re.compile(r"\)"),
}
_BLANK = re.compile(r"\s*")
_IDENTIFIER = re.compile(r"\w*")
_REGEX = re.compile(r"/((?:[^/\\]|\\.)*)/", re.DOTALL)
_PLAIN = re.compile(r"[^()]*")


class _Parser:
    """Reads from left to right; `_at` is the place in the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def whole(self) -> Expression:
        found = self._either()
        if self._at < len(self._text):
            raise self._wrong("expected 'and', 'or' or the end")
        return found

    def _several(
        self, word: str, joined: type[And | Or], part: Callable[[], Expression]
    ) -> Expression:
        parts = [part()]
        while self._takes(word):
            parts.append(part())
        return joined(tuple(parts)) if len(parts) > 1 else parts[0]

    def _either(self) -> Expression:
        return self._several("or", Or, lambda: self._several("and", And, self._single))

    def _single(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"is nested more than {_DEEPEST} deep")
        found = self._unjoined()
        self._depth -= 1
        return found

    def _unjoined(self) -> Expression:
        if self._takes("not"):
            return Not(self._single())
        if not self._takes("("):
            return self._predicate()
        found = self._either()
        self._close()
        return found

    def _predicate(self) -> Expression:
        start = self._at
        name = self._matched(_IDENTIFIER)
        if name not in _KNOWN:
            question = meant(name, _KNOWN)
            raise self._wrong(f"no predicate {name!r}{question}" if name else _EXPECTED, start)
        if not self._takes("("):
            raise self._wrong(f"expected '(' after {name!r}")
        found = All() if name == _ALL else Predicate(name, self._argument())
        self._close()
        return found

    def _argument(self) -> Word | Regex:
        self._matched(_BLANK)
        if self._text.startswith("/", self._at):
            return self._regex()
        start = self._at
        word = self._matched(_PLAIN).rstrip()
        if not word:
            raise self._wrong("expected a word, a glob or a /regular expression/", start)
        return Word(word)

    def _regex(self) -> Regex:
        start = self._at
        text = self._matched(_REGEX)[1:-1]
        if self._at == start:
            raise self._wrong("expected another '/', where this regular expression ends", start)
        try:
            re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise self._wrong(f"is no regular expression: {error}", start) from error
        return Regex(text)

    def _close(self) -> None:
        if not self._takes(")"):
            raise self._wrong("expected ')'")

    def _takes(self, token: str) -> bool:
        """Whether this comes next; if so, and with the blanks around it, it is behind us now."""
        self._matched(_BLANK)
        taken = bool(self._matched(_TOKENS[token]))
        self._matched(_BLANK)
        return taken

    def _matched(self, pattern: re.Pattern[str]) -> str:
        """The text that fits here, behind us now; empty where none does."""
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found[0] if found else ""

    def _wrong(self, what: str, at: int | None = None) -> UsageError:
        """What is wrong, over the text and a mark under the place."""
        place = self._at if at is None else at
        before = printable(self._text[:place].expandtabs(1))
        line = f"{before}{printable(self._text[place:].expandtabs(1))}"
        return UsageError(f"-E: {what}\n  {line}\n  {' ' * len(before)}^", _HINT)
