"""Colours of terminals in the HTML report."""

import re

import pytest
from hypothesis import given

from isosmoke.reports.html import ansi
from support import records


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m x", '<span class="ink1">red</span> x'),
        ("\x1b[1;92mb\x1b[22mx", '<span class="ink10 bold">b</span><span class="ink10">x</span>'),
        ("\x1b[41mx\x1b[49my", '<span class="paper1">x</span>y'),
        ("\x1b[4;3;2mx\x1b[24;23;22my", '<span class="dim italic underline">x</span>y'),
        ("\x1b[7;9mx\x1b[27;29my", '<span class="inverse strike">x</span>y'),
        ("\x1b[38;5;196mx", '<span class="ink1">x</span>'),
        ("\x1b[38;5;4mx", '<span class="ink4">x</span>'),
        ("\x1b[38;5;240mx", '<span class="ink8">x</span>'),
        ("\x1b[48;2;0;170;0;1mx", '<span class="paper2 bold">x</span>'),
        ("\x1b[38:5:1mx", '<span class="ink1">x</span>'),
        ("\x1b[38;5mx", "x"),
        ("\x1b[38;2;1;2mx", "x"),
        ("\x1b[999;31mx\x1b[mx", '<span class="ink1">x</span>x'),
        ("\x1b[31ma\nb\x1b[0m", '<span class="ink1">a</span>\n<span class="ink1">b</span>'),
        ("a\x1b[2Jb\x1b[10;20Hc\x1b[K", "abc"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
        ("\x1b]0;never closed", "0;never closed"),
        ("\x1b(Bx\x1b", "x\\x1b"),
        ("10%\r50%\r100%", "100%"),
        ("a line\r", "a line"),
        ("<b>&\x1b[1m\"'</b>", '&lt;b&gt;&amp;<span class="bold">&#34;&#39;&lt;/b&gt;</span>'),
        ("a\u202eb\0\x9b31m", "a\\u202eb\\x00\\x9b31m"),
    ],
)  # fmt: skip
def test_style_becomes_a_class(text: str, expected: str) -> None:
    """Styles are classes, other sequences are dropped, and everything else is escaped."""
    assert ansi.render(text) == expected


def test_long_line_is_truncated() -> None:
    """A line of any length, as of minified code, does not fill the page."""
    assert len(ansi.render("x" * 5000)) == 2001


@given(records.ANY_TEXT)
def test_text_is_kept(text: str) -> None:
    """Text without sequences and carriage returns is kept, and no tag but a span occurs."""
    rendered = ansi.render(text)

    assert {*re.findall(r"<(/?\w+)", rendered)} <= {"span", "/span"}
    if not {"\x1b", "\r"} & {*text}:
        assert rendered.count("\n") == text.count("\n")
        assert "<" not in rendered
