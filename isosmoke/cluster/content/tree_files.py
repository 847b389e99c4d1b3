"""The files of trees: their creation from blobs, and whether they are as they were created."""

import os
import shutil
import stat
from base64 import b64decode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from isosmoke.cluster.content.trees import TreeEntry
from isosmoke.host import files

_BLOCK = 512
"""The size of a block in `st_blocks` (inode(7))."""

_PIECE = 1 << 16
"""The size of what can become a hole, in bytes."""

_TYPES = {
    "directory": stat.S_IFDIR,
    "file": stat.S_IFREG,
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
}


def create(listing: Sequence[TreeEntry], root: Path, find_blob: Callable[[str], Path]) -> None:
    """Create the directories, files and links of a listing at `root`.

    Raises:
        OSError: if that is impossible, for example because an owner is another user.
    """
    for entry in listing:
        path = _locate(entry, root)
        _create_entry(entry, path, root, find_blob)
        if entry.kind not in {"directory", "hardlink"}:
            _set_properties(entry, path)
    for entry in reversed(listing):
        if entry.kind == "directory":
            _set_properties(entry, _locate(entry, root))


def _locate(entry: TreeEntry, root: Path) -> Path:
    return root / entry.path if entry.path else root


def _create_entry(
    entry: TreeEntry, path: Path, root: Path, find_blob: Callable[[str], Path]
) -> None:
    match entry.kind:
        case "directory":
            path.mkdir(mode=0o700, exist_ok=True)
        case "link":
            path.symlink_to(entry.target)
        case "hardlink":
            os.link(root / entry.target, path, follow_symlinks=False)
        case "file":
            _copy(find_blob(entry.target), path)
        case kind:
            os.mknod(path, _TYPES[kind] | 0o600)


def _copy(blob: Path, path: Path) -> None:
    """Copy a file; what is a hole in it becomes a hole again."""
    status = blob.stat()
    if status.st_blocks * _BLOCK >= status.st_size:
        shutil.copyfile(blob, path)
        return
    with blob.open("rb") as source, path.open("wb") as target:
        while piece := source.read(_PIECE):
            write_sparsely(target, piece)


def write_sparsely(file: IO[bytes], content: bytes) -> None:
    """Write content, with holes in place of its zeros, as the end of a file."""
    for start in range(0, len(content), _PIECE):
        files.write_with_holes(file, content[start : start + _PIECE])
    file.truncate(file.tell())


def _set_properties(entry: TreeEntry, path: Path) -> None:
    """Set the owner, the attributes, the mode and the time of a path.

    A new owner drops other properties, and a mode can make the attributes read-only.
    """
    if (entry.uid, entry.gid) != (-1, -1):
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    for name, text in entry.attributes:
        os.setxattr(path, name, b64decode(text), follow_symlinks=False)
    if entry.kind != "link":
        path.chmod(entry.mode)
    os.utime(path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)


def is_intact(listing: Sequence[TreeEntry], root: Path) -> bool:
    """Return whether everything of a listing is at `root` as it was created."""
    return all(_matches(entry, root) for entry in listing)


def _matches(entry: TreeEntry, root: Path) -> bool:
    path = _locate(entry, root)
    status = path.lstat()
    if entry.kind == "hardlink":
        return os.path.samestat(status, (root / entry.target).lstat())
    if entry.kind == "link":
        return stat.S_ISLNK(status.st_mode) and str(path.readlink()) == entry.target
    if status.st_mode != _TYPES[entry.kind] | entry.mode:
        return False
    return entry.kind != "file" or files.sha256(path) == entry.target
