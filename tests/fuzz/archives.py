"""Fuzz the readers of archives: the import of an image, and the extraction of a bundle.

An input is an archive. Unless it is compressed, the checksums of its headers are corrected first,
because a fuzzer cannot do that.
"""

import lzma
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from isosmoke.errors import ImageError
from isosmoke.rootfs_images import tree_hash
from isosmoke.rootfs_images.archives import contained
from isosmoke.rootfs_images.archives.limits import Budget
from isosmoke.rootfs_images.archives.unpack import Unpacker

_GIB = 1024**3
_MAX_WRITTEN = 1024**2
_BLOCK = tarfile.BLOCKSIZE
_CHECKSUM = slice(148, 156)
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_MEMORY = Path("/dev/shm")  # noqa: S108 - a private directory is created in it
_BUNDLE_ERRORS = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)


def _correct_checksums(content: bytes) -> bytes:
    """Return the archive with a correct checksum in every header that tarfile reaches."""
    archive = bytearray(content)
    start = 0
    while start + _BLOCK <= len(archive):
        header = archive[start : start + _BLOCK]
        if not any(header):
            break
        header[_CHECKSUM] = b" " * 8
        archive[start : start + _BLOCK] = header
        archive[start + 148 : start + 156] = b"%06o\0 " % sum(header)
        with suppress(tarfile.HeaderError, ValueError):
            size = max(0, tarfile.nti(header[124:136]))  # type: ignore[attr-defined]  # no stub
            start += (size + _BLOCK - 1) // _BLOCK * _BLOCK
        start += _BLOCK
    return bytes(archive)


@contextmanager
def _prepared_directory(archive: bytes) -> Iterator[tuple[Path, Path]]:
    """Create an archive and an empty directory, and check that nothing else was changed."""
    top = Path(mkdtemp(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    source, outside, root = top / "source", top / "outside", top / "root"
    try:
        source.write_bytes(archive)
        outside.write_bytes(b"outside")
        root.mkdir()
        before = [_describe(path) for path in (source, outside)]
        yield source, root
        if sorted(path.name for path in top.iterdir()) != ["outside", "root", "source"]:
            raise AssertionError("something was created outside")
        if [_describe(path) for path in (source, outside)] != before:
            raise AssertionError("something was changed outside")
        _check_tree(root)
    finally:
        shutil.rmtree(top)


def _describe(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is written to, linked, or given another mode."""
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_nlink, status.st_size, status.st_mtime_ns


def _check_tree(root: Path) -> None:
    """Check kinds, modes and the written size, and that the content can be hashed."""
    tree_hash.compute_digest(tree_hash.list_entries(root))
    written = 0
    for path in root.rglob("*"):
        status = path.lstat()
        written += status.st_blocks * 512
        kind = stat.S_IFMT(status.st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise AssertionError(f"{path} is neither a file, a directory nor a link")
        if kind != stat.S_IFLNK and status.st_mode & 0o7022:
            raise AssertionError(f"{path} has the mode {status.st_mode:o}")
    if written > 4 * _MAX_WRITTEN:
        raise AssertionError(f"{written} bytes were written")


def _create_budget(source: Path) -> Budget:
    """Return a budget of which only a small part is left."""
    return Budget(source, 1, written=_GIB - _MAX_WRITTEN, total=4 * _GIB - 8 * _MAX_WRITTEN)


def _import_image(source: Path, root: Path) -> None:
    with suppress(ImageError):
        Unpacker(root, _create_budget(source)).unpack(source)


def _extract_bundle(source: Path, root: Path) -> None:
    with suppress(ImageError, *_BUNDLE_ERRORS), source.open("rb") as file:
        contained.extract(file, root, _create_budget(source))
        contained.refuse_links_out(root)
        for path in root.rglob("*"):
            if not Path(os.path.realpath(path)).is_relative_to(root.resolve()):
                raise AssertionError(f"{path} is outside")


_READERS: tuple[Callable[[Path, Path], None], ...] = (_import_image, _extract_bundle)


def run(content: bytes) -> None:
    """Read an archive with both readers."""
    archive = content if content.startswith(_MAGIC) else _correct_checksums(content)
    for read in _READERS:
        with _prepared_directory(archive) as (source, root):
            read(source, root)
