"""Text formatting for terminals, shells and TOML."""

import json
import os
import subprocess

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.text import (
    escape_bytes,
    escape_controls,
    format_json,
    format_toml,
    quote_command,
    restore_bytes,
    shorten,
    suggest_match,
    wrap_words,
)


@given(st.text())
def test_escaped_text_is_printable(text: str) -> None:
    """The result is printable, and printable text is unchanged."""
    assert escape_controls(text).replace("\t", "").isprintable()
    assert escape_controls(escape_controls(text)) == escape_controls(text)


@given(st.text(), st.integers(1, 100))
def test_shortened_is_one_line_of_bounded_length(text: str, max_length: int) -> None:
    """The result has no line breaks and at most the given length."""
    line = shorten(text, max_length)

    assert len(line) <= max_length
    assert len(line.splitlines()) <= 1


def test_truncated_text_ends_with_ellipsis() -> None:
    """Truncated text ends with an ellipsis."""
    assert shorten("a  b\nc\x1b[0m") == "a b c\\x1b[0m"
    assert shorten("abcdef", 4) == "abc…"


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
    line = quote_command(arguments)
    assert line.isprintable()
    shell = ["bash", "-c", f"printf '%s\\0' {line}"]
    printed = subprocess.run(shell, capture_output=True, check=True).stdout
    assert printed.split(b"\0")[:-1] == [os.fsencode(argument) for argument in arguments]


@given(st.lists(st.text()))
def test_any_command_line_is_printable(arguments: list[str]) -> None:
    """Any command line is printable."""
    assert quote_command(arguments).isprintable()


def test_similar_word_is_suggested() -> None:
    """A similar known word is suggested; without one, the suggestion is empty."""
    assert suggest_match("imgae", ["name", "image"]) == "; did you mean 'image'?"
    assert suggest_match("xyz", ["name", "image"]) == ""


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
    line = f"key = {format_toml(value)}"

    assert "\n" not in line
    assert tomli.loads(line)["key"] == value


@pytest.mark.parametrize("path", ["plain", "café", "caf\udce9/\udcff", "\\x41"])
def test_bytes_of_a_path_survive_a_record(path: str) -> None:
    """An escaped path is UTF-8, and is restored to the same path."""
    assert restore_bytes(escape_bytes(path).encode().decode()) == path


@given(st.text(st.sampled_from("ab c\té"), max_size=200), st.integers(10, 80), st.integers(0, 8))
def test_wrapping_keeps_every_word(text: str, width: int, indent: int) -> None:
    """Each row fits unless it is one word, no word is lost, and a line that fits is unchanged."""
    rows = wrap_words(text, width, indent=indent).split("\n")

    assert " ".join(rows).split() == text.split()
    assert all(len(row.expandtabs()) <= width or len(row.split()) == 1 for row in rows[1:])
    assert wrap_words(text, len(text)) == wrap_words(text, 0) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)


@given(JSON)
def test_json_is_that_of_the_standard_library(value: object) -> None:
    """The faster encoder has the same text for every value, such as empty lists and surrogates."""
    assert format_json(value) == f"{json.dumps(value, indent=2, ensure_ascii=False)}\n"
