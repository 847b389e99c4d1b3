"""Unpacks a root filesystem, from an archive or a folder, without ever leaving its own folder.

An ordinary user can: owners are not kept, nor setuid bits, nor what the kernel makes (devices).
Links are kept as they are: they are for who looks from inside, and never followed here.
"""

import lzma
import os
import shutil
import stat
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Self

from isosmoke.errors import ImageError

STDIN = Path("-")

_KERNELS = frozenset(("dev", "proc", "sys"))
"""Folders at the top whose content is the kernel's."""

_MARKS = frozenset((".dockerenv", "run/.containerenv"))
"""Empty files by which programs tell a container, which only an export has."""

_MOUNTED_ON = ("etc/hostname", "etc/hosts", "etc/resolv.conf")

_CORRUPT = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)


_NO_HEADER = (
    tarfile.EmptyHeaderError,  # type: ignore[attr-defined]  # typeshed leaves out both
    tarfile.InvalidHeaderError,  # type: ignore[attr-defined]
)
"""What tarfile takes for the end of an archive, unless it is the first thing in it."""


class _Member(tarfile.TarInfo):
    """A member of an archive that must go on to its end, under a name that a file can have."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            made = super().fromtarfile(archive)
        except _NO_HEADER as error:
            raise tarfile.ReadError(str(error)) from error
        if "\0" in made.name + made.linkname:
            raise tarfile.ReadError(f"{made.name!r} is no name")
        return made


class Unpacking:
    """Fills `folder`, which is empty; `left_out` names what was not brought."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folders = {folder}
        self.left_out: list[str] = []
        self.size = 0

    def take(self, source: Path) -> None:
        """Bring everything from a folder, an archive, or an archive on stdin."""
        with _told(source):
            if source.is_dir():
                self._take_folder(source)
            else:
                self._take_archive(source)
            self._settle()

    def _take_archive(self, source: Path) -> None:
        """Whatever it is compressed with, read once from its beginning to its end."""
        with ExitStack() as stack:
            stdin = source == STDIN
            file = sys.stdin.buffer if stdin else stack.enter_context(source.open("rb"))
            archive = stack.enter_context(_opened(file))
            for member in archive:
                self._take_member(archive, member)

    def _take_member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = _within(member.name)
        if not path.parts or _unwanted(path):
            return
        if member.isdir():
            self._make_folder(path, member.mode)
        elif member.issym():
            self._make_link(path, member.linkname)
        elif member.islnk():
            self._make_same(path, _within(member.linkname))
        elif content := archive.extractfile(member):
            self._make_file(path, member.mode, content)
        else:
            self.left_out.append(f"/{path}")

    def _take_folder(self, source: Path) -> None:
        """One file system of it: what is mounted below is no part of the system."""
        device = source.stat().st_dev
        first: dict[int, PurePosixPath] = {}
        for here, folders, files in os.walk(source, onerror=self._leave_out(source)):
            for name in sorted((*folders, *files)):
                entry = Path(here, name)
                path = PurePosixPath(entry.relative_to(source))
                if not _unwanted(path):
                    self._take_entry(entry, path, first)
            folders[:] = [one for one in folders if Path(here, one).lstat().st_dev == device]

    def _take_entry(
        self, entry: Path, path: PurePosixPath, first: dict[int, PurePosixPath]
    ) -> None:
        status = entry.lstat()
        same = first.setdefault(status.st_ino, path) if status.st_nlink > 1 else path
        if stat.S_ISDIR(status.st_mode):
            self._make_folder(path, status.st_mode)
        elif stat.S_ISLNK(status.st_mode):
            self._make_link(path, str(entry.readlink()))
        elif not (stat.S_ISREG(status.st_mode) and os.access(entry, os.R_OK)):
            self.left_out.append(f"/{path}")
        elif same != path:
            self._make_same(path, same)
        else:
            with entry.open("rb") as content:
                self._make_file(path, status.st_mode, content)

    def _leave_out(self, source: Path) -> Callable[[OSError], None]:
        def leave_out(error: OSError) -> None:
            self.left_out.append(f"/{Path(error.filename).relative_to(source)}/")

        return leave_out

    def _settle(self) -> None:
        """Make the files that every engine mounts something on, where they are missing."""
        for name in _MOUNTED_ON:
            place = self._folder / name
            if place.is_symlink() or not place.exists():
                self._make_file(PurePosixPath(name), 0o644, BytesIO())

    def _make_folder(self, path: PurePosixPath, mode: int) -> None:
        place = self._folder / path
        if place not in self._folders:
            if os.path.lexists(place):
                raise ImageError(f"/{path} is something else first and then a folder")
            self._cleared(path).mkdir()
            self._folders.add(place)
        place.chmod(mode & 0o755 | 0o700)

    def _make_file(self, path: PurePosixPath, mode: int, content: IO[bytes]) -> None:
        place = self._cleared(path)
        with place.open("xb") as file:
            shutil.copyfileobj(content, file)
            self.size += file.tell()
        place.chmod(mode & 0o755 | 0o400)

    def _make_link(self, path: PurePosixPath, target: str) -> None:
        self._cleared(path).symlink_to(target)

    def _make_same(self, path: PurePosixPath, other: PurePosixPath) -> None:
        """A second name of a file; archives name the first before it."""
        known = self._folder / other
        if known.parent not in self._folders or not os.path.lexists(known):
            if f"/{other}" not in self.left_out:
                raise ImageError(f"/{path} is a second name of /{other}, which is not there before")
            self.left_out.append(f"/{path}")
        elif known != self._folder / path:
            os.link(known, self._cleared(path), follow_symlinks=False)

    def _cleared(self, path: PurePosixPath) -> Path:
        """Where `path` is made: all folders above it are real ones, and nothing is there."""
        place = self._folder / path
        if place in self._folders:
            raise ImageError(f"/{path} is a folder first and then something else")
        if place.parent not in self._folders:
            if os.path.lexists(place.parent):
                raise ImageError(f"/{path} lies in /{path.parent}, which is no folder")
            self._make_folder(path.parent, 0o755)
        place.unlink(missing_ok=True)
        return place


def _opened(file: IO[bytes]) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r|*", tarinfo=_Member)
    except TypeError as error:  # what tarfile makes of a gzip header that was cut short
        raise tarfile.ReadError("it ends in the middle of its header") from error


def _within(name: str) -> PurePosixPath:
    path = PurePosixPath("/", name).relative_to("/")
    if ".." in path.parts:
        raise ImageError(f"{name!r} leads out of the image", hint="do not trust this archive")
    return path


def _unwanted(path: PurePosixPath) -> bool:
    return str(path) in _MARKS or (len(path.parts) > 1 and path.parts[0] in _KERNELS)


@contextmanager
def _told(source: Path) -> Iterator[None]:
    hint = "name a .tar, .tar.gz, .tar.bz2 or .tar.xz, as docker export writes it, or a folder"
    try:
        yield
    except _CORRUPT as error:
        raise ImageError(f"{source} is no whole archive: {error}", hint=hint) from error
    except OSError as error:
        raise ImageError(f"cannot unpack {source}: {error.strerror or error}", hint) from error
