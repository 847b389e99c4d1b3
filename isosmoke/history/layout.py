"""Where the runs of a project are recorded: each is a directory whose name sorts by time (UTC)."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from isosmoke.errors import RecordError
from isosmoke.host import state
from isosmoke.host.leases import Lease
from isosmoke.host.workspace_directories import git_top

RUNS = "runs"
"""The directory of all runs, in each home of a project."""

HEADER = "run.json"
"""The file that the directory of a run has from its first moment on."""

RESULT = "result.json"
"""The file in the directory of a scenario, within that of its run."""

LEASE = ".lease"
"""The file that names the process of a run, until the run ends."""

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_SECOND = "%Y%m%d-%H%M%S"


def top(working: Path) -> Path:
    """Return the directory of the project that a command in `working` is about."""
    return git_top(working) or working


def homes(top: Path) -> tuple[Path, Path]:
    """Return where a project can have its runs: within, or else in the state directory.

    `UsageError` if the project has a symbolic link in that place.
    """
    return state.in_project(top, RUNS), state.project(top)


def run_id(started: datetime) -> str:
    """Return the name of a run's directory: its start in steps of a 65536th of a second."""
    return f"{started:{_SECOND}}-{started.microsecond * 65536 // 1_000_000:04x}"


def started_at(folder: Path) -> datetime:
    """Return the second in which a run started, from the name of its directory."""
    return datetime.strptime(folder.name.rpartition("-")[0], _SECOND).replace(tzinfo=UTC)


def list_folders(working: Path) -> tuple[Path, ...]:
    """Return the directories of a project's runs, newest first.

    Raises:
        RecordError: if it cannot be seen which there are.
    """
    found = [one for home in homes(top(working)) for one in _listed(home / RUNS)]
    begun = [one for one in found if _may_have_header(one)]
    return tuple(sorted(begun, key=lambda one: one.name, reverse=True))


def _listed(runs: Path) -> tuple[Path, ...]:
    try:
        return tuple(run_folders(runs))
    except OSError as error:
        raise RecordError(
            f"cannot list the runs in {runs}: {error.strerror}", hint=f"ls -la {runs}"
        ) from error


def _may_have_header(folder: Path) -> bool:
    try:
        (folder / HEADER).stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # reading it fails with the reason
    return True


def run_folders(runs: Path) -> Iterator[Path]:
    """Yield the directories of runs in `runs`; anything else there is ignored.

    Raises:
        OSError: if `runs` exists and cannot be listed.
    """
    try:
        entries = tuple(runs.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if _ID.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink():
            yield entry


def is_running(folder: Path) -> bool:
    """Return whether the process of a run still runs, and has not ended the run.

    Raises:
        OSError: if that cannot be told.
    """
    try:
        text = (folder / LEASE).read_text(errors="replace")
    except FileNotFoundError:
        return False
    lease = Lease.parse(text)
    return lease is not None and lease.is_alive()
