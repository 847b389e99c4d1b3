"""Copies of the record of a run in a directory that the user names, to take to another machine."""

import os
import shutil
from pathlib import Path

from isosmoke.errors import UsageError
from isosmoke.history.layout import LEASE
from isosmoke.host import files


def check_target(directory: Path) -> None:
    """Check that a directory can receive a record: it is empty, or does not exist.

    Raises:
        UsageError: if it is anything else.
    """
    if not os.path.lexists(directory):
        return
    if directory.is_symlink() or not directory.is_dir():
        raise UsageError(f"--output {directory} is not a directory", hint=f"ls -ld {directory}")
    if any(directory.iterdir()):
        raise UsageError(f"--output {directory} is not empty", hint="name a new directory")


def copy_record(record: Path, directory: Path) -> None:
    """Copy the files of a record into a directory, which is created if it is missing.

    Raises:
        OSError: if a file cannot be copied.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for entry in sorted(record.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            copy_record(entry, directory / entry.name)
        elif entry.name != LEASE:
            copy_file(entry, directory / entry.name)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file of a record; `target` must not exist.

    Raises:
        OSError: if it cannot be copied, or is a link.
    """
    with files.open_regular(source, follow=False) as content, target.open("xb") as copy:
        shutil.copyfileobj(content, copy)
