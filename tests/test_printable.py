"""Text of others on one line that steers nothing."""

from hypothesis import given
from hypothesis import strategies as st

from isosmoke.printable import printable, shortened


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
