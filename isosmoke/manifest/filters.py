"""The filter language of `-E`: parsing, formatting and matching of scenarios.

    owner(fix-chat) and not tag(slow) and name(/^chat_/)

The predicates are `name(…)`, `owner(…)`, `tag(…)`, `image(…)` and `all()`. The operators are `not`
or `!`, `and` or `&`, and `or` or `|`, in order of precedence. An argument is an exact value, a glob
(`chat_*`) or a `/regular expression/`, which may match anywhere in the value.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Protocol

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.regular_expressions import Pattern, PatternError
from isosmoke.text import escape_controls, suggest_match

_MAX_DEPTH = 50
"""The maximum nesting of brackets and `not`s."""


class Selectable(Protocol):
    """The attributes of a scenario that an expression can test."""

    @property
    def name(self) -> str: ...
    @property
    def owners(self) -> tuple[str, ...]: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def image(self) -> str: ...


_VALUES: Mapping[str, Callable[[Selectable], tuple[str, ...]]] = {
    "image": lambda scenario: (scenario.image,),
    "name": lambda scenario: (scenario.name,),
    "owner": lambda scenario: scenario.owners,
    "tag": lambda scenario: scenario.tags,
}
_ALL = "all"
_KNOWN = (_ALL, *_VALUES)
_EXPECTED = f"expected one of {', '.join(f'{name}()' for name in _KNOWN)}"
_HINT = "for example, -E 'owner(fix-chat) and not (tag(slow) or name(chat_*) or image(/fedora/))'"


@dataclass(frozen=True, slots=True)
class Word:
    """An exact value, or a glob if it contains any of `*?[`."""

    text: str

    def matches(self, value: str) -> bool:
        return value == self.text or (self.is_glob and fnmatchcase(value, self.text))

    @property
    def is_glob(self) -> bool:
        return any(character in self.text for character in "*?[")

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Regex:
    r"""A regular expression of RE2 that may match anywhere in the value; a slash is `\/`."""

    text: str

    def matches(self, value: str) -> bool:
        return Pattern(self.text).is_in(value)

    def __str__(self) -> str:
        return f"/{self.text}/"


@dataclass(frozen=True, slots=True)
class All:
    """Every scenario."""

    def matches(self, scenario: Selectable) -> bool:
        return True

    def __str__(self) -> str:
        return "all()"


@dataclass(frozen=True, slots=True)
class FilterPredicate:
    """A test for scenarios with at least one value of a kind that matches the argument."""

    kind: str
    argument: Word | Regex

    def matches(self, scenario: Selectable) -> bool:
        return any(self.argument.matches(value) for value in _VALUES[self.kind](scenario))

    def __str__(self) -> str:
        return f"{self.kind}({self.argument})"


@dataclass(frozen=True, slots=True)
class Not:
    """The scenarios that the part does not match."""

    part: "Expression"

    def matches(self, scenario: Selectable) -> bool:
        return not self.part.matches(scenario)

    def __str__(self) -> str:
        return f"not {_format_part(self.part, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """The scenarios that all of at least two parts match."""

    parts: tuple["Expression", ...]

    def matches(self, scenario: Selectable) -> bool:
        return all(part.matches(scenario) for part in self.parts)

    def __str__(self) -> str:
        return " and ".join(_format_part(part, And, Or) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """The scenarios that any of at least two parts matches."""

    parts: tuple["Expression", ...]

    def matches(self, scenario: Selectable) -> bool:
        return any(part.matches(scenario) for part in self.parts)

    def __str__(self) -> str:
        return " or ".join(_format_part(part, Or) for part in self.parts)


Expression = All | FilterPredicate | Not | And | Or


def _format_part(part: Expression, *kinds: type[Expression]) -> str:
    return f"({part})" if isinstance(part, kinds) else str(part)


def find_unmatched(expression: Expression, scenarios: Collection[Selectable]) -> Iterator[str]:
    """Yield a message for each predicate whose word or glob matches no scenario.

    A typo would otherwise select nothing or, after `not`, exclude nothing. A regular expression may
    match nothing, since it is for values that need not exist.
    """
    for predicate in _find_predicates(expression):
        if isinstance(predicate.argument, Word) and not any(map(predicate.matches, scenarios)):
            values_of = _VALUES[predicate.kind]
            known = sorted({value for scenario in scenarios for value in values_of(scenario)})
            yield f"no scenario matches {predicate}{suggest_match(predicate.argument.text, known)}"


def _find_predicates(expression: Expression) -> Iterator[FilterPredicate]:
    match expression:
        case FilterPredicate():
            yield expression
        case Not(part):
            yield from _find_predicates(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from _find_predicates(part)
        case All():
            return


def parse(text: str) -> Expression:
    """Parse an expression.

    Raises:
        UsageError: The text is invalid; the message marks the position and says what is expected.
    """
    return _Parser(text).parse()


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
    """A recursive descent parser; `_at` is its position in the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def parse(self) -> Expression:
        expression = self._parse_or()
        if self._at < len(self._text):
            raise self._build_error("expected 'and', 'or' or the end")
        return expression

    def _parse_operands(
        self, operator: str, node: type[And | Or], parse_operand: Callable[[], Expression]
    ) -> Expression:
        operands = [parse_operand()]
        while self._skip_token(operator):
            operands.append(parse_operand())
        return node(tuple(operands)) if len(operands) > 1 else operands[0]

    def _parse_or(self) -> Expression:
        return self._parse_operands(
            "or", Or, lambda: self._parse_operands("and", And, self._parse_nested)
        )

    def _parse_nested(self) -> Expression:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._build_error(f"nested more than {_MAX_DEPTH} levels deep")
        expression = self._parse_unary()
        self._depth -= 1
        return expression

    def _parse_unary(self) -> Expression:
        if self._skip_token("not"):
            return Not(self._parse_nested())
        if not self._skip_token("("):
            return self._parse_predicate()
        expression = self._parse_or()
        self._expect_closing()
        return expression

    def _parse_predicate(self) -> Expression:
        start = self._at
        name = self._read_match(_IDENTIFIER)
        if name not in _KNOWN:
            suggestion = suggest_match(name, _KNOWN)
            message = f"unknown predicate {name!r}{suggestion}" if name else _EXPECTED
            raise self._build_error(message, start)
        if not self._skip_token("("):
            raise self._build_error(f"expected '(' after {name!r}")
        expression = All() if name == _ALL else FilterPredicate(name, self._parse_argument())
        self._expect_closing()
        return expression

    def _parse_argument(self) -> Word | Regex:
        self._read_match(_BLANK)
        if self._text.startswith("/", self._at):
            return self._parse_regex()
        start = self._at
        word = self._read_match(_PLAIN).rstrip()
        if not word:
            raise self._build_error("expected a word, a glob or a /regular expression/", start)
        return Word(word)

    def _parse_regex(self) -> Regex:
        start = self._at
        text = self._read_match(_REGEX)[1:-1]
        if self._at == start:
            raise self._build_error("expected a closing '/' for this regular expression", start)
        try:
            Pattern(text)
        except PatternError as error:
            raise self._build_error(f"invalid regular expression: {error}", start) from error
        return Regex(text)

    def _expect_closing(self) -> None:
        if not self._skip_token(")"):
            raise self._build_error("expected ')'")

    def _skip_token(self, token: str) -> bool:
        """Move past `token` and the blanks around it; return False if another token is next."""
        self._read_match(_BLANK)
        is_next = bool(self._read_match(_TOKENS[token]))
        self._read_match(_BLANK)
        return is_next

    def _read_match(self, pattern: re.Pattern[str]) -> str:
        """Move past the text that matches here and return it; empty if there is no match."""
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return match[0] if match else ""

    def _build_error(self, problem: str, at: int | None = None) -> UsageError:
        """Return an error that shows the text, with a mark below position `at`."""
        position = self._at if at is None else at
        before = escape_controls(self._text[:position].expandtabs(1))
        line = f"{before}{escape_controls(self._text[position:].expandtabs(1))}"
        return UsageError(f"-E: {problem}\n  {line}\n  {' ' * len(before)}^", _HINT)
