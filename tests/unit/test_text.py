"""Text of others on one line that steers nothing."""

import os
import subprocess

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.text import command_line, meant, printable, shortened, toml


@given(st.text())
def test_nothing_steers_the_terminal(text: str) -> None:
    """What is left is printable, and printable text is left as it is."""
    assert printable(text).replace("\t", "").isprintable()
    assert printable(printable(text)) == printable(text)


@given(st.text(), st.integers(1, 100))
def test_shortened_is_one_line_of_bounded_length(text: str, most: int) -> None:
    """Every line break, however it is written, is gone."""
    line = shortened(text, most)

    assert len(line) <= most
    assert len(line.splitlines()) <= 1


def test_what_is_cut_says_so() -> None:
    """An ellipsis stands for what is left out."""
    assert shortened("a  b\nc\x1b[0m") == "a b c\\x1b[0m"
    assert shortened("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    "words",
    [
        ("isosmoke", "run", "--", "bash", "-c", "cd /tmp\nexit 3\n"),
        ("", " ", "it's", "a\\b", "\\n", "$HOME", "`id`", "!x", "*", "#", "~", "é花"),
        ("tab\there", "it's\n\\n", "\x1b[31m$HOME", "\x857", "\udcff7", "\u2028", "\x7f\x01"),
    ],
)
def test_a_command_line_can_be_pasted_into_a_shell(words: tuple[str, ...]) -> None:
    """It is one printable line, and what a shell makes of it are the words to the byte."""
    line = command_line(words)
    assert line.isprintable()
    shell = ["bash", "-c", f"printf '%s\\0' {line}"]
    printed = subprocess.run(shell, capture_output=True, check=True).stdout
    assert printed.split(b"\0")[:-1] == [os.fsencode(one) for one in words]


@given(st.lists(st.text()))
def test_any_command_line_is_printable(words: list[str]) -> None:
    """Whatever is in the words, nothing of it steers the terminal."""
    assert command_line(words).isprintable()


def test_known_word_that_is_most_alike_is_asked_for() -> None:
    """A word that is like none of the known ones gets no question."""
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
def test_toml_reads_back_as_what_was_written(value: object) -> None:
    """Any nesting of tables and lists, and any text, is one line that TOML 1.0 reads alike."""
    line = f"key = {toml(value)}"

    assert "\n" not in line
    assert tomli.loads(line)["key"] == value
