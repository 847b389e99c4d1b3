"""Locks that hold between processes of one user, and are released when these end."""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from isosmoke.host import files, state

_BYTES = 7
"""The bytes of a hash that form an offset in a file: off_t has 63 bits."""


@contextmanager
def locked(names: Iterable[str], *, scope: str) -> Iterator[None]:
    """Hold these locks; other users of one of them in the same `scope` wait.

    The locks are bytes of one file. They are acquired in the order of their offsets, which prevents
    a deadlock.
    """
    with files.open_file(state.ensure_directory("locks") / "bytes", os.O_RDWR | os.O_CREAT) as file:
        for offset in sorted({_offset(name, scope) for name in names}):
            fcntl.lockf(file, fcntl.LOCK_EX, 1, offset)
        yield


def _offset(name: str, scope: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{scope}\0{name}".encode()).digest()[:_BYTES])
