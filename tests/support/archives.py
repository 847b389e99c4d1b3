"""Archives whose content is much larger than they are."""

import io
import tarfile
import zlib
from pathlib import Path, PurePosixPath

_BLOCK = 16 * 1024**2


def create_sparse_archive(path: Path, size: int, name: str = "usr/big") -> Path:
    """Create an archive of one sparse file: data at the start and in the middle, and holes."""
    half = size // 2
    data = b"data".ljust(512, b"\0")
    content = f"2\n0\n512\n{half}\n512\n".encode().ljust(512, b"\0") + data + data
    parent = PurePosixPath(name).parent
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as writer:
        info = tarfile.TarInfo(f"{parent}/GNUSparseFile.0/big")
        info.size = len(content)
        info.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": name,
            "GNU.sparse.realsize": str(size),
        }
        writer.addfile(info, io.BytesIO(content))
    return path


def create_expanding_archive(path: Path, name: str, blocks: int) -> Path:
    """Create a tar.gz of one file with so many blocks of 16 MiB of zeros, which is small itself.

    The compressed block is written repeatedly: after a full flush, it does not depend on what
    precedes it (zlib.h, Z_FULL_FLUSH).
    """
    info = tarfile.TarInfo(name)
    info.size = blocks * _BLOCK
    compressor = zlib.compressobj(wbits=31)
    head = compressor.compress(info.tobuf()) + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(bytes(_BLOCK)) + compressor.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(head + block * blocks + compressor.flush())
    return path
