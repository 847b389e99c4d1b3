"""Output of programs as HTML: colours and styles are shown, everything else is escaped."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from markupsafe import Markup, escape

from isosmoke.dataclass import dataclass
from isosmoke.text import escape_controls

_MAX_LINE = 2000
"""The number of characters after which a line is truncated."""

_SEQUENCE = re.compile(
    r"\x1b\[(?P<style>[0-9;:]{0,200})m"
    r"|\x1b\[[0-?]{0,200}[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-Z\\-~]"
)
"""Escape sequences of ECMA-48: the style of text, and others, which a page cannot follow."""

_BASIC = (
    *((0, 0, 0), (170, 0, 0), (0, 170, 0), (170, 85, 0)),
    *((0, 0, 170), (170, 0, 170), (0, 170, 170), (170, 170, 170)),
    *((85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85)),
    *((85, 85, 255), (255, 85, 255), (85, 255, 255), (255, 255, 255)),
)
"""The usual values of the sixteen colours, to which all others are rounded."""

_COLOURS: dict[int, tuple[str, int | None]] = {
    **{30 + number: ("ink", number) for number in range(8)},
    **{40 + number: ("paper", number) for number in range(8)},
    **{90 + number: ("ink", 8 + number) for number in range(8)},
    **{100 + number: ("paper", 8 + number) for number in range(8)},
    39: ("ink", None),
    49: ("paper", None),
}
_EXTENDED = {38: "ink", 48: "paper"}
_LENGTHS = {5: 1, 2: 3}
"""The number of parameters of an extended colour: of the palette of 256, or a value."""

_CUBE = (0, 95, 135, 175, 215, 255)
_ATTRIBUTES = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_ENDS = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("inverse",)}
_ENDS |= {29: ("strike",)}


@dataclass(frozen=True, slots=True)
class _Style:
    """The style of a text: numbers of colours, None for the default, and names of attributes."""

    ink: int | None = None
    paper: int | None = None
    attributes: frozenset[str] = frozenset()

    @property
    def classes(self) -> str:
        """The CSS classes of the style; empty for plain text."""
        colours = [
            *([] if self.ink is None else [f"ink{self.ink}"]),
            *([] if self.paper is None else [f"paper{self.paper % 8}"]),
        ]
        return " ".join([*colours, *sorted(self.attributes)])


def render(text: str) -> Markup:
    """Return text of several lines as HTML, in which only elements `span` with a class occur.

    A line that overwrites itself with carriage returns is shown as it ended.
    """
    style, parts = _Style(), []
    for number, line in enumerate(text.split("\n")):
        if number:
            parts.append("\n")
        for piece, piece_style in _split(_overwrite(line), style):
            parts.append(_render_piece(piece, piece_style))
            style = piece_style
    return Markup("".join(parts))  # noqa: S704 - each piece was escaped


def _overwrite(line: str) -> str:
    shown = [part for part in line.split("\r") if part]
    last = shown[-1] if shown else ""
    return last if len(last) <= _MAX_LINE else f"{last[:_MAX_LINE]}…"


def _split(line: str, style: _Style) -> Iterator[tuple[str, _Style]]:
    """Yield the pieces of a line with their styles; the last may be empty."""
    position = 0
    for sequence in _SEQUENCE.finditer(line):
        yield line[position : sequence.start()], style
        position = sequence.end()
        if sequence["style"] is not None:
            style = _apply(sequence["style"], style)
    yield line[position:], style


def _render_piece(piece: str, style: _Style) -> str:
    content = escape(escape_controls(piece))
    classes = style.classes
    return f'<span class="{classes}">{content}</span>' if classes and piece else content


def _apply(parameters: str, style: _Style) -> _Style:
    """Return the style after a sequence; unknown parameters change nothing."""
    codes = iter([int(code or 0) for code in parameters.replace(":", ";").split(";")])
    for code in codes:
        style = _apply_code(code, codes, style)
    return style


def _apply_code(code: int, rest: Iterator[int], style: _Style) -> _Style:
    """Return the style after one code; a code for a colour takes its numbers from `rest`."""
    if code == 0:
        return _Style()
    if code in _ATTRIBUTES:
        return replace(style, attributes=style.attributes | {_ATTRIBUTES[code]})
    if code in _ENDS:
        return replace(style, attributes=style.attributes - {*_ENDS[code]})
    return _apply_colour(code, rest, style)


def _apply_colour(code: int, rest: Iterator[int], style: _Style) -> _Style:
    if code in _EXTENDED:
        return _set_colour(style, _EXTENDED[code], _read_colour(rest))
    if code in _COLOURS:
        return _set_colour(style, *_COLOURS[code])
    return style


def _set_colour(style: _Style, field: str, colour: int | None) -> _Style:
    return replace(style, ink=colour) if field == "ink" else replace(style, paper=colour)


def _read_colour(rest: Iterator[int]) -> int | None:
    """Return the nearest basic colour of an extended one; None if it is incomplete."""
    numbers = [*islice(rest, _LENGTHS.get(next(rest, 0), 0))]
    match numbers:
        case [number]:
            return number if number < len(_BASIC) else _round_colour(*_find_value(number))
        case [red, green, blue]:
            return _round_colour(red, green, blue)
        case _:
            return None


def _find_value(number: int) -> tuple[int, int, int]:
    """Return the value of a colour of the palette of 256: a cube of 216, then 24 greys."""
    number -= len(_BASIC)
    side = len(_CUBE)
    if number >= side**3:
        grey = min(255, 8 + 10 * (number - side**3))
        return grey, grey, grey
    return _CUBE[number // side**2], _CUBE[number // side % side], _CUBE[number % side]


def _round_colour(red: int, green: int, blue: int) -> int:
    def distance(colour: int) -> int:
        basic = _BASIC[colour]
        return sum((a - b) ** 2 for a, b in zip((red, green, blue), basic, strict=True))

    return min(range(len(_BASIC)), key=distance)
