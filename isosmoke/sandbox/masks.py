"""Masks of the host image: mounts that hide what an ordinary user could not read or connect to."""

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from isosmoke.sandbox.spec import Fresh, Mount, ReadOnly

_TREES = ("/etc", "/opt", "/usr/local")
"""System directories in which administrators keep their own files, some only for root."""

_LISTED = stat.S_IROTH | stat.S_IXOTH
_CONNECTED = stat.S_IROTH | stat.S_IWOTH


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


def _mask_entries(directory: str, needed: Collection[str], *, is_private: bool) -> Iterator[Mount]:
    """Yield the masks below a directory; with `is_private`, only root can reach its entries.

    Every run walks thousands of entries, so a path is text until it is masked.
    """
    for entry in _scan(directory):
        with suppress(FileNotFoundError):  # removed since
            mode = entry.stat(follow_symlinks=False).st_mode
            if not stat.S_ISLNK(mode):
                yield from _mask(entry.path, mode, needed, is_private=is_private)


def _scan(directory: str) -> list["os.DirEntry[str]"]:
    """Return the entries of a directory; none if root's script cannot list it either."""
    with suppress(OSError), os.scandir(directory) as entries:
        return list(entries)
    return []


def _mask(path: str, mode: int, needed: Collection[str], *, is_private: bool) -> Iterator[Mount]:
    is_directory = stat.S_ISDIR(mode)
    if (_is_open(mode) and not is_private) or path in needed:
        if is_directory:
            yield from _mask_entries(path, needed, is_private=False)
    elif not is_directory:
        yield ReadOnly(Path(os.devnull), PurePosixPath(path))
    elif any(root.startswith(f"{path}/") for root in needed):
        yield from _mask_entries(path, needed, is_private=True)
    else:
        yield Fresh(PurePosixPath(path), 0)


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
