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
    for tree in _TREES:
        for mask in _mask_entries(Path(tree), needed, is_private=False):
            if not mask.target.is_relative_to(home):
                yield mask


def _mask_entries(
    directory: Path, needed: Collection[Path], *, is_private: bool
) -> Iterator[Mount]:
    """Yield the masks below a directory; with `is_private`, only root can reach its entries."""
    for entry in _scan(directory):
        with suppress(FileNotFoundError):  # removed since
            yield from _mask(entry, needed, is_private=is_private)


def _scan(directory: Path) -> list["os.DirEntry[str]"]:
    """Return the entries of a directory, sorted; none if root's script cannot list it either."""
    with suppress(OSError), os.scandir(directory) as entries:
        return sorted(entries, key=lambda entry: entry.name)
    return []


def _mask(
    entry: "os.DirEntry[str]", needed: Collection[Path], *, is_private: bool
) -> Iterator[Mount]:
    path = Path(entry.path)
    mode = entry.stat(follow_symlinks=False).st_mode
    is_hidden = is_private or not _is_open(mode)
    if stat.S_ISLNK(mode) or (is_hidden and path in needed and not stat.S_ISDIR(mode)):
        return
    if not stat.S_ISDIR(mode):
        yield from (ReadOnly(Path(os.devnull), PurePosixPath(path)),) if is_hidden else ()
    elif not is_hidden or path in needed:
        yield from _mask_entries(path, needed, is_private=False)
    elif any(root.is_relative_to(path) for root in needed):
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
