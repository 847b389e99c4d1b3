"""Text formatting for terminals, shells and TOML."""

import os
import subprocess

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.text import command_line, meant, printable, shortened, toml


@given(st.text())
def test_escaped_text_is_printable(text: str) -> None:
    """The result is printable, and printable text is unchanged."""
    assert printable(text).replace("\t", "").isprintable()
    assert printable(printable(text)) == printable(text)


@given(st.text(), st.integers(1, 100))
def test_shortened_is_one_line_of_bounded_length(text: str, max_length: int) -> None:
    """The result has no line breaks and at most the given length."""
    line = shortened(text, max_length)

    assert len(line) <= max_length
    assert len(line.splitlines()) <= 1


def test_truncated_text_ends_with_ellipsis() -> None:
    """Truncated text ends with an ellipsis."""
    assert shortened("a  b\nc\x1b[0m") == "a b c\\x1b[0m"
    assert shortened("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    "arguments",
    [
        ("isosmoke", "run", "--", "bash", "-c", "cd /tmp\nexit 3\n"),
        ("", " ", "it's", "a\\b", "\\n", "$HOME", "`id`", "!x", "*", "#", "~", "é花"),
        ("tab\there", "it's\n\\n", "\x1b[31m$HOME", "\x857", "\udcff7", "\u2028", "\x7f\x01"),
    ],
)
def test_command_line_is_parsed_by_shell(arguments: tuple[str, ...]) -> None:
    """A shell parses the printable line into the same arguments."""
    line = command_line(arguments)
    assert line.isprintable()
    shell = ["bash", "-c", f"printf '%s\\0' {line}"]
    printed = subprocess.run(shell, capture_output=True, check=True).stdout
    assert printed.split(b"\0")[:-1] == [os.fsencode(argument) for argument in arguments]


@given(st.lists(st.text()))
def test_any_command_line_is_printable(arguments: list[str]) -> None:
    """Any command line is printable."""
    assert command_line(arguments).isprintable()


def test_similar_word_is_suggested() -> None:
    """A similar known word is suggested; without one, the suggestion is empty."""
    assert meant("imgae", ["name", "image"]) == "; did you mean 'image'?"
    assert meant("xyz", ["name", "image"]) == ""


_VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # TOML's text has no lone surrogates.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.from_regex(r"\A[A-Za-z_-]+\Z"), inner),
    max_leaves=8,
)


@given(_VALUES)
def test_toml_round_trip(value: object) -> None:
    """Any nesting of tables, lists and text is one line of equivalent TOML 1.0."""
    line = f"key = {toml(value)}"

    assert "\n" not in line
    assert tomli.loads(line)["key"] == value
