"""The directories of isosmoke's persistent state, and scratch directories."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from isosmoke.errors import IsosmokeError, LeftBehindError, raise_left_behind
from isosmoke.host import files, leases
from isosmoke.host.files import trees
from isosmoke.host.leases import Lease

RECORDS_DIRECTORY = ".isosmoke"
"""The directory in a project for records of runs and receipts."""


def get_state_directory() -> Path:
    """Return `$ISOSMOKE_STATE`, else the user's state directory (XDG)."""
    if override := os.environ.get("ISOSMOKE_STATE"):
        return Path(override).absolute()
    from platformdirs import user_state_path

    return user_state_path("isosmoke", appauthor=False)


def _create(directory: Path) -> Path:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise IsosmokeError(
            f"cannot write to {directory}: {error.strerror}",
            hint="set ISOSMOKE_STATE to a writable directory",
        ) from error
    return directory


def ensure_directory(name: str) -> Path:
    """Return the directory `name` in the state directory; create it if it is missing."""
    directory = get_state_directory() / name
    files.refuse_links(directory)
    return _create(directory)


def get_records_directory(top: Path, *names: str) -> Path:
    """Return isosmoke's directory in the project `top`; it may be missing.

    Raises:
        UsageError: if it, or one of the `names` in it, is a symbolic link.
    """
    directory = top / RECORDS_DIRECTORY
    files.refuse_links(directory, *(directory / name for name in names))
    return directory


def get_fallback_directory(top: Path) -> Path:
    """Return the records directory of a project that is not writable; it may be missing."""
    return get_state_directory() / "projects" / hashlib.sha256(os.fsencode(top)).hexdigest()[:16]


def create_scratch() -> Path:
    """Create a scratch directory, which its caller removes, or else a later `sweep_scratch`."""
    return Path(mkdtemp(prefix=f"{Lease.current()}.", dir=ensure_directory("scratch")))


@contextmanager
def scratch() -> Iterator[Path]:
    """Create a scratch directory, and remove it at the end of the block.

    Its name is its lease, so a later `sweep_scratch` can remove it. Files that this user cannot
    remove are left to the engine whose daemon wrote them.
    """
    directory = create_scratch()
    try:
        yield directory
    finally:
        with suppress(PermissionError):
            trees.remove(directory)


def find_dead_scratch() -> tuple[tuple[Path, ...], tuple[LeftBehindError, ...]]:
    """Return the scratch directories of ended processes, and an error for each uncertain one.

    Symbolic links are skipped, because isosmoke did not create them.
    """
    directories = (path for path in ensure_directory("scratch").iterdir() if not path.is_symlink())
    return leases.find_dead((path, Lease.parse(path.name)) for path in directories)


def sweep_scratch() -> tuple[str, ...]:
    """Remove the scratch directories of ended processes, and return their paths.

    A directory that cannot be removed is skipped: files written by a root daemon are left to the
    engine of that daemon.

    Raises:
        LeftBehindError: if processes of some directories may still run. The error names these
            directories; the others have been removed.
    """
    removed = []
    dead, unknown = find_dead_scratch()
    for directory in dead:
        with suppress(OSError):
            trees.remove(directory)
            removed.append(str(directory))
    raise_left_behind(unknown, removed)
    return tuple(removed)
