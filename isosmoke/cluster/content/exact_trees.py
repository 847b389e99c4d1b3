"""Files and directories as listings with everything that a sandbox of this machine shows."""

import os
import stat
from base64 import b64encode
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from isosmoke.cluster.content.trees import TreeEntry
from isosmoke.errors import IsosmokeError
from isosmoke.host import files
from isosmoke.rootfs_images.archives.limits import Budget

_SENT = ("user.", "security.capability", "system.posix_acl_")
"""The beginnings of the attributes that a program can see; others belong to the host."""

_HINT = "remove it, or run the scenario without --place"

_Names = dict[tuple[int, int], str]
"""The first name of each file with several names, by device and inode."""


def describe(
    top: Path, emptied: Collection[str] = (), *, owners: bool = True
) -> Iterator[TreeEntry]:
    """Yield the entries of a file or directory; its directories `emptied` are empty there.

    Owners other than this user are kept by number, which only root can restore; without `owners`,
    everything belongs to the user of the other machine.

    Raises:
        IsosmokeError: if an entry is a device or cannot be read, or there are far too many.
    """
    names: _Names = {}
    budget = Budget(top, size_hint=_HINT, entries_hint=_HINT)
    closed = frozenset(top / name for name in emptied)
    try:
        for path in _walk(top, closed):
            entry = _describe_entry(path, top, names, budget)
            yield entry if owners else replace(entry, uid=-1, gid=-1)
    except OSError as error:
        raise IsosmokeError(
            f"{error.filename} cannot be sent to workers: {error.strerror}", _HINT
        ) from error


def _walk(path: Path, closed: Collection[Path]) -> Iterator[Path]:
    """Yield a path and everything below it, without following links or entering `closed`."""
    yield path
    if path.is_dir() and not path.is_symlink() and path not in closed:
        for name in sorted(os.listdir(path)):  # noqa: PTH208 - a Path per name would be slow
            yield from _walk(path / name, closed)


def _describe_entry(path: Path, top: Path, names: _Names, budget: Budget) -> TreeEntry:
    status = path.lstat()
    name = "" if path == top else str(path.relative_to(top))
    budget.add_entry(PurePosixPath(name))
    is_directory = stat.S_ISDIR(status.st_mode)
    first = names.setdefault((status.st_dev, status.st_ino), name)
    if first != name and not is_directory:
        return TreeEntry(name, "hardlink", 0, 0, 0, first)
    kind, size, target = "directory", 0, ""
    if not is_directory:
        kind, size, target = _describe_content(path, status, budget)
    return TreeEntry(
        name,
        kind,
        0 if kind == "link" else stat.S_IMODE(status.st_mode),
        status.st_mtime_ns,
        size,
        target,
        -1 if status.st_uid == os.getuid() else status.st_uid,
        -1 if status.st_gid == os.getgid() else status.st_gid,
        tuple(_read_attributes(path)),
    )


def _describe_content(path: Path, status: os.stat_result, budget: Budget) -> tuple[str, int, str]:
    """Return the kind, the size and the target of what is no directory."""
    match stat.S_IFMT(status.st_mode):
        case stat.S_IFLNK:
            return "link", 0, str(path.readlink())
        case stat.S_IFREG:
            budget.add_file(status.st_size)
            return "file", status.st_size, files.sha256(path)
        case stat.S_IFIFO:
            return "fifo", 0, ""
        case stat.S_IFSOCK:
            return "socket", 0, ""
        case _:
            raise IsosmokeError(f"{path} is a device, which cannot be sent to workers", _HINT)


def _read_attributes(path: Path) -> Iterator[tuple[str, str]]:
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        if name.startswith(_SENT):
            value = os.getxattr(path, name, follow_symlinks=False)
            yield name, b64encode(value).decode("ascii")
