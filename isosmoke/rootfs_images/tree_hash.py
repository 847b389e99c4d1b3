"""A directory's content as text, to hash it and to compare it with another's."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from isosmoke.host import files
from isosmoke.rootfs_images.archives.limits import Budget

Listing = Mapping[str, str]
"""Each entry by its path in the directory: its kind, its mode, and its content or target."""

_UNREADABLE = "not readable"


def list_entries(
    directory: Path, *, excluded: tuple[str, ...] = (), budget: Budget | None = None
) -> Listing:
    """Return all entries of `directory`, except those in the directories `excluded` at its top.

    Times and owners are not included, because they differ each time an image is unpacked.
    Without a budget, there is no limit.

    Raises:
        ImageError: if the budget is exceeded.
    """
    return dict(sorted(_walk_entries(directory, excluded, budget)))


def compute_digest(listing: Listing) -> str:
    """Return the SHA-256 of a listing."""
    whole = hashlib.sha256()
    for path, description in listing.items():
        whole.update(f"{path}\0{description}\0".encode(errors="surrogateescape"))
    return whole.hexdigest()


def compare_listings(before: Listing, after: Listing) -> tuple[str, ...]:
    """Return a line for each new, removed or changed entry: +, - or ~ before its path."""
    paths = sorted({*before, *after})
    return tuple(
        f"{_get_sign(path, before, after)} {path}"
        for path in paths
        if before.get(path) != after.get(path)
    )


def _get_sign(path: str, before: Listing, after: Listing) -> str:
    if path not in before:
        return "+"
    return "~" if path in after else "-"


def _walk_entries(
    directory: Path, excluded: tuple[str, ...], budget: Budget | None
) -> Iterator[tuple[str, str]]:
    for parent_name, directories, names in os.walk(directory):
        parent = Path(parent_name)
        for name in (*directories, *names):
            path = (parent / name).relative_to(directory)
            if budget:
                budget.add_entry(PurePosixPath(path))
            yield str(path), _describe_entry(parent / name, budget)
        if parent == directory:
            directories[:] = [name for name in directories if name not in excluded]


def _describe_entry(path: Path, budget: Budget | None) -> str:
    status = path.lstat()
    mode = f"{stat.S_IMODE(status.st_mode):o}"
    if stat.S_ISLNK(status.st_mode):
        return f"link {path.readlink()}"
    if stat.S_ISREG(status.st_mode):
        if budget:
            budget.add_file(status.st_size)
        return f"file {mode} {_hash_content(path)}"
    return f"{'folder' if stat.S_ISDIR(status.st_mode) else 'special'} {mode}"


def _hash_content(path: Path) -> str:
    try:
        return files.sha256(path)
    except PermissionError:
        return _UNREADABLE
