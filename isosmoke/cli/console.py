"""The console that commands print styled text to."""

import os
import sys
from dataclasses import field
from typing import TYPE_CHECKING, TextIO

import click

from isosmoke.cli.configuration import COLOR
from isosmoke.dataclass import dataclass
from isosmoke.errors import RecordError
from isosmoke.text import escape_controls

if TYPE_CHECKING:
    from isosmoke.cli.interaction.rich_printer import RichPrinter

_COLOR_VARIABLES = ("NO_COLOR", "FORCE_COLOR")
_RICH_VARIABLES = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
"""Variables that let rich add colours to a file or a pipe."""

_TAB = 8


@dataclass(frozen=True, slots=True)
class PlainPrinter:
    """A printer of the text of lines to a file or a pipe, as rich prints them there."""

    file: TextIO
    is_terminal: bool = field(default=False, init=False)
    is_live: bool = field(default=False, init=False)
    width: int = field(default=0, init=False)
    height: int = field(default=0, init=False)

    def print(self, line: object = "", /) -> None:
        """Print a line, and flush it."""
        rows = (row.expandtabs(_TAB) for row in str(line).split("\n"))
        self.file.write("\n".join(rows) + "\n")
        self.file.flush()


def create_printer(*, stderr: bool = False) -> "PlainPrinter | RichPrinter":
    """Return a printer to stdout or stderr; only one with a terminal or colours needs rich."""
    file = sys.stderr if stderr else sys.stdout
    color = _get_configured_color()
    if not file.isatty() and color != "always" and not any(map(os.environ.get, _RICH_VARIABLES)):
        return PlainPrinter(file)
    from isosmoke.cli.interaction.rich_printer import RichPrinter

    return RichPrinter(color, stderr=stderr)


def _get_configured_color() -> str:
    """Return the colour that the configuration sets; the user's variables come before it."""
    ctx = click.get_current_context(silent=True)
    is_set = any(name in os.environ for name in _COLOR_VARIABLES)
    return "auto" if is_set or ctx is None else str(ctx.meta.get(COLOR, "auto"))


def print_unreadable(error: RecordError) -> None:
    """Name an unreadable record on stderr; the other records are shown."""
    click.echo(escape_controls(f"isosmoke: {error.message}"), err=True)
