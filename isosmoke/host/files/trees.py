"""Trees of directories: their removal, size and copies."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex


def remove(path: Path) -> None:
    """Remove a tree or a file, including directories that an overlay made inaccessible.

    A script may nest directories deeper than the maximum length of a path. Each directory is
    therefore moved to the top before it is emptied.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        with _open_for_removal(path) as top:
            _empty(top, top)
            while names := os.listdir(top):  # noqa: PTH208 - a path would be too long
                for name in names:
                    with _open_for_removal(name, top) as inner:
                        _empty(inner, top)
                    os.rmdir(name, dir_fd=top)
        path.rmdir()


def _empty(directory: int, top: int) -> None:
    """Remove the files of an open directory, and move its subdirectories to `top`, renamed."""
    with os.scandir(directory) as entries:
        for entry in tuple(entries):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=directory)
                continue
            with suppress(OSError):
                os.chmod(entry.name, 0o700, dir_fd=directory)
            os.rename(entry.name, token_hex(8), src_dir_fd=directory, dst_dir_fd=top)


@contextmanager
def _open_for_removal(path: str | Path, within: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def copy_properties(source: Path, copy: Path) -> None:
    """Give a copy the mode, the times and, where this user may, the owner of its source."""
    status = source.lstat()
    with suppress(PermissionError):
        os.chown(copy, status.st_uid, status.st_gid, follow_symlinks=False)
    shutil.copystat(source, copy, follow_symlinks=False)


def measure_size(directory: Path) -> int:
    """Return the size in bytes of all readable files; links are not followed.

    A file that is removed meanwhile does not count.
    """
    pending, total = [os.fspath(directory)], 0
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    with suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_size
    return total


def copy_tree(source: Path, target: Path) -> None:
    """Copy the directories, files and links in `source` into `target`, with their properties.

    The upper directory of an overlay shows such copies in front of its lower directory, and their
    times and sizes make them equal to the originals (Documentation/filesystems/overlayfs.rst).
    Copies replace what is in `target`, and directories are merged. An entry of `source` that is
    removed meanwhile is left out.
    """
    for entry in source.iterdir():
        with suppress(FileNotFoundError):
            _copy_entry(entry, target / entry.name)


def _copy_entry(entry: Path, copy: Path) -> None:
    is_directory = entry.is_dir() and not entry.is_symlink()
    if os.path.lexists(copy) and not (is_directory and copy.is_dir() and not copy.is_symlink()):
        remove(copy)
    if is_directory:
        copy.mkdir(exist_ok=True)
        copy_tree(entry, copy)
    else:
        shutil.copyfile(entry, copy, follow_symlinks=False)
    copy_properties(entry, copy)
