"""Extraction of files, directories and links into one directory, and nothing outside of it.

The filter "data" of tarfile is missing before Python 3.11.4, and follows links that the archive
itself created.
"""

import os
import tarfile
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO

from isosmoke.rootfs_images.archives.limits import Budget
from isosmoke.rootfs_images.archives.unpack import copy_with_holes, open_archive


def extract(file: IO[bytes], directory: Path, budget: Budget) -> None:
    """Extract every member of an archive into the empty `directory`, and nothing outside of it.

    A symbolic link may lead anywhere: no member is created through it.

    Raises:
        tarfile.TarError: if the archive is damaged, if a member or the target of a hard link is
            outside, or if a member is neither a file, a directory nor a link.
        ImageError: if the budget is exceeded.
        OSError, ValueError: if a member cannot be created.
    """
    top = directory.resolve()
    parents: set[Path] = set()
    with open_archive(file) as archive:
        while member := archive.next():
            archive.members.clear()  # type: ignore[attr-defined]  # not needed again
            budget.add_entry(PurePosixPath(member.name))
            path = _prepare_path(member.name, top, parents)
            if member.islnk():
                target = _prepare_path(member.linkname, top, parents)
                os.link(target, path, follow_symlinks=False)
            else:
                _extract_member(archive, member, path, budget)


def refuse_links_out(directory: Path) -> None:
    """Raise `tarfile.ExtractError` if a symbolic link in the directory leads out of it."""
    top = directory.resolve()
    for path in top.rglob("*"):
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(top):
            raise tarfile.ExtractError(f"{path.relative_to(top)} is a link to a path outside of it")


def _extract_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, budget: Budget
) -> None:
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.issym():
        path.symlink_to(member.linkname)
    elif content := archive.extractfile(member):
        budget.add_file(member.size)
        with path.open("xb") as file:
            copy_with_holes(content, file, budget)
        path.chmod(member.mode & 0o755 | 0o600)
        with suppress(ValueError, OverflowError):  # an archive may name any time
            os.utime(path, (member.mtime, member.mtime))
    else:
        raise tarfile.ExtractError(f"{member.name} is neither a file, a directory nor a link")


def _prepare_path(name: str, top: Path, parents: set[Path]) -> Path:
    """Return the path of a member; its parent directories exist, and none of them is a link.

    `parents` are the directories that were checked already: nothing replaces a directory here.
    """
    inside = PurePosixPath(name)
    if inside.is_absolute() or not inside.parts or ".." in inside.parts:
        raise tarfile.ExtractError(f"{name!r} is a path outside of it")
    path = top / inside
    if path.parent not in parents:
        if any(parent.is_symlink() for parent in path.parents[: len(inside.parts) - 1]):
            raise tarfile.ExtractError(f"{name!r} is a path through a link")
        path.parent.mkdir(parents=True, exist_ok=True)
        parents.add(path.parent)
    return path
