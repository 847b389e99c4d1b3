"""The additions of runs to caches, in the state of isosmoke and never in the caches of the user."""

import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from isosmoke.caches.visible import locate_kept
from isosmoke.host import state
from isosmoke.sandbox.spec import CopyOnWrite, SandboxSpec

_DIRECTORY = "caches"


def get_directory(project: Path) -> Path:
    """Return the directory for what runs of a project added to caches; it may be missing."""
    return state.get_state_directory() / _DIRECTORY / state.get_fallback_directory(project).name


def keep_additions(
    spec: SandboxSpec, changes: Mapping[PurePosixPath, Path], project: Path
) -> tuple[str, ...]:
    """Keep what a sandbox added to its caches, and return a note for each cache that is not kept.

    `changes` are the directories with the changes of its mounts. Removed files are not noted.
    """
    notes = []
    state.ensure_directory(_DIRECTORY)
    for mount in spec.mounts:
        if not isinstance(mount, CopyOnWrite) or not mount.is_cache:
            continue
        if mount.target not in changes:
            notes.append(f"--keep-cache: the engine keeps changes of {mount.target} in memory")
            continue
        try:
            _add(changes[mount.target], locate_kept(get_directory(project), mount.target))
        except OSError as error:
            notes.append(f"--keep-cache: {mount.target} is not kept: {error}")
    return tuple(notes)


def _add(upper: Path, kept: Path) -> None:
    """Copy the files of an overlay's upper layer; those that mark removed files are left out."""
    for directory, names, files in os.walk(upper):
        target = kept / Path(directory).relative_to(upper)
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        names[:] = [name for name in names if not Path(directory, name).is_symlink()]
        for name in files:
            with suppress(FileNotFoundError):  # replaced or removed by another run
                _add_file(Path(directory, name), target / name)


def _add_file(source: Path, target: Path) -> None:
    """Copy a file as a whole, so that a run that starts meanwhile reads the old or the new one."""
    mode = source.lstat().st_mode
    if not stat.S_ISREG(mode):
        return
    incoming = target.with_name(f"{target.name}.{os.getpid()}.incoming")
    shutil.copy2(source, incoming)
    incoming.replace(target)
