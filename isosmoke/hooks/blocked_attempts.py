"""The number of times in a row that a hook has blocked an agent, for each session."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from time import time  # noqa: TID251 - compared with file times, which are wall clock

from isosmoke.host import files, state

_MAX_AGE_SECONDS = 30 * 86400.0


def count(session: str) -> int:
    """Return how often the session has been blocked since the gate opened; 0 if unknown."""
    try:
        number = json.loads(files.read(_file(session), follow=False))
    except (OSError, ValueError, RecursionError):
        return 0
    return number if isinstance(number, int) and number > 0 else 0


def save(session: str, number: int) -> None:
    """Store the number of blocks of a session; 0 removes it."""
    file = _file(session)
    if number:
        _prune(file.parent)
        files.write(file, json.dumps(number), mode=0o600)
    else:
        file.unlink(missing_ok=True)


def _file(session: str) -> Path:
    name = hashlib.sha256(os.fsencode(session)).hexdigest()[:32]
    return state.ensure_directory("hooks") / f"{name}.json"


def _prune(directory: Path) -> None:
    """Remove the numbers of sessions that nothing has blocked for a month."""
    for file in directory.iterdir():
        with suppress(OSError):
            if file.stat().st_mtime < time() - _MAX_AGE_SECONDS:
                file.unlink()
