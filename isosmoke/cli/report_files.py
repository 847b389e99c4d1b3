"""The files that reports go to: written whole at the end of a run, or line by line during it."""

import sys
from pathlib import Path
from typing import IO

from isosmoke.authoring import new_scenario
from isosmoke.host import files

STDOUT = "-"
"""The file name that stands for stdout."""


def target(file: str) -> Path:
    """Return the path without links to which writing `file` leads.

    A repository may have prepared a link where a report usually goes, so that one is followed only
    within the repository. Outside of repositories a link is the user's own.

    Raises:
        UsageError: if a link of a repository leads out of it.
    """
    path = Path(file).absolute()
    if any((one / ".git").exists() for one in path.parents):
        return files.resolve_in_project(path, new_scenario.project(path))
    return path.resolve()


def put(file: str, content: str) -> None:
    """Write a file whole or not at all; a pipe or a device is written to.

    Raises:
        OSError: if it cannot be written.
        UsageError: if a link of a repository leads out of it.
    """
    path = Path(file)
    if file == STDOUT:
        sys.stdout.buffer.write(content.encode())
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file():
        target(file).write_text(content, encoding="utf-8")
    else:
        files.write(target(file), content)


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
            self._open = target(self._file).open("wb")
        self._open.write(line.encode())
        self._open.flush()

    def end(self) -> None:
        """Close the file, or raise the `OSError` for which it is not whole."""
        if self._trouble is not None:
            raise self._trouble
        if self._open is not None and self._file != STDOUT:
            self._open.close()
