"""Locks that hold between processes of one user, and end with them."""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from isosmoke.host import files, state

_BYTES = 7
"""How much of a hash is a place in a file: off_t has 63 bits."""


@contextmanager
def held(names: Iterable[str], *, within: str) -> Iterator[None]:
    """Hold these locks; whoever wants one of them `within` the same scope waits.

    All are bytes of one file, taken in the order of their places, so that nobody waits in a circle.
    """
    with files.open_file(state.kept("locks") / "bytes", os.O_RDWR | os.O_CREAT) as file:
        for place in sorted({_place(name, within) for name in names}):
            fcntl.lockf(file, fcntl.LOCK_EX, 1, place)
        yield


def _place(name: str, within: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{within}\0{name}".encode()).digest()[:_BYTES])
