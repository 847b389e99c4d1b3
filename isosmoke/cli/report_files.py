"""The files that reports go to: written whole at the end of a run, or line by line during it."""

import sys
from pathlib import Path
from typing import IO

from isosmoke.host import files

STDOUT = "-"
"""The file name that stands for stdout."""


def put(file: str, content: str) -> None:
    """Write a file whole or not at all; a pipe or a device is written to. `OSError` if it fails."""
    path = Path(file)
    if file == STDOUT:
        sys.stdout.buffer.write(content.encode())
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file():
        path.write_text(content, encoding="utf-8")
    else:
        files.write(path.resolve(), content)


class LineFile:
    """A file to which each line is written as it comes; after an error, none is.

    `file` is a path, or `-` for stdout.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._open: IO[bytes] | None = sys.stdout.buffer if file == STDOUT else None
        self._trouble: OSError | None = None

    def __call__(self, line: str) -> None:
        if self._trouble is None:
            try:
                self._write(line)
            except OSError as error:
                self._trouble = error

    def _write(self, line: str) -> None:
        if self._open is None:
            self._open = Path(self._file).open("wb")  # noqa: SIM115 - it is open until the end
        self._open.write(line.encode())
        self._open.flush()

    def end(self) -> None:
        """Close the file, or raise the `OSError` for which it is not whole."""
        if self._trouble is not None:
            raise self._trouble
        if self._open is not None and self._file != STDOUT:
            self._open.close()
