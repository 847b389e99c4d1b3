"""Safe extraction of a root filesystem from an archive or a directory into another directory.

It works for an ordinary user: owners, setuid bits and devices are not preserved. Symbolic links are
preserved for readers inside the image, and never followed here.
"""

import lzma
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

from isosmoke.errors import ImageError
from isosmoke.host import files
from isosmoke.interrupt import wait_readable
from isosmoke.rootfs_images.archives.limits import Budget

STDIN = Path("-")

_KERNEL_DIRECTORIES = frozenset(("dev", "proc", "sys"))
"""Top-level directories whose content comes from the kernel."""

_CONTAINER_MARKERS = frozenset((".dockerenv", "run/.containerenv"))
"""Empty files that mark a container for programs; only an export contains them."""

_MOUNTED_ON = ("etc/hostname", "etc/hosts", "etc/resolv.conf")

_CORRUPTION_ERRORS = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError)
"""Errors of a damaged archive; tarfile raises `ValueError` for numbers that it cannot read."""

_CHUNK = 64 * 1024

_POLL_SECONDS = 0.25
"""The time between two checks for signals while an archive on stdin does not continue."""

_MAX_READS_AT_END = 16
"""More reads at its end than a complete archive needs."""


_LONG_HEADERS = frozenset(
    (
        *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
        *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    )
)
"""Headers that tarfile reads into memory completely."""

_MAX_HEADER = 1024**2


_HEADER_ERRORS = (
    tarfile.EmptyHeaderError,  # type: ignore[attr-defined]  # missing in typeshed
    tarfile.InvalidHeaderError,  # type: ignore[attr-defined]
)
"""Errors that tarfile treats as the end of an archive, except in its first header."""

_PARSER_ERRORS = (LookupError, OverflowError, RecursionError)
"""Errors of tarfile for a header that ends early, has huge numbers, or follows many others."""


class Member(tarfile.TarInfo):
    """A member of an archive that must be complete, and whose name a file can have."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _LONG_HEADERS and member.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header exceeds {_MAX_HEADER >> 20} MiB")
        if member.size < 0:
            raise tarfile.ReadError(f"{member.name!r} has a negative size")
        return member

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            member = super().fromtarfile(archive)
        except (*_HEADER_ERRORS, *_PARSER_ERRORS) as error:
            raise tarfile.ReadError(str(error)) from error
        if member.size < 0:  # also in a header that replaces the size
            raise tarfile.ReadError(f"{member.name!r} has a negative size")
        if "\0" in member.name + member.linkname:
            raise tarfile.ReadError(f"{member.name!r} is not a valid file name")
        return member


class _Bounded:
    """A file that raises `EOFError` if it is read again after its end.

    To skip a member, tarfile reads as often as its header says, whether bytes follow or not.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._reads_at_end = file, 0

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes, and none at the end."""
        content = self._file.read(size)
        self._reads_at_end += not content
        if self._reads_at_end > _MAX_READS_AT_END:
            raise EOFError("the last file is incomplete")
        return content


class _Stdin(RawIOBase):
    """The standard input, whose reads let Python run the handlers of signals.

    A signal that arrives just before read(2) is handled only after it, which may be never.
    """

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not wait_readable(0, _POLL_SECONDS):
            pass
        return os.readv(0, [buffer])


class Unpacker:
    """An import into the empty directory `root`.

    `left_out` names the entries that were not imported, and `size` counts the bytes of files.
    """

    def __init__(self, root: Path, budget: Budget) -> None:
        self._root = root
        self._budget = budget
        self._directories = {root}
        self.left_out: list[str] = []
        self.size = 0

    def unpack(self, source: Path) -> None:
        """Unpack a directory, an archive, or an archive on stdin."""
        with _unpack_errors(source):
            if source.is_dir():
                self._copy_directory(source)
            else:
                self._extract_archive(source)
            self._create_mount_points()

    def _extract_archive(self, source: Path) -> None:
        """Unpack an archive of any compression, reading it once from beginning to end."""
        with ExitStack() as stack:
            is_stdin = source == STDIN
            file = BufferedReader(_Stdin()) if is_stdin else stack.enter_context(source.open("rb"))
            archive = stack.enter_context(open_archive(file))
            while member := archive.next():
                archive.members.clear()  # type: ignore[attr-defined]  # not needed again
                self._extract_member(archive, member)

    def _extract_member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = _resolve_member_path(member.name)
        self._budget.add_entry(path)
        if not path.parts or _is_unwanted(path):
            return
        if member.isdir():
            self._create_directory(path, member.mode)
        elif member.issym():
            self._create_link(path, member.linkname)
        elif member.islnk():
            self._create_hard_link(path, _resolve_member_path(member.linkname))
        elif content := archive.extractfile(member):
            self._create_file(path, member.mode, content, member.size)
        else:
            self.left_out.append(f"/{path}")

    def _copy_directory(self, source: Path) -> None:
        """Copy a directory without the file systems that are mounted in it."""
        device = source.stat().st_dev
        first_paths: dict[int, PurePosixPath] = {}
        for parent, directories, others in os.walk(source, onerror=self._leave_out(source)):
            for name in sorted((*directories, *others)):
                entry = Path(parent, name)
                path = PurePosixPath(entry.relative_to(source))
                self._budget.add_entry(path)
                if not _is_unwanted(path):
                    self._copy_entry(entry, path, first_paths)
            directories[:] = [
                name for name in directories if Path(parent, name).lstat().st_dev == device
            ]

    def _copy_entry(
        self, entry: Path, path: PurePosixPath, first_paths: dict[int, PurePosixPath]
    ) -> None:
        status = entry.lstat()
        target = first_paths.setdefault(status.st_ino, path) if status.st_nlink > 1 else path
        if stat.S_ISDIR(status.st_mode):
            self._create_directory(path, status.st_mode)
        elif stat.S_ISLNK(status.st_mode):
            self._create_link(path, str(entry.readlink()))
        elif not (stat.S_ISREG(status.st_mode) and os.access(entry, os.R_OK)):
            self.left_out.append(f"/{path}")
        elif target != path:
            self._create_hard_link(path, target)
        else:
            with files.open_regular(entry, follow=False) as content:
                self._create_file(path, status.st_mode, content, status.st_size)

    def _leave_out(self, source: Path) -> Callable[[OSError], None]:
        def leave_out(error: OSError) -> None:
            self.left_out.append(f"/{Path(error.filename).relative_to(source)}/")

        return leave_out

    def _create_mount_points(self) -> None:
        """Create the files on which every engine mounts something, if they are missing."""
        for name in _MOUNTED_ON:
            host_path = self._root / name
            if host_path.is_symlink() or not host_path.exists():
                self._create_file(PurePosixPath(name), 0o644, BytesIO(), 0)

    def _create_directory(self, path: PurePosixPath, mode: int) -> None:
        host_path = self._root / path
        if host_path not in self._directories:
            if os.path.lexists(host_path):
                raise ImageError(
                    f"the archive has /{path} first as another file and then as a directory"
                )
            self._prepare_path(path).mkdir()
            self._directories.add(host_path)
        host_path.chmod(mode & 0o755 | 0o700)

    def _create_file(
        self, path: PurePosixPath, mode: int, content: IO[bytes], expected_size: int
    ) -> None:
        self._budget.add_file(expected_size)
        host_path = self._prepare_path(path)
        with host_path.open("xb") as file:
            self.size += copy_with_holes(content, file, self._budget)
        host_path.chmod(mode & 0o755 | 0o400)

    def _create_link(self, path: PurePosixPath, target: str) -> None:
        self._prepare_path(path).symlink_to(target)

    def _create_hard_link(self, path: PurePosixPath, target: PurePosixPath) -> None:
        """Create a hard link; in archives, its target comes first."""
        host_target = self._root / target
        if host_target.parent not in self._directories or not os.path.lexists(host_target):
            if f"/{target}" not in self.left_out:
                raise ImageError(
                    f"the hard link /{path} comes before its target /{target}, or has no target"
                )
            self.left_out.append(f"/{path}")
        elif host_target != self._root / path:
            os.link(host_target, self._prepare_path(path), follow_symlinks=False)

    def _prepare_path(self, path: PurePosixPath) -> Path:
        """Return the host path for `path`, where nothing exists and no parent is a link.

        The recursion is as deep as `path`, which the budget limits.
        """
        host_path = self._root / path
        if host_path in self._directories:
            raise ImageError(
                f"the archive has /{path} first as a directory and then as another file"
            )
        if host_path.parent not in self._directories:
            if os.path.lexists(host_path.parent):
                raise ImageError(f"/{path.parent}, the parent of /{path}, is not a directory")
            self._create_directory(path.parent, 0o755)
        host_path.unlink(missing_ok=True)
        return host_path


def copy_with_holes(content: IO[bytes], file: IO[bytes], budget: Budget) -> int:
    """Copy a file and return its size; zeros become holes, which need no space.

    Raises:
        ImageError: if the budget is exceeded.
    """
    while chunk := content.read(_CHUNK):
        if files.write_with_holes(file, chunk):
            budget.add_written(len(chunk))
    return file.truncate(file.tell())


def open_archive(file: IO[bytes]) -> tarfile.TarFile:
    """Open an archive of any compression, to be read once; see `Member` for its errors."""
    bounded: Any = _Bounded(file)  # all that tarfile needs for reading
    try:
        return tarfile.open(fileobj=bounded, mode="r|*", tarinfo=Member)
    except TypeError as error:  # raised by tarfile for a truncated gzip header
        raise tarfile.ReadError("its header is truncated") from error


def _resolve_member_path(name: str) -> PurePosixPath:
    path = PurePosixPath("/", name).relative_to("/")
    if ".." in path.parts:
        raise ImageError(f"{name!r} points outside the image", hint="do not trust this archive")
    return path


def _is_unwanted(path: PurePosixPath) -> bool:
    return str(path) in _CONTAINER_MARKERS or (
        len(path.parts) > 1 and path.parts[0] in _KERNEL_DIRECTORIES
    )


@contextmanager
def _unpack_errors(source: Path) -> Iterator[None]:
    hint = "name a directory, or a .tar, .tar.gz, .tar.bz2 or .tar.xz as written by docker export"
    try:
        yield
    except _CORRUPTION_ERRORS as error:
        raise ImageError(f"{source} is not a complete archive: {error}", hint=hint) from error
    except OSError as error:
        raise ImageError(f"cannot unpack {source}: {error.strerror or error}", hint) from error
