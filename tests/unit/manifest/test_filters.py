"""The selection language: what it means, what it prints, and where it says that a mistake is."""

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
    Not,
    Or,
    Predicate,
    Regex,
    Word,
    parse,
    unmatched,
)


@dataclass(frozen=True)
class Entry:
    """As much of a scenario as an expression reads."""

    name: str
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    image: str = "host"


CHAT = Entry("chat_start", ("fix-chat", "fix-tui"), ("slow",))
TUI = Entry("tui_start", ("fix-tui",))
CLEAN = Entry("chat_clean", ("fix (chat)",), ("slow", "net"), "isosmoke-ci:debian")
SCENARIOS = (CHAT, TUI, CLEAN)

MEANT = {
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


@pytest.mark.parametrize(("text", "expected"), MEANT.items(), ids=MEANT)
def test_an_expression_means_these(text: str, expected: tuple[Entry, ...]) -> None:
    """Words are exact, globs and regular expressions fit, `not` binds closest and `or` least."""
    expression = parse(text)

    assert tuple(one for one in SCENARIOS if expression.means(one)) == expected


WRONG = {
    "": ("expected one of all(), image(), name(), owner(), tag()", 0),
    "all() and": ("expected one of", 9),
    "ownr(x) and all()": ("no predicate 'ownr'; did you mean 'owner'?", 0),
    "all() and zzz(x)": ("no predicate 'zzz'", 10),
    "owner": ("expected '(' after 'owner'", 5),
    "owner()": ("expected a word, a glob or a /regular expression/", 6),
    "owner(a and tag(slow)": ("expected ')'", 15),
    "owner(a": ("expected ')'", 7),
    "(all() or all()": ("expected ')'", 15),
    "all() all()": ("expected 'and', 'or' or the end", 6),
    "all())": ("expected 'and', 'or' or the end", 5),
    "all() && all()": ("expected one of", 7),
    "all(x)": ("expected ')'", 4),
    "name(/a)": ("expected another '/'", 5),
    "name(/a(/)": ("is no regular expression: missing )", 5),
    "name(/a/b)": ("expected ')'", 8),
    "all() android()": ("expected 'and', 'or' or the end", 6),
    "not" + "(" * 60 + "all()": ("is nested more than 50 deep", 52),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.items(), ids=[one or "empty" for one in WRONG])
def test_a_mistake_is_pointed_at(text: str, expected: tuple[str, int]) -> None:
    """The error says what was expected, and a mark stands under the place where."""
    said, place = expected
    with pytest.raises(UsageError) as caught:
        parse(text)

    first, line, mark = caught.value.message.split("\n")
    assert said in first
    assert line == f"  {text}"
    assert mark == f"  {' ' * place}^"
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.hint


def test_an_expression_of_a_stranger_cannot_steer_the_terminal() -> None:
    """Control characters are shown, line feeds too, and the mark still stands under the place."""
    with pytest.raises(UsageError) as caught:
        parse("tag(\x1b)\n\tor x")

    _, line, mark = caught.value.message.split("\n")
    assert line == "  tag(\\x1b)\\n or x"
    assert line.index("x", 9) == mark.index("^")


def test_a_word_that_fits_no_scenario_is_told() -> None:
    """Words and globs are, with what may be meant; a regular expression may fit nothing."""
    expression = parse("owner(fix-caht) or not (tag(x*) and tag(/x/)) or all() or name(chat_*)")

    assert list(unmatched(expression, SCENARIOS)) == [
        "no scenario fits owner(fix-caht); did you mean 'fix-chat'?",
        "no scenario fits tag(x*)",
    ]


WORDS = (
    st.text("ab*?[]!-.:é |&/", min_size=1, max_size=5)
    .map(str.strip)
    .filter(lambda text: text and text[0] != "/")
)
REGEXES = st.sampled_from(["a", "^b$", "a|b", r"\/", r"\\", "[ab)]+", "", "(a)", r"\(", r"a\\\/"])
PREDICATES = st.builds(
    Predicate,
    st.sampled_from(["name", "owner", "tag", "image"]),
    st.one_of(st.builds(Word, WORDS), st.builds(Regex, REGEXES)),
)


def _larger(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(Not, parts), st.builds(And, several), st.builds(Or, several))


EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    st.one_of(st.just(All()), PREDICATES), _larger, max_leaves=8
)
VALUES = st.lists(st.text("ab/", max_size=3), max_size=2).map(tuple)
ENTRIES = st.builds(Entry, st.text("ab/", max_size=3), VALUES, VALUES, st.text("ab", max_size=2))


@given(EXPRESSIONS)
def test_what_is_printed_is_read_as_the_same(expression: Expression) -> None:
    """Printing loses nothing, and adds no more brackets than are needed to tell trees apart."""
    assert parse(str(expression)) == expression


def naive(expression: Expression, entry: Entry) -> bool:
    """What an expression means, said in another way: each value is fitted by another function."""
    match expression:
        case All():
            return True
        case Not(part):
            return not naive(part, entry)
        case And(parts):
            return min(naive(part, entry) for part in parts)
        case Or(parts):
            return max(naive(part, entry) for part in parts)
        case Predicate(kind, argument):
            return any(fits(argument, value) for value in values(entry)[kind])


def values(entry: Entry) -> dict[str, tuple[str, ...]]:
    """What each predicate looks at."""
    return {
        "name": (entry.name,),
        "owner": entry.owners,
        "tag": entry.tags,
        "image": (entry.image,),
    }


def fits(argument: Word | Regex, value: str) -> bool:
    """Whether the argument is the value, or finds it."""
    if isinstance(argument, Regex):
        return bool(re.findall(argument.text, value))
    return argument.text == value or fnmatchcase(value, argument.text)


@given(EXPRESSIONS, ENTRIES)
def test_it_means_what_the_naive_reading_says(expression: Expression, entry: Entry) -> None:
    """Whatever the tree, a scenario is meant exactly where Python's operators say so."""
    assert expression.means(entry) == naive(expression, entry)


def read(text: str) -> Expression | str:
    """The expression, or what is said of the mistake in it."""
    try:
        return parse(text)
    except UsageError as error:
        return error.message


@given(st.text("andortgl()!&|/ x*", max_size=30))
def test_any_text_is_an_expression_or_a_mistake_that_is_pointed_at(text: str) -> None:
    """Nothing else ever happens, and what was read once is printed so that it is read again."""
    found = read(text)

    assert found.endswith("^") if isinstance(found, str) else parse(str(found)) == found
