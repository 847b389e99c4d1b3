"""The console that commands print styled text to."""

import errno
import os
from typing import NoReturn

from rich.console import Console


class Printer(Console):
    """A console that prints text unchanged and survives a closed pipe."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True)

    @property
    def is_live(self) -> bool:
        """True if printed lines can be redrawn."""
        return self.is_terminal and not self.is_dumb_terminal

    def on_broken_pipe(self) -> NoReturn:
        """Raise `BrokenPipeError`; rich itself would exit with 1."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
