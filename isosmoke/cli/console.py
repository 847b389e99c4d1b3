"""The console that commands print styled words to."""

import errno
import os
from typing import NoReturn

from rich.console import Console


class Printer(Console):
    """A console for words as they are, whose reader may go away without ending a run."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True)

    @property
    def is_live(self) -> bool:
        """Whether lines can be drawn over."""
        return self.is_terminal and not self.is_dumb_terminal

    def on_broken_pipe(self) -> NoReturn:
        """Raise an error like that of a full disk; rich itself would exit with 1."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
