"""Strict extraction of a bundle's archive: files, directories, and links that stay inside.

The filter "data" of tarfile is missing before Python 3.11.4, and follows links that the archive
itself created.
"""

import os
import shutil
import tarfile
from contextlib import suppress
from pathlib import Path, PurePosixPath


def extract(archive: tarfile.TarFile, directory: Path) -> None:
    """Extract every member into the empty `directory`, and nothing outside of it.

    Raises:
        tarfile.ExtractError: if a member or the target of a link is outside, or if a member is
            neither a file, a directory nor a link.
        OSError, ValueError: if a member cannot be created, such as one whose name has a zero byte.
    """
    top = directory.resolve()
    for member in archive:
        _extract_member(archive, member, top)
    for path in top.rglob("*"):  # only now, as the target of a link may have been extracted later
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(top):
            raise tarfile.ExtractError(f"{path.relative_to(top)} is a link to a path outside of it")


def _extract_member(archive: tarfile.TarFile, member: tarfile.TarInfo, top: Path) -> None:
    path = _prepare_path(member.name, top)
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        os.link(_prepare_path(member.linkname, top), path, follow_symlinks=False)
    elif content := archive.extractfile(member):
        with path.open("xb") as file:
            shutil.copyfileobj(content, file)
        path.chmod(member.mode & 0o755 | 0o600)
        with suppress(ValueError, OverflowError):  # an archive may name any time
            os.utime(path, (member.mtime, member.mtime))
    else:
        raise tarfile.ExtractError(f"{member.name} is neither a file, a directory nor a link")


def _prepare_path(name: str, top: Path) -> Path:
    """Return the path of a member; its parent directories exist, and none of them is a link."""
    inside = PurePosixPath(name)
    if inside.is_absolute() or not inside.parts or ".." in inside.parts:
        raise tarfile.ExtractError(f"{name!r} is a path outside of it")
    path = top / inside
    if any(parent.is_symlink() for parent in path.parents if top in parent.parents):
        raise tarfile.ExtractError(f"{name!r} is a path through a link")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
