"""Identities of files and programs: values that differ if the content may differ."""

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import isosmoke


def identify_file(path: Path) -> list[int]:
    """Return the identity of a file, links followed: it changes if the file is written or replaced.

    The time of the last change of the inode cannot be set back (inode(7)).

    Raises:
        OSError: if the file cannot be inspected.
    """
    status = path.stat()
    return [
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_mode,
        status.st_uid,
        status.st_gid,
    ]


def identify_code(patterns: Iterable[str], libraries: Iterable[str] = ()) -> list[object]:
    """Return the identity of modules of isosmoke, given as glob patterns, and of libraries."""
    package = Path(isosmoke.__file__).parent
    sources = [source for pattern in patterns for source in sorted(package.glob(pattern))]
    origins = [spec.origin for name in libraries if (spec := find_spec(name)) and spec.origin]
    identified = (*sources, *map(Path, origins))
    return [
        isosmoke.__version__,
        *([os.fspath(path), *identify_file(path)] for path in identified),
    ]
