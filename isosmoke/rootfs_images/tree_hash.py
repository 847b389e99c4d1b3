"""A folder's content as plain lines: to hash it, and to say what differs from another's."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from isosmoke.host import files

Listing = Mapping[str, str]
"""Each entry by its path in the folder: its kind, its mode, and what it holds or leads to."""

_UNREAD = "not readable"


def listing(folder: Path, *, apart: tuple[str, ...] = ()) -> Listing:
    """All entries of `folder`, but for what is in the folders `apart` at its top.

    Times and owners are left out: they differ from one unpacking to the next.
    """
    return dict(sorted(_entries(folder, apart)))


def digest(listing: Listing) -> str:
    """The sha256 of all lines."""
    whole = hashlib.sha256()
    for path, line in listing.items():
        whole.update(f"{path}\0{line}\0".encode(errors="surrogateescape"))
    return whole.hexdigest()


def differences(before: Listing, after: Listing) -> tuple[str, ...]:
    """A line for each entry that came, went or changed, with +, - or ~ before its path."""
    paths = sorted({*before, *after})
    return tuple(
        f"{_sign(path, before, after)} {path}"
        for path in paths
        if before.get(path) != after.get(path)
    )


def _sign(path: str, before: Listing, after: Listing) -> str:
    if path not in before:
        return "+"
    return "~" if path in after else "-"


def _entries(folder: Path, apart: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for here, folders, others in os.walk(folder):
        below = Path(here)
        for name in (*folders, *others):
            yield str((below / name).relative_to(folder)), _line(below / name)
        if below == folder:
            folders[:] = [one for one in folders if one not in apart]


def _line(path: Path) -> str:
    status = path.lstat()
    mode = f"{stat.S_IMODE(status.st_mode):o}"
    if stat.S_ISLNK(status.st_mode):
        return f"link {path.readlink()}"
    if stat.S_ISREG(status.st_mode):
        return f"file {mode} {_content(path)}"
    return f"{'folder' if stat.S_ISDIR(status.st_mode) else 'special'} {mode}"


def _content(path: Path) -> str:
    try:
        return files.sha256(path)
    except PermissionError:
        return _UNREAD
