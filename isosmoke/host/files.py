"""Files of isosmoke's own: written whole, locked, hashed and removed, and no link is followed.

A cloned repository can contain any symbolic link, so a path that isosmoke chooses itself is never
followed through one: neither to write nor to read. A path that the user names may be a link.
"""

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import mkstemp

from isosmoke.errors import UsageError

MAX_LINKS = 40
"""How many symbolic links the kernel follows in one path (path_resolution(7))."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def refuse_links(*paths: Path) -> None:
    """Raise `UsageError` for the first path that is a symbolic link."""
    for path in paths:
        with suppress(OSError):  # what cannot be looked at cannot be followed either
            if path.is_symlink():
                raise _refusal(path)


def _refusal(path: Path) -> UsageError:
    return UsageError(
        f"{path} is a symbolic link, and isosmoke neither writes nor reads through one",
        hint=f"rm {path}; for records on another disk, mount a directory there (as root, or with "
        "--engine docker)",
    )


def resolve_in_project(path: Path, top: Path) -> Path:
    """Return the path without links to which writing `path` leads.

    Raises:
        UsageError: if that is outside the project `top`, in git's own directory, nowhere, or a
            file of another kind.
    """
    path = path.absolute()
    target, project = _resolved(path), top.resolve()
    if not any(one.is_symlink() for one in (path, *_below(top, path))):
        return target
    is_outside = not target.is_relative_to(project) or ".git" in target.relative_to(project).parts
    is_dangling = path.is_symlink() and not path.exists()
    if is_outside or is_dangling or target.suffix != path.suffix:
        raise UsageError(
            f"{path} leads through a symbolic link to {target}, where isosmoke does not write",
            hint=f"replace the link by a file or directory of {project} itself",
        )
    return target


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links, before Python 3.13
        raise _refusal(path) from error


def _below(top: Path, path: Path) -> Iterator[Path]:
    """The directories of `path` that lie below `top`."""
    return (one for one in path.parents if top in one.parents)


@contextmanager
def open_file(path: Path, flags: int, mode: int = 0o644) -> Iterator[int]:
    """Open a file of isosmoke's own for the time of the block, without following a link.

    Raises:
        UsageError: if it is a link, or has a second name (a hard link), under which it is another
            file of the user's.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refusal(path) from error
        raise
    try:
        _refuse_other_names(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_other_names(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise UsageError(
            f"{path} is not a file of isosmoke's own: it has a second name, or is no plain file",
            hint=f"rm {path}",
        )


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for the time of the block, as the only process that does.

    Wait for other processes first. The file is created where it is missing, and stays empty.
    """
    with open_file(path, os.O_RDWR | os.O_CREAT) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def lock_directory(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold a lock on the directory `path` for the time of the block.

    Several processes can hold a `shared` lock at a time. Unless told to `wait`, raise
    `BlockingIOError` where another process holds a lock that excludes this one.
    """
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, operation if wait else operation | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def open_directory(base: Path, *names: str) -> Iterator[int]:
    """Open the directory `names` below `base`, made where missing, without following a link.

    Links in `base` itself are followed. `UsageError` if one of the names is a link, `OSError` if
    one cannot be made.
    """
    path, descriptor = base, os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            path /= name
            inner = _entered(path, descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _entered(path: Path, parent: int) -> int:
    with suppress(FileExistsError):
        os.mkdir(path.name, dir_fd=parent)
    try:
        return os.open(path.name, _DIRECTORY, dir_fd=parent)
    except OSError as error:
        if path.is_symlink():
            raise _refusal(path) from error
        error.filename = str(path)
        raise


def write_new(name: str, content: str, within: int) -> None:
    """Write a file into the open directory `within`, unless there is anything of that name."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(FileExistsError):
        descriptor = os.open(name, flags, 0o644, dir_fd=within)
        try:
            os.write(descriptor, content.encode())
        except OSError:
            os.unlink(name, dir_fd=within)
            raise
        finally:
            os.close(descriptor)


def write(path: Path, content: str | bytes, *, mode: int = 0o644) -> Path:
    """Write a file whole or not at all, whatever ends this process or the machine.

    `OSError` names the file, also where it is the disk that has no room.
    """
    with ExitStack() as undo:
        try:
            handle, unfinished = mkstemp(prefix=".", dir=path.parent)
            undo.callback(os.unlink, unfinished)
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(handle)
            Path(unfinished).chmod(mode)
            Path(unfinished).rename(path)
        except OSError as error:
            error.filename = str(path)  # the unfinished file has a name that nobody knows
            raise
        undo.pop_all()
    return path


def remove(folder: Path) -> None:
    """Remove a tree or a file, also where an overlay left folders that nobody may enter.

    A script may nest folders deeper than a path can be long: each is moved to the top before it is
    emptied.
    """
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        with _open_for_removal(folder) as top:
            _empty(top, top)
            while names := os.listdir(top):  # noqa: PTH208 - a path would get too long
                for name in names:
                    with _open_for_removal(name, top) as inner:
                        _empty(inner, top)
                    os.rmdir(name, dir_fd=top)
        folder.rmdir()


def _empty(folder: int, top: int) -> None:
    """Remove the files of an open folder, and move its folders to `top`, with new names."""
    with os.scandir(folder) as entries:
        for entry in tuple(entries):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=folder)
                continue
            with suppress(OSError):
                os.chmod(entry.name, 0o700, dir_fd=folder)
            os.rename(entry.name, token_hex(8), src_dir_fd=folder, dst_dir_fd=top)


@contextmanager
def _open_for_removal(folder: str | Path, within: int | None = None) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
