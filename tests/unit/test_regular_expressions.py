"""Regular expressions of users: linear time, lines, unusual characters, errors."""

import pytest

from isosmoke.regular_expressions import Pattern, PatternError


@pytest.mark.parametrize("text", ["(a+)+x", "(a|aa)*x", "(.*)*x", "^(\\w+\\s?)*$"])
def test_search_does_not_backtrack(text: str) -> None:
    """A backtracking engine does not come to an end on these."""
    assert not Pattern(text).is_in("a" * 5000 + "!")


def test_pattern_is_found_anywhere_after_the_start() -> None:
    """The search begins at an index of characters, and `^` keeps its meaning there."""
    assert Pattern("b.d").is_in("äbcd")
    assert Pattern("b.d").is_in("äbcd", 1)
    assert not Pattern("b.d").is_in("äbcd", 2)
    assert not Pattern("^b").is_in("äbcd", 1)


def test_multiline_pattern_matches_at_lines() -> None:
    """Only with `multiline` are `^` and `$` the ends of a line."""
    assert Pattern("^ready$", multiline=True).is_in("starting\nready\nserving")
    assert not Pattern("^ready$").is_in("starting\nready\nserving")


def test_undecodable_byte_is_one_character() -> None:
    """A byte of a command line that is not UTF-8 neither raises nor hides the rest."""
    assert Pattern("^sleep .x$").is_in("sleep \udcffx")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a(", "missing )"),
        ("(?=a)", "invalid perl operator"),
        (r"(a)\1", "invalid escape sequence"),
        ("a{5000}", "invalid repetition size"),
        ("a\udcff", "cannot encode"),
        ("a)|(b", "unexpected )"),
    ],
)
def test_text_that_is_no_pattern_is_refused(text: str, reason: str) -> None:
    """The error gives the reason, without a traceback of the library."""
    for multiline in (False, True):
        with pytest.raises(PatternError, match=reason.replace(")", r"\)")):
            Pattern(text, multiline=multiline)
