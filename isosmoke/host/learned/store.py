"""The store of learned results: plain data in the user's state directory.

A result is used only if all that it depends on is as it was. A damaged file, one that a crash cut
off, a file of another user and a store that cannot be written are the same as an empty store: the
result is computed.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import time  # noqa: TID251 - compared with file times, which are wall clock
from typing import Any

from isosmoke.errors import IsosmokeError
from isosmoke.host import files, state
from isosmoke.host.files import trees

_DIRECTORY = "learned"
_MAX_AGE_SECONDS = 30 * 86400.0
_MAX_FILES = 200
_UNSAFE = stat.S_IWGRP | stat.S_IWOTH


def load(kind: str, subject: str, basis: Mapping[str, Any]) -> Any:
    """Return the result of a kind about a subject; None if none is kept for this `basis`.

    `basis` has everything that the result depends on, as JSON can represent it.
    """
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError, IsosmokeError):
        digest, _, text = _read(_find_file(kind, subject)).partition(b"\n")
        if digest.decode() == _digest(text):
            kept = json.loads(text)
            if kept["basis"] == json.loads(json.dumps(basis)):
                return kept["result"]
    return None


def save(kind: str, subject: str, basis: Mapping[str, Any], result: Any) -> None:
    """Keep a result, as JSON can represent it; do nothing if it cannot be written."""
    text = json.dumps({"basis": basis, "result": result}, separators=(",", ":")).encode()
    with suppress(OSError, IsosmokeError):
        directory = state.ensure_directory(f"{_DIRECTORY}-{kind}")
        files.write(
            _find_file(kind, subject),
            _digest(text).encode() + b"\n" + text,
            mode=0o600,
            durable=False,
        )
        _prune(directory)


def forget() -> None:
    """Remove all results, so that everything is computed again."""
    with suppress(OSError, IsosmokeError):
        for directory in state.get_state_directory().glob(f"{_DIRECTORY}-*"):
            trees.remove(directory)


def _find_file(kind: str, subject: str) -> Path:
    name = hashlib.sha256(os.fsencode(subject)).hexdigest()[:32]
    return state.get_state_directory() / f"{_DIRECTORY}-{kind}" / f"{name}.json"


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _read(file: Path) -> bytes:
    """Return the content of a file that only this user can have written.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it belongs to another user, or others may write to it.
    """
    files.refuse_links(file.parent)
    with files.open_regular(file, follow=False) as opened:
        for status in (os.fstat(opened.fileno()), file.parent.stat()):
            if status.st_uid != os.geteuid() or status.st_mode & _UNSAFE:
                raise ValueError(f"{file} is not private")
        return opened.read()


def _prune(directory: Path) -> None:
    """Remove files that were not written for a month, and the oldest of very many."""
    with os.scandir(directory) as entries:
        found = sorted(
            (entry.stat(follow_symlinks=False).st_mtime, entry.path) for entry in entries
        )
    oldest = time() - _MAX_AGE_SECONDS
    surplus = len(found) - _MAX_FILES
    for number, (changed, path) in enumerate(found):
        if number < surplus or changed < oldest:
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - a path of `scandir`
