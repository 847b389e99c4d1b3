"""Reports of unexpected errors: one line for the user, and a file with all else."""

import platform
import shlex
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex

from isosmoke import __version__
from isosmoke.errors import IsosmokeError
from isosmoke.host import files, state

_DIRECTORY = "bug-reports"
_LIBRARIES = ("click", "docker", "httpx", "pydantic", "rich", "testcontainers")


def report(error: Exception, command: Sequence[str]) -> IsosmokeError:
    """Write a report of `error` to a new file, and return the error that names the file.

    If no file can be written, the error names the line of code instead.
    """
    what = "".join(traceback.format_exception_only(error)).strip().partition("\n")[0]
    now = datetime.now(UTC)
    try:
        path = _path(now)
        files.write(path, render(error, command, now), mode=0o600)
    except (IsosmokeError, OSError):
        return IsosmokeError(f"unexpected error: {what} ({_raised_at(error)})")
    return IsosmokeError(f"unexpected error: {what}", f"report this as a bug, with {path}")


def render(error: Exception, command: Sequence[str], now: datetime) -> str:
    """Return the text of a report; the environment and local variables are no part of it."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"time: {now.isoformat(timespec='seconds')}\n"
        f"command: {shlex.join(command)}\n"
        f"isosmoke: {__version__}\n"
        f"python: {sys.version.split()[0]} ({sys.executable})\n"
        f"system: {platform.platform()}\n"
        f"libraries: {libraries}\n\n"
        f"{''.join(traceback.format_exception(error))}"
    )


def _path(now: datetime) -> Path:
    name = f"{now.strftime('%Y%m%d-%H%M%S')}-{token_hex(2)}.txt"
    return state.ensure_directory(_DIRECTORY) / name


def _raised_at(error: Exception) -> str:
    """Return the file and line that raised the error."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"
