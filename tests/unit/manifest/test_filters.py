"""The filter language: matching, formatting and error positions."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.errors import ExitCode, UsageError
from isosmoke.manifest.filters import (
    All,
    And,
    Expression,
    FilterPredicate,
    Not,
    Or,
    Regex,
    Word,
    find_unmatched,
    parse,
)


@dataclass(frozen=True)
class Entry:
    """The attributes of a scenario that an expression tests."""

    name: str
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    image: str = "host"


CHAT = Entry("chat_start", ("fix-chat", "fix-tui"), ("slow",))
TUI = Entry("tui_start", ("fix-tui",))
CLEAN = Entry("chat_clean", ("fix (chat)",), ("slow", "net"), "isosmoke-ci:debian")
SCENARIOS = (CHAT, TUI, CLEAN)

MATCHES = {
    "all()": (CHAT, TUI, CLEAN),
    "name(tui_start)": (TUI,),
    "name(tui)": (),
    "name(chat_*)": (CHAT, CLEAN),
    "name( chat_[cC]lean )": (CLEAN,),
    "name(/_st/)": (CHAT, TUI),
    "name(/^st/)": (),
    "owner(fix-tui)": (CHAT, TUI),
    "owner(/ \\(chat\\)$/)": (CLEAN,),
    "tag(slow) and tag(net)": (CLEAN,),
    "tag(slow)&!tag(net)": (CHAT,),
    "image(isosmoke-ci:debian)": (CLEAN,),
    "image(/ci:d|x\\/y/)": (CLEAN,),
    "not tag(slow)": (TUI,),
    "not not tag(slow)": (CHAT, CLEAN),
    "not tag(slow) or tag(net)": (TUI, CLEAN),
    "not (tag(slow) or tag(net))": (TUI,),
    "name(tui_start)|name(chat_start)and tag(net)": (TUI,),
    "(name(tui_start) or name(chat_clean)) and tag(net)": (CLEAN,),
    "  all (  )  ": (CHAT, TUI, CLEAN),
}


@pytest.mark.parametrize(("text", "expected"), MATCHES.items(), ids=MATCHES)
def test_expression_matches_expected_scenarios(text: str, expected: tuple[Entry, ...]) -> None:
    """Values, globs, regular expressions and precedence work as documented."""
    expression = parse(text)

    assert tuple(scenario for scenario in SCENARIOS if expression.matches(scenario)) == expected


INVALID = {
    "": ("expected one of all(), image(), name(), owner(), tag()", 0),
    "all() and": ("expected one of", 9),
    "ownr(x) and all()": ("unknown predicate 'ownr'; did you mean 'owner'?", 0),
    "all() and zzz(x)": ("unknown predicate 'zzz'", 10),
    "owner": ("expected '(' after 'owner'", 5),
    "owner()": ("expected a word, a glob or a /regular expression/", 6),
    "owner(a and tag(slow)": ("expected ')'", 15),
    "owner(a": ("expected ')'", 7),
    "(all() or all()": ("expected ')'", 15),
    "all() all()": ("expected 'and', 'or' or the end", 6),
    "all())": ("expected 'and', 'or' or the end", 5),
    "all() && all()": ("expected one of", 7),
    "all(x)": ("expected ')'", 4),
    "name(/a)": ("expected a closing '/'", 5),
    "name(/a(/)": ("invalid regular expression: missing )", 5),
    "name(/a/b)": ("expected ')'", 8),
    "all() android()": ("expected 'and', 'or' or the end", 6),
    "not" + "(" * 60 + "all()": ("nested more than 50 levels deep", 52),
}


@pytest.mark.parametrize(
    ("text", "expected"), INVALID.items(), ids=[text or "empty" for text in INVALID]
)
def test_error_marks_its_position(text: str, expected: tuple[str, int]) -> None:
    """The error says what was expected, and a mark below the text shows the position."""
    message, position = expected
    with pytest.raises(UsageError) as caught:
        parse(text)

    first, line, mark = caught.value.message.split("\n")
    assert message in first
    assert line == f"  {text}"
    assert mark == f"  {' ' * position}^"
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.hint


def test_control_characters_are_escaped_in_error() -> None:
    """Control characters and line feeds are escaped, and the mark stays at its position."""
    with pytest.raises(UsageError) as caught:
        parse("tag(\x1b)\n\tor x")

    _, line, mark = caught.value.message.split("\n")
    assert line == "  tag(\\x1b)\\n or x"
    assert line.index("x", 9) == mark.index("^")


def test_unmatched_words_are_reported() -> None:
    """Unmatched words and globs are reported with a suggestion; regular expressions are not."""
    expression = parse("owner(fix-caht) or not (tag(x*) and tag(/x/)) or all() or name(chat_*)")

    assert list(find_unmatched(expression, SCENARIOS)) == [
        "no scenario matches owner(fix-caht); did you mean 'fix-chat'?",
        "no scenario matches tag(x*)",
    ]


WORDS = (
    st.text("ab*?[]!-.:é |&/", min_size=1, max_size=5)
    .map(str.strip)
    .filter(lambda text: text and text[0] != "/")
)
REGEXES = st.sampled_from(["a", "^b$", "a|b", r"\/", r"\\", "[ab)]+", "", "(a)", r"\(", r"a\\\/"])
PREDICATES = st.builds(
    FilterPredicate,
    st.sampled_from(["name", "owner", "tag", "image"]),
    st.one_of(st.builds(Word, WORDS), st.builds(Regex, REGEXES)),
)


def _combine(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    operands = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(Not, parts), st.builds(And, operands), st.builds(Or, operands))


EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    st.one_of(st.just(All()), PREDICATES), _combine, max_leaves=8
)
VALUES = st.lists(st.text("ab/", max_size=3), max_size=2).map(tuple)
ENTRIES = st.builds(Entry, st.text("ab/", max_size=3), VALUES, VALUES, st.text("ab", max_size=2))


@given(EXPRESSIONS)
def test_formatted_expression_parses_to_same_tree(expression: Expression) -> None:
    """Parsing a formatted expression returns the same tree."""
    assert parse(str(expression)) == expression


def evaluate_naively(expression: Expression, entry: Entry) -> bool:
    """Evaluate an expression by an independent implementation."""
    match expression:
        case All():
            return True
        case Not(part):
            return not evaluate_naively(part, entry)
        case And(parts):
            return min(evaluate_naively(part, entry) for part in parts)
        case Or(parts):
            return max(evaluate_naively(part, entry) for part in parts)
        case FilterPredicate(kind, argument):
            return any(matches_argument(argument, value) for value in list_values(entry)[kind])


def list_values(entry: Entry) -> dict[str, tuple[str, ...]]:
    """Return the values that each predicate tests."""
    return {
        "name": (entry.name,),
        "owner": entry.owners,
        "tag": entry.tags,
        "image": (entry.image,),
    }


def matches_argument(argument: Word | Regex, value: str) -> bool:
    """Return whether an argument matches a value."""
    if isinstance(argument, Regex):
        return bool(re.findall(argument.text, value))
    return argument.text == value or fnmatchcase(value, argument.text)


@given(EXPRESSIONS, ENTRIES)
def test_matching_agrees_with_naive_evaluation(expression: Expression, entry: Entry) -> None:
    """For any tree, a scenario matches exactly if the naive evaluation says so."""
    assert expression.matches(entry) == evaluate_naively(expression, entry)


def parse_or_describe(text: str) -> Expression | str:
    """Return the parsed expression, or the error message."""
    try:
        return parse(text)
    except UsageError as error:
        return error.message


@given(st.text("andortgl()!&|/ x*", max_size=30))
def test_any_text_is_parsed_or_rejected_with_position(text: str) -> None:
    """Any text either raises an error with a position or can be formatted and parsed again."""
    result = parse_or_describe(text)

    assert result.endswith("^") if isinstance(result, str) else parse(str(result)) == result
