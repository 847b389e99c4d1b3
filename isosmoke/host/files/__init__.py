"""Operations on isosmoke's own files: atomic writes, locks and hashes.

A cloned repository can contain any symbolic link. For paths that isosmoke itself chooses, links are
therefore never followed, neither to write nor to read. A path that the user names may be a link.
"""

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from tempfile import mkstemp
from typing import IO

from isosmoke.errors import UsageError

MAX_READ = 256 * 1024**2
"""The size of the largest file that is read into memory: a record, a manifest, a graph of tasks."""

MAX_LINKS = 40
"""The maximum number of symbolic links that the kernel follows (path_resolution(7))."""

_OWN_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def refuse_links(*paths: Path) -> None:
    """Raise `UsageError` for the first path that is a symbolic link."""
    for path in paths:
        with suppress(OSError):  # a path that cannot be inspected cannot be followed either
            if path.is_symlink():
                raise _link_error(path)


def _link_error(path: Path) -> UsageError:
    return UsageError(
        f"{path} is a symbolic link, which isosmoke does not follow for its own files",
        hint=f"rm {path}; to store records on another disk, mount a directory there (as root, or "
        "with --engine docker)",
    )


def resolve_in_project(path: Path, top: Path) -> Path:
    """Return `path` with its symbolic links resolved, for writing.

    Raises:
        UsageError: if a link leads out of the project `top`, into git's own directory, to a
            missing file, or to a file with another suffix.
    """
    path = path.absolute()
    target, project = _resolve(path), top.resolve()
    if not any(step.is_symlink() for step in (path, *_list_parents(top, path))):
        return target
    is_outside = not target.is_relative_to(project) or ".git" in target.relative_to(project).parts
    is_dangling = path.is_symlink() and not path.exists()
    if is_outside or is_dangling or target.suffix != path.suffix:
        raise UsageError(
            f"{path} leads through a symbolic link to {target}, and isosmoke does not write there",
            hint=f"replace the link with a file or directory in {project}",
        )
    return target


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise _link_error(path) from error


def _list_parents(top: Path, path: Path) -> Iterator[Path]:
    """Return the parent directories of `path` that are below `top`."""
    return (parent for parent in path.parents if top in parent.parents)


@contextmanager
def open_file(path: Path, flags: int, mode: int = 0o644) -> Iterator[int]:
    """Hold one of isosmoke's own files open, without following a link.

    Raises:
        UsageError: if it is a symbolic link, or has a second hard link, under which it may be one
            of the user's files.
    """
    try:
        # O_NONBLOCK: without it, opening a named pipe waits for another process (fifo(7)).
        descriptor = os.open(path, flags | _OWN_FILE, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link_error(path) from error
        if error.errno == errno.ENXIO:  # a named pipe without a reader, or a socket
            raise _foreign_file_error(path) from error
        raise
    try:
        _refuse_hard_links(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_hard_links(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise _foreign_file_error(path)


def _foreign_file_error(path: Path) -> UsageError:
    return UsageError(
        f"{path} does not belong to isosmoke: it is not a regular file, or has a second name",
        hint=f"rm {path}",
    )


@contextmanager
def open_regular(path: Path, *, follow: bool = True) -> Iterator[BufferedReader]:
    """Open a regular file for reading, without ever waiting for another process.

    Raises:
        OSError: if it cannot be opened, is not a regular file, or is a link and `follow` is false.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    try:
        _require_regular(path, os.fstat(descriptor).st_mode)
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def _require_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = "a named pipe" if stat.S_ISFIFO(mode) else "a device"
        raise OSError(errno.EINVAL, f"Is {kind}, not a regular file", str(path))


def read(path: Path, *, follow: bool = True) -> bytes:
    """Return the content of a regular file; see `open_regular`.

    Raises:
        OSError: also if it has more than `MAX_READ` bytes.
    """
    with open_regular(path, follow=follow) as file:
        content = file.read(MAX_READ + 1) if os.fstat(file.fileno()).st_size <= MAX_READ else None
    if content is None or len(content) > MAX_READ:
        reason = f"{os.strerror(errno.EFBIG)}, more than {MAX_READ >> 20} MiB"
        raise OSError(errno.EFBIG, reason, str(path))
    return content


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; wait for other processes first.

    The file is created if it is missing, and stays empty.
    """
    with open_file(path, os.O_RDWR | os.O_CREAT) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def lock_directory(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold a lock on the directory `path`.

    Several processes can hold a `shared` lock at the same time.

    Raises:
        BlockingIOError: if `wait` is false and another process holds a conflicting lock.
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
    """Hold the directory `names` below `base` open; create it if missing, and follow no link.

    Links in `base` itself are followed.

    Raises:
        UsageError: if one of the names is a link.
        OSError: if a directory cannot be created.
    """
    path, descriptor = base, os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            path /= name
            inner = _open_subdirectory(path, descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _open_subdirectory(path: Path, parent: int) -> int:
    with suppress(FileExistsError):
        os.mkdir(path.name, dir_fd=parent)
    try:
        return os.open(path.name, _DIRECTORY, dir_fd=parent)
    except OSError as error:
        if path.is_symlink():
            raise _link_error(path) from error
        error.filename = str(path)
        raise


def write_new(name: str, content: str, within: int) -> None:
    """Write a file into the open directory `within`, unless the name already exists."""
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


def write(
    path: Path, content: str | bytes | Iterable[str], *, mode: int = 0o644, durable: bool = True
) -> Path:
    """Write a file atomically: completely or not at all, if `durable` even if the machine crashes.

    Text, also in parts, is written as UTF-8, except for bytes of paths that are not.

    Raises:
        OSError: if it cannot be written, with the name of the file even if the disk is full.
    """
    with ExitStack() as undo:
        try:
            handle, unfinished = mkstemp(prefix=".", dir=path.parent)
            undo.callback(os.unlink, unfinished)
            with os.fdopen(handle, "wb") as file:
                parts = (content,) if isinstance(content, str | bytes) else content
                file.writelines(map(_encode, parts))
                file.flush()
                if durable:
                    os.fsync(handle)
            Path(unfinished).chmod(mode)
            Path(unfinished).rename(path)
        except OSError as error:
            error.filename = str(path)  # the temporary file's name means nothing to the user
            raise
        undo.pop_all()
    return path


def _encode(content: str | bytes) -> bytes:
    return content.encode(errors="surrogateescape") if isinstance(content, str) else content


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_with_holes(file: IO[bytes], content: bytes) -> bool:
    """Write content, or skip it if it is all zeros; return whether it was written.

    What is skipped becomes a hole, which needs no space, once `file.truncate(file.tell())` sets the
    size at the end.
    """
    if content.count(0) == len(content):
        file.seek(len(content), os.SEEK_CUR)
        return False
    file.write(content)
    return True
