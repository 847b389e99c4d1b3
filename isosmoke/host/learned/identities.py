"""Identities of files and programs: values that differ if the content may differ."""

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from time import time  # noqa: TID251 - compared with file times, which are wall clock

import isosmoke


def identify_file(path: Path) -> list[int]:
    """Return the identity of a file, links followed: it changes if the file is written or replaced.

    The time of the last change of the inode cannot be set back (inode(7)).

    Raises:
        OSError: if the file cannot be inspected.
    """
    return describe_status(path.stat())


def describe_status(status: os.stat_result) -> list[int]:
    """Return the identity of a file whose status was read, such as that of an open file."""
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


_COARSE_SECONDS = 2.0
"""The coarsest unit in which a file system counts times, that of FAT."""


def is_settled(status: os.stat_result) -> bool:
    """Return whether the last change of a file is so old that a further one has another time."""
    return is_settled_at(status.st_ctime_ns)


def is_settled_at(changed: int) -> bool:
    """Return whether a change, in nanoseconds, is so old that a further one has another time."""
    return time() - changed / 1e9 > _COARSE_SECONDS


def identify_rights() -> list[object]:
    """Return the user, groups and capabilities of this process, which decide what it may read."""
    lines = Path("/proc/self/status").read_text().splitlines()
    held = next(line for line in lines if line.startswith("CapEff:"))
    return [*os.getresuid(), *os.getresgid(), *sorted(os.getgroups()), held]


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
