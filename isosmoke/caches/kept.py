"""The additions of runs to caches, in the state of isosmoke and never in the caches of the user."""

import os
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import IO

from isosmoke.caches.visible import (
    MAX_BYTES,
    is_hidden,
    locate_kept,
    mask_tokens,
    records_origin,
)
from isosmoke.dataclass import dataclass
from isosmoke.host import state
from isosmoke.host.caller_process import Caller
from isosmoke.host.files import open_regular, write_with_holes
from isosmoke.host.files.trees import measure_size, remove
from isosmoke.interrupt import Interrupt
from isosmoke.redaction import Redactor
from isosmoke.sandbox.spec import CopyOnWrite, SandboxSpec

MAX_KEPT = 10 * 1024**3
"""The maximum size of all files that are kept for a project, in bytes, with their holes."""

_DIRECTORY = "caches"
_CHUNK = 1024**2


class _NotKeptError(Exception):
    """The rest of an addition is not kept; the message says why."""


def get_directory(project: Path) -> Path:
    """Return the directory for what runs of a project added to caches; it may be missing."""
    return state.get_state_directory() / _DIRECTORY / state.get_fallback_directory(project).name


def keep_additions(
    spec: SandboxSpec,
    changes: Mapping[PurePosixPath, Path],
    project: Path,
    *,
    caller: Caller,
    redactor: Redactor,
    interrupt: Interrupt,
) -> tuple[str, ...]:
    """Keep what a sandbox added to its caches, and return a note for each cache that is not kept.

    An interrupt, and the maximum size of what is kept, end this after the last complete file.

    `changes` are the directories with the changes of its mounts. Removed files are not noted. As in
    a visible cache, files of configuration are left out, and tokens in origins are masked. The
    secrets of the run are redacted in every file.
    """
    notes = []
    state.ensure_directory(_DIRECTORY)
    directory = get_directory(project)
    room = _Room(directory, MAX_KEPT - measure_size(directory), interrupt)
    for mount in spec.mounts:
        if not isinstance(mount, CopyOnWrite) or not mount.is_cache:
            continue
        if mount.target not in changes:
            notes.append(f"--keep-cache: the engine keeps changes of {mount.target} in memory")
            continue
        keeper = _Additions(mount.target, caller, redactor, room)
        try:
            keeper.add(changes[mount.target], locate_kept(directory, mount.target))
        except (OSError, _NotKeptError) as error:
            notes.append(f"--keep-cache: {mount.target} is not kept: {error}")
    return tuple(notes)


@dataclass(slots=True)
class _Room:
    """The number of bytes that can still be kept in a directory."""

    directory: Path
    size: int
    interrupt: Interrupt

    def take(self, size: int) -> None:
        """Count bytes that are about to be kept.

        Raises:
            _NotKeptError: after an interrupt, or if there is no room for them.
        """
        if self.interrupt.is_raised:
            raise _NotKeptError("interrupted")
        self.size -= size
        if self.size < 0:
            raise _NotKeptError(
                f"the caches kept for this project would exceed {MAX_KEPT >> 30} GiB "
                f"(try: rm -r {quote(str(self.directory))})"
            )


@dataclass(frozen=True, slots=True)
class _Additions:
    """The additions of a sandbox to the cache at `cache`, to be kept without secrets."""

    cache: PurePosixPath
    caller: Caller
    redactor: Redactor
    room: _Room

    def add(self, upper: Path, kept: Path) -> None:
        """Copy the files of an overlay's upper layer, without those that mark removed files."""
        for directory, names, files in os.walk(upper):
            below = Path(directory).relative_to(upper)
            target = kept / below
            if target.is_symlink() or target.is_file():
                target.unlink()
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            names[:] = [name for name in names if not Path(directory, name).is_symlink()]
            for name in files:
                with suppress(FileNotFoundError):  # replaced or removed by another run
                    self._add_file(Path(directory, name), target / name, self.cache / below / name)

    def _add_file(self, source: Path, target: Path, shown: PurePosixPath) -> None:
        """Copy a file as a whole, so that a run that starts meanwhile reads the old or the new one.

        It is left out if it cannot be searched for tokens.
        """
        status = source.lstat()
        if not stat.S_ISREG(status.st_mode) or is_hidden(shown, self.caller):
            return
        if _is_copy(source, target):
            return
        is_origin = records_origin(shown, self.caller)
        if is_origin and status.st_size > MAX_BYTES:
            return
        incoming = target.with_name(f"{target.name}.{os.getpid()}.incoming")
        try:
            with open_regular(source, follow=False) as content, incoming.open("wb") as file:
                self._copy(content, file, mask_tokens if is_origin else None)
            shutil.copystat(source, incoming, follow_symlinks=False)
            if target.is_dir():
                remove(target)
            incoming.replace(target)
        finally:
            incoming.unlink(missing_ok=True)

    def _copy(
        self, content: IO[bytes], file: IO[bytes], mask: Callable[[bytes], bytes] | None
    ) -> None:
        """Copy a file with its secrets redacted; `mask` is applied to its only chunk.

        Zeros become holes, which need no space.
        """
        stream = self.redactor.stream()
        while chunk := content.read(MAX_BYTES if mask else _CHUNK):
            self.room.take(len(chunk))
            write_with_holes(file, stream.feed(mask(chunk) if mask else chunk))
        write_with_holes(file, stream.flush())
        file.truncate(file.tell())


def _is_copy(source: Path, target: Path) -> bool:
    """Return whether a file was kept by an earlier run and has not changed in this one.

    That happens where an engine shows kept files as changes of its sandbox.
    """
    if not os.path.lexists(target):
        return False
    old, new = target.lstat(), source.lstat()
    return (old.st_mode, old.st_size, old.st_mtime_ns) == (
        new.st_mode,
        new.st_size,
        new.st_mtime_ns,
    )
