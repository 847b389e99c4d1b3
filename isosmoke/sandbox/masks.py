"""Masks of the host image: mounts that hide what an ordinary user could not read or connect to."""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from isosmoke.sandbox.spec import Fresh, Mount, ReadOnly, SandboxSpec

_TREES = ("/etc", "/opt", "/usr/local")
"""System directories in which administrators keep their own files, some only for root."""

_LISTED = stat.S_IROTH | stat.S_IXOTH
_CONNECTED = stat.S_IROTH | stat.S_IWOTH
_READABLE_FILE = stat.S_IFREG | stat.S_IROTH
_TYPE_AND_READABLE = 0o170000 | stat.S_IROTH


def list_root_masks(needed: Collection[Path], home: Path) -> Iterator[Mount]:
    """Yield the masks that hide the files, directories and sockets that only root can use.

    Without them root's sandbox would see `/etc/shadow` and private keys. `needed` are the roots of
    the tools: a private directory that leads to one of them shows nothing else. HOME is skipped,
    as a sandbox has a fresh one.
    """
    paths = frozenset(map(str, needed))
    masks = (mask for tree in _TREES for mask in _mask_entries(tree, paths, is_private=False))
    for mask in sorted(masks, key=lambda mask: str(mask.target)):
        if not mask.target.is_relative_to(home):
            yield mask


def drop_vain_masks(spec: SandboxSpec) -> SandboxSpec:
    """Return the sandbox without the masks of files that the host no longer has.

    No engine can mount anything at a path that a read-only directory lacks, and a long run outlives
    many files of its host.
    """
    mounts = tuple(mount for mount in spec.mounts if not _is_vain(mount))
    return replace(spec, mounts=mounts)


def _is_vain(mount: Mount) -> bool:
    is_mask = isinstance(mount, ReadOnly | Fresh) and mount.is_mask
    return is_mask and not os.path.lexists(mount.target)


def _mask_entries(directory: str, needed: Collection[str], *, is_private: bool) -> Iterator[Mount]:
    """Yield the masks below a directory; with `is_private`, only root can reach its entries.

    Every run walks thousands of entries, so a path is text until it is masked.
    """
    for name, mode in _list_notable(directory, is_private=is_private):
        kind, path = stat.S_IFMT(mode), f"{directory}/{name}"
        if kind == stat.S_IFDIR and mode & _LISTED == _LISTED and not is_private:
            yield from _mask_entries(path, needed, is_private=False)
        elif kind != stat.S_IFLNK:
            yield from _mask(path, mode, needed, is_private=is_private)


def _list_notable(directory: str, *, is_private: bool) -> list[tuple[str, int]]:
    """Return the names in a directory with their modes, but no file that any user may read.

    Without `is_private`, most entries are such files, which cost no more than their modes. Names
    are looked up in the open directory, so the kernel does not follow the path for each. There are
    none if root's script cannot list it.
    """
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return []
    found = []
    try:
        for name in os.listdir(opened):  # noqa: PTH208 - of an open directory
            try:
                mode = os.lstat(name, dir_fd=opened).st_mode
            except FileNotFoundError:
                continue  # removed since
            if mode & _TYPE_AND_READABLE != _READABLE_FILE or is_private:
                found.append((name, mode))
    finally:
        os.close(opened)
    return found


def _mask(path: str, mode: int, needed: Collection[str], *, is_private: bool) -> Iterator[Mount]:
    is_directory = stat.S_ISDIR(mode)
    if (_is_open(mode) and not is_private) or path in needed:
        if is_directory:
            yield from _mask_entries(path, needed, is_private=False)
    elif not is_directory:
        yield ReadOnly(Path(os.devnull), PurePosixPath(path), is_mask=True)
    elif any(root.startswith(f"{path}/") for root in needed):
        yield from _mask_entries(path, needed, is_private=True)
    else:
        yield Fresh(PurePosixPath(path), 0, is_mask=True)


def _is_open(mode: int) -> bool:
    """Return whether any user may use a file of this mode.

    A read-only mount does not stop a process from connecting to a socket or writing to a pipe.
    """
    if stat.S_ISDIR(mode):
        needed = _LISTED
    elif stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
        needed = _CONNECTED
    else:
        needed = stat.S_IROTH
    return mode & needed == needed
