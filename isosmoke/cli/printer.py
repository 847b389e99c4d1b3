"""What commands print their words with."""

import errno
import os
from typing import NoReturn

from rich.console import Console


class Printer(Console):
    """A console for words as they are, whose reader may go away without ending a run."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True)

    def on_broken_pipe(self) -> NoReturn:
        """An error like that of a full disk; rich itself would exit with 1."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
