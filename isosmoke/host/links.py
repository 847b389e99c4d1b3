"""Keeps isosmoke from following symbolic links at places that a repository may have prepared.

A cloned repository can contain any link, so a path that isosmoke chooses itself is never followed
through one: neither to write nor to read. A path that the user names is the user's own affair.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from isosmoke.errors import UsageError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def refuse(*paths: Path) -> None:
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


def real(path: Path, top: Path) -> Path:
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
def opened(path: Path, flags: int, mode: int = 0o644) -> Iterator[int]:
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


def lock(path: Path) -> AbstractContextManager[int]:
    """Open a lock file for the time of a block; what it holds is never changed."""
    return opened(path, os.O_RDWR | os.O_CREAT)


@contextmanager
def directory(base: Path, *names: str) -> Iterator[int]:
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
