"""The line of a script that failed, with its neighbours."""

import re

from isosmoke.dataclass import dataclass
from isosmoke.reports import wording
from isosmoke.results.run_record import ScenarioRecord
from isosmoke.text import truncate

_NEIGHBOURS = 4
_MIN_MESSAGE = 6
_LAST_LINES = 5
_MAX_WIDTH = 500
_TEXT = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'")
_EXPANSION = re.compile(r"\$(?:\{[^}]*\}|\([^)]*\)|\w+|.)|\\.")
_FORMAT = re.compile(r"\\(?:0?33|e|E|x1[bB])\[[\d;]*[mK]|\\.|%[-+#\d.]*[a-zA-Z]")
"""Parts of a text that printf or `echo -e` replaces; some texts are cut where nothing is."""

_ASSIGNMENT = re.compile(r"\s*(?:(?:export|local|readonly)\s+)?\w+\+?=(?:\"[^\"`$]*\"|'[^']*')\s*$")
"""A line that only gives a variable a constant value, and prints nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """Numbered lines of a script around line `number`, and why that line is shown."""

    number: int
    basis: str
    lines: tuple[tuple[int, str], ...]


def find_excerpt(scenario: ScenarioRecord, script: str) -> Excerpt | None:
    """Return the lines around the one that failed; None if the output does not point to any.

    A script that succeeded and left processes, or that did not end, has no such line.
    """
    if not (scenario.exit_code or scenario.signal):
        return None
    lines = script.splitlines()
    basis, number = "bash named it in its last message", wording.find_named_line(scenario)
    if number is None or number > len(lines):
        basis, number = "it has the text of the message", _find_message(scenario, lines)
    if number is None:
        return None
    first = max(1, number - _NEIGHBOURS)
    shown = lines[first - 1 : number + _NEIGHBOURS]
    return Excerpt(
        number=number,
        basis=basis,
        lines=tuple((at, truncate(line, _MAX_WIDTH)) for at, line in enumerate(shown, first)),
    )


def _find_message(scenario: ScenarioRecord, lines: list[str]) -> int | None:
    """Return the only line whose text is in the reason, else in the last output; or None."""
    output = "\n".join(wording.list_last_lines(scenario.output)[-_LAST_LINES:])
    return _find_text(scenario.reason, lines) or _find_text(output, lines)


def _find_text(output: str, lines: list[str]) -> int | None:
    """Return the line with the longest quoted text that occurs in a text, if there is only one."""
    lengths = {
        number: max((len(text) for text in _list_texts(line) if text in output), default=0)
        for number, line in enumerate(lines, start=1)
        if not (line.lstrip().startswith("#") or _ASSIGNMENT.match(line))
    }
    longest = max(lengths.values(), default=0)
    found = [number for number, length in lengths.items() if length == longest]
    return found[0] if longest >= _MIN_MESSAGE and len(found) == 1 else None


def _list_texts(line: str) -> list[str]:
    """Return the constant parts of the quoted texts in a line of a script."""
    texts = [
        part
        for double, single in _TEXT.findall(line)
        for constant in (double or single, *_FORMAT.split(double or single))
        for part in (_EXPANSION.split(constant) if double else [constant])
    ]
    return [text.strip() for text in texts if len(text.strip()) >= _MIN_MESSAGE]
