"""Output files of reports, written atomically after a run or line by line during it."""

import sys
from pathlib import Path
from typing import IO

from isosmoke.host import files, workspace_directories

STDOUT = "-"
"""The file name that means stdout."""


def resolve_target(file: str) -> Path:
    """Return the path, without symbolic links, that writing `file` would write.

    A repository may contain a link at the usual path of a report. Such a link is followed only
    within the repository. Outside of repositories a link belongs to the user and is followed.

    Raises:
        UsageError: If a link in a repository leads out of it.
    """
    path = Path(file).absolute()
    if any((directory / ".git").exists() for directory in path.parents):
        return files.resolve_in_project(path, workspace_directories.find_project(path))
    return path.resolve()


def write(file: str, content: str) -> None:
    """Write a file atomically, or write into it if it is a pipe or a device.

    Raises:
        OSError: If it cannot be written.
        UsageError: If a link in a repository leads out of it.
    """
    path = Path(file)
    if file == STDOUT:
        sys.stdout.buffer.write(content.encode())
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file():
        resolve_target(file).write_text(content, encoding="utf-8")
    else:
        files.write(resolve_target(file), content)


class LineFile:
    """A file that receives lines as they are produced, and none after the first error.

    `file` is a path, or `-` for stdout.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._open: IO[bytes] | None = sys.stdout.buffer if file == STDOUT else None
        self._error: OSError | None = None

    def __call__(self, line: str) -> None:
        if self._error is None:
            try:
                self._write(line)
            except OSError as error:
                self._error = error

    def _write(self, line: str) -> None:
        if self._open is None:
            self._open = resolve_target(self._file).open("wb")
        self._open.write(line.encode())
        self._open.flush()

    def close(self) -> None:
        """Close the file, or raise the `OSError` that made it incomplete."""
        if self._error is not None:
            raise self._error
        if self._open is not None and self._file != STDOUT:
            self._open.close()
