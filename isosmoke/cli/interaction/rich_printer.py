"""The console for a terminal, and for a file or a pipe with colours."""

import errno
import os
from typing import Literal, NoReturn, cast

from rich.console import Console

from isosmoke.text import is_set

_ColorSystem = Literal["standard", "256", "truecolor", "windows"] | None


class RichPrinter(Console):
    """A console that prints text unchanged and survives a closed pipe.

    FORCE_COLOR adds colour to a file or a pipe, but does not make it a terminal: nothing in it can
    be redrawn, and it has no width. `color` is what the configuration says: auto, always or never.
    """

    def __init__(self, color: str, *, stderr: bool = False) -> None:
        probe = Console(stderr=stderr)
        system = probe.color_system
        if color != "auto":
            system = None if color == "never" else system or "standard"
        super().__init__(
            stderr=stderr,
            highlight=False,
            soft_wrap=True,
            force_terminal=probe.file.isatty(),
            color_system=cast("_ColorSystem", system),
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
