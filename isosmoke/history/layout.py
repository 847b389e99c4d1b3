"""Layout of a project's recorded runs: one directory per run, whose name sorts by time (UTC)."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from isosmoke.errors import RecordError
from isosmoke.host import files, state
from isosmoke.host.leases import Lease
from isosmoke.host.workspace_directories import git_top

RUNS = "runs"
"""The name of the directory that holds all runs, in each home of a project."""

DEMO = "demo"
"""The name of the directory that holds the runs of `isosmoke demo`, in the state directory."""

HEADER = "run.json"
"""The file that a run's directory contains from the start of the run."""

RESULT = "result.json"
"""The file that a scenario's directory contains, within the directory of its run."""

LEASE = ".lease"
"""The file that identifies the process of a run until the run ends."""

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_SECOND = "%Y%m%d-%H%M%S"


def find_top(cwd: Path) -> Path:
    """Return the root directory of the project that contains `cwd`."""
    return git_top(cwd) or cwd


def list_homes(root: Path) -> tuple[Path, Path]:
    """Return the two directories that can hold a project's runs, most preferred first.

    The first is in the project, the second in the user's state directory.

    Raises:
        UsageError: if the project has a symbolic link in place of its records.
    """
    return state.get_records_directory(root, RUNS), state.get_fallback_directory(root)


def format_run_id(started: datetime) -> str:
    """Return the name of a run's directory: its start time, to 1/65536 of a second."""
    return f"{started:{_SECOND}}-{started.microsecond * 65536 // 1_000_000:04x}"


def parse_start(directory: Path) -> datetime:
    """Return a run's start time, to the second, from the name of its directory."""
    day, second, _ = directory.name.split("-")
    return datetime.fromisoformat(f"{day}T{second}Z")  # a run parses many, and needs no `strptime`


def list_run_directories(cwd: Path) -> tuple[Path, ...]:
    """Return the directories of a project's runs, newest first.

    Raises:
        RecordError: if they cannot be listed.
    """
    return _list_started(list_homes(find_top(cwd)))


def list_demo_directories() -> tuple[Path, ...]:
    """Return the directories of the runs of `isosmoke demo`, which has no project, newest first.

    Raises:
        RecordError: if they cannot be listed.
    """
    return _list_started(list_homes(state.get_state_directory() / DEMO))


def _list_started(homes: Iterable[Path]) -> tuple[Path, ...]:
    directories = [directory for home in homes for directory in _list_directories(home / RUNS)]
    started = [directory for directory in directories if _may_have_header(directory)]
    return tuple(sorted(started, key=lambda directory: directory.name, reverse=True))


def _list_directories(runs: Path) -> tuple[Path, ...]:
    try:
        return tuple(iter_run_directories(runs))
    except OSError as error:
        raise RecordError(
            f"cannot list the runs in {runs}: {error.strerror}", hint=f"ls -ld {runs.parent} {runs}"
        ) from error


def _may_have_header(directory: Path) -> bool:
    try:
        (directory / HEADER).lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # reading the header reports the error
    return True


def iter_run_directories(runs: Path) -> Iterator[Path]:
    """Yield the directories of runs in `runs`, ignoring anything else.

    Raises:
        OSError: if `runs` exists and cannot be listed.
    """
    try:
        entries = tuple(runs.iterdir())
    except FileNotFoundError:
        return
    for entry in entries:
        if _ID.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink():
            yield entry


def is_running(directory: Path) -> bool:
    """Return whether a run is in progress: its process exists and has not ended the run.

    Raises:
        OSError: if the state of the run cannot be determined.
    """
    try:
        text = files.read(directory / LEASE, follow=False).decode(errors="replace")
    except FileNotFoundError:
        return False
    lease = Lease.parse(text)
    return lease is not None and lease.is_alive()
