"""The directories in which isosmoke keeps what outlives a command, and scratch directories."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from platformdirs import user_state_path

from isosmoke.errors import IsosmokeError, LeftBehindError, raise_left_behind
from isosmoke.host import files, leases
from isosmoke.host.leases import Lease

IN_PROJECT = ".isosmoke"
"""The folder of a project for what isosmoke keeps there: records of runs, receipts."""


def state_folder() -> Path:
    """`$ISOSMOKE_STATE`, else the user's state folder (XDG)."""
    named = os.environ.get("ISOSMOKE_STATE")
    return Path(named).absolute() if named else user_state_path("isosmoke", appauthor=False)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise IsosmokeError(
            f"cannot write to {folder}: {error.strerror}",
            hint="set ISOSMOKE_STATE to a folder that can be written",
        ) from error
    return folder


def kept(name: str) -> Path:
    """The folder `name` in the state folder, made if missing."""
    folder = state_folder() / name
    files.refuse_links(folder)
    return _made(folder)


def in_project(top: Path, *places: str) -> Path:
    """The folder of the project `top` for what isosmoke keeps there; it may be missing.

    `UsageError` if it, or one of the `places` in it, is a link: what that leads to is not ours.
    """
    folder = top / IN_PROJECT
    files.refuse_links(folder, *(folder / one for one in places))
    return folder


def project(top: Path) -> Path:
    """Where a project that cannot be written to has its records: a folder that may be missing."""
    return state_folder() / "projects" / hashlib.sha256(os.fsencode(top)).hexdigest()[:16]


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that ends with the block, or with a later `sweep_scratch`: its name is its lease.

    What this user cannot remove is left to the engine of the daemon that wrote it.
    """
    folder = Path(mkdtemp(prefix=f"{Lease.mine()}.", dir=kept("scratch")))
    try:
        yield folder
    finally:
        with suppress(PermissionError):
            files.remove(folder)


def find_dead_scratch() -> tuple[tuple[Path, ...], tuple[LeftBehindError, ...]]:
    """Return the scratch directories of ended processes, and errors that name the doubtful ones.

    A symbolic link is not isosmoke's own.
    """
    folders = (one for one in kept("scratch").iterdir() if not one.is_symlink())
    return leases.find_dead((one, Lease.parse(one.name)) for one in folders)


def sweep_scratch() -> tuple[str, ...]:
    """Remove the scratch directories of ended processes, and return their paths.

    What cannot be removed stays, and no other is kept for it: what a root daemon wrote is left to
    the engine of that daemon.

    Raises:
        LeftBehindError: if it cannot be told of some whether their process still runs; it names
            them, and the others have been removed.
    """
    removed = []
    dead, unknown = find_dead_scratch()
    for folder in dead:
        with suppress(OSError):
            files.remove(folder)
            removed.append(str(folder))
    raise_left_behind(unknown, removed)
    return tuple(removed)
