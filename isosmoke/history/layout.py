"""Where the runs of a project are recorded: each is a folder, and its name sorts by time (UTC)."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from isosmoke.host import state
from isosmoke.host.workspace import git_top

RUNS = "runs"
"""The folder of all runs, in each home of a project."""

HEADER = "run.json"
"""What a run's folder has from its first moment on."""

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")


def top(working: Path) -> Path:
    """The folder whose project's runs are meant by who stands in `working`."""
    return git_top(working) or working


def homes(top: Path) -> tuple[Path, Path]:
    """Where a project keeps its runs: within, or where nothing can be written, in the state.

    `UsageError` if the project has a link in its place.
    """
    return state.in_project(top, RUNS), state.project(top)


def folders(working: Path) -> tuple[Path, ...]:
    """Where each run of a project is recorded, newest first."""
    found = [one for home in homes(top(working)) for one in runs_in(home / RUNS)]
    begun = [one for one in found if (one / HEADER).exists()]
    return tuple(sorted(begun, key=lambda one: one.name, reverse=True))


def runs_in(runs: Path) -> Iterator[Path]:
    """The folders of runs; whatever else lies there is nobody's business."""
    with suppress(OSError):
        for one in runs.iterdir():
            if _ID.fullmatch(one.name) and one.is_dir() and not one.is_symlink():
                yield one
