"""The index of the forms of secrets; its work is counted, not timed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.redaction.form_index import FormIndex

FORMS = st.lists(st.text("ab", min_size=2, max_size=7).map(str.encode), max_size=12)


class CountedText(bytes):
    """A text that counts the bytes that are copied from it and the comparisons with it."""

    copied = 0
    compared = 0

    def __getitem__(self, at: Any) -> Any:
        """Return a part of the text."""
        part = super().__getitem__(at)
        self.copied += len(part)
        return part

    def startswith(self, *arguments: Any) -> bool:
        """Compare the text at a position with a form."""
        self.compared += 1
        return super().startswith(*arguments)


@pytest.mark.parametrize("number", [10, 1000])
def test_work_does_not_depend_on_number_of_similar_forms(number: int) -> None:
    """At each position a bounded piece of the text is compared, however many forms begin alike."""
    index = FormIndex((b"2026-01-01 line %d of a file" % line for line in range(number)), 4)
    text = CountedText(b"2026-01-01 line of the output\n" * 500)
    starts = list(index.find_starts(text, 0))

    assert len(starts) == 500
    assert [index.find_longest(text, start) for start in starts] == [None] * 500
    assert not any(index.is_beginning(text, start) for start in starts[:-1])
    assert text.compared <= 2 * len(starts)
    assert text.copied <= 300 * len(starts)


@given(FORMS, st.text("ab", max_size=12).map(str.encode))
def test_forms_are_found(forms: list[bytes], text: bytes) -> None:
    """The index finds what a comparison with every form finds."""
    index = FormIndex(forms, 2)

    for start in range(len(text)):
        rest = text[start:]
        matching = [form for form in forms if rest.startswith(form)]
        assert index.find_longest(text, start) == max(matching, key=len, default=None)
        assert index.is_beginning(text, start) == any(
            form.startswith(rest) and form != rest for form in forms
        )
        assert (start in index.find_starts(text, 0)) == any(form[:2] == rest[:2] for form in forms)


def test_long_forms_are_found() -> None:
    """Forms that differ only after many bytes are distinguished."""
    index = FormIndex([b"x" * 100 + ending for ending in (b"", b"a", b"ab", b"c")], 4)
    text = b"x" * 100 + b"abb"

    assert index.find_longest(text, 0) == b"x" * 100 + b"ab"
    assert index.find_longest(text[:-3], 0) == b"x" * 100
    assert index.find_longest(text, 1) is None
    assert index.is_beginning(text[:90], 0)
    assert index.is_beginning(text[:101], 0)
    assert not index.is_beginning(text, 0)


def test_many_different_beginnings_are_found() -> None:
    """The pattern of possible positions stays small, and misses none of the forms."""
    forms = [number.to_bytes(2) + b"--" for number in range(0x130, 20_000)]
    index = FormIndex(forms, 4)

    assert list(index.find_starts(b"..".join(forms[:200]), 0)) == [6 * at for at in range(200)]
