"""The console that commands print styled text to."""

import errno
import os
from typing import Literal, NoReturn, cast

import click
from rich.console import Console

from isosmoke.errors import RecordError
from isosmoke.text import escape_controls, is_set

_ColorSystem = Literal["standard", "256", "truecolor", "windows"] | None


class Printer(Console):
    """A console that prints text unchanged and survives a closed pipe.

    FORCE_COLOR adds colour to a file or a pipe, but does not make it a terminal: nothing in it can
    be redrawn, and it has no width.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        probe = Console(stderr=stderr)
        super().__init__(
            stderr=stderr,
            highlight=False,
            soft_wrap=True,
            force_terminal=probe.file.isatty(),
            color_system=cast("_ColorSystem", probe.color_system),
        )

    @property
    def is_live(self) -> bool:
        """True if printed lines can be redrawn; the log of a CI system keeps every state."""
        return (
            self.is_terminal and not self.is_dumb_terminal and not is_set(os.environ.get("CI", ""))
        )

    def on_broken_pipe(self) -> NoReturn:
        """Raise `BrokenPipeError`; rich itself would exit with 1."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def print_unreadable(error: RecordError) -> None:
    """Name an unreadable record on stderr; the other records are shown."""
    click.echo(escape_controls(f"isosmoke: {error.message}"), err=True)
