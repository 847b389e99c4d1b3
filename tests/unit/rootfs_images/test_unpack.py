"""Unpacking of a root filesystem from an archive or a directory, never outside its target."""

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from isosmoke.errors import ImageError
from isosmoke.rootfs_images.archives.limits import Budget
from isosmoke.rootfs_images.archives.unpack import Unpacker
from support import available
from support.archives import create_sparse_archive
from support.fixture_types import Ordinary

Member = tuple[str, bytes, bytes]
"""A name, a type of tarfile, and the content or the link target."""


def create_archive(path: Path, members: Iterable[Member], mode: int = 0o644) -> Path:
    """Create a tar file with these members, compressed as its suffix says."""
    mode_and_compression = {".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w:")
    with tarfile.open(path, mode_and_compression) as writer:  # type: ignore[call-overload]  # one of the four
        for name, type_, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = type_, mode
            if type_ in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = content.decode()
            info.size = len(content) if type_ == tarfile.REGTYPE else 0
            writer.addfile(info, io.BytesIO(content))
    return path


def file_member(name: str, content: bytes = b"content") -> Member:
    """Return an ordinary file."""
    return name, tarfile.REGTYPE, content


def directory_member(name: str) -> Member:
    """Return a directory."""
    return name, tarfile.DIRTYPE, b""


def link_member(name: str, target: str) -> Member:
    """Return a symbolic link."""
    return name, tarfile.SYMTYPE, target.encode()


def hard_link_member(name: str, other: str) -> Member:
    """Return a hard link."""
    return name, tarfile.LNKTYPE, other.encode()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return an empty directory to unpack into."""
    directory = tmp_path / "deep/root"
    directory.mkdir(parents=True)
    return directory


def unpack(root: Path, source: Path) -> Unpacker:
    """Unpack `source` into `root`."""
    unpacker = Unpacker(root, Budget(source))
    unpacker.unpack(source)
    return unpacker


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".tar.bz2"])
def test_archive_of_any_compression_is_unpacked(suffix: str, root: Path, tmp_path: Path) -> None:
    """Files, directories and links are unpacked, with or without a leading `./`."""
    members = [
        *(
            directory_member("."),
            directory_member("./usr/bin"),
            file_member("./usr/bin/tool"),
            hard_link_member("usr/bin/t", "usr/bin/tool"),
        ),
        *(
            link_member("bin", "usr/bin"),
            link_member("./etc/away", "/etc/passwd"),
            file_member("/abs"),
        ),
    ]
    result = unpack(root, create_archive(tmp_path / f"one{suffix}", members))
    assert (root / "bin/tool").read_bytes() == b"content"
    assert (root / "usr/bin/t").samefile(root / "usr/bin/tool")
    assert (root / "etc/away").readlink() == Path("/etc/passwd")
    assert (root / "abs").is_file()
    assert result.size == 2 * len(b"content")
    assert result.left_out == []


MALICIOUS: dict[str, list[Member]] = {
    "parent": [file_member("../escaped")],
    "parent in the middle": [file_member("usr/../../escaped")],
    "through a link": [link_member("way", ".."), file_member("way/escaped")],
    "through an absolute link": [
        link_member("way", "/usr"),
        directory_member("way"),
        file_member("way/escaped"),
    ],
    "through a link in a directory": [
        directory_member("usr"),
        link_member("usr/way", "../.."),
        file_member("usr/way/escaped"),
    ],
    "hard link to a file outside": [hard_link_member("inside", "../outside")],
    "hard link through a link": [
        link_member("way", ".."),
        hard_link_member("inside", "way/outside"),
    ],
    "hard link to nothing": [hard_link_member("inside", "nowhere")],
    "directory becomes a link": [directory_member("usr"), link_member("usr", "..")],
    "etc leads away": [link_member("etc", ".."), file_member("usr")],
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_archive_is_refused(name: str, root: Path, tmp_path: Path) -> None:
    """A malicious archive is refused, and nothing outside the directory changes."""
    (root.parent / "outside").write_text("secret")
    before = {*tmp_path.rglob("*")}
    source = create_archive(tmp_path / "evil.tar", MALICIOUS[name])
    with pytest.raises(ImageError):
        unpack(root, source)
    assert {path for path in tmp_path.rglob("*") if root not in path.parents} - before == {source}
    assert not any(path.read_bytes() == b"secret" for path in root.rglob("*") if path.is_file())


def test_file_replaces_a_link_of_the_same_name(root: Path, tmp_path: Path) -> None:
    """A link is replaced, never written through."""
    (root.parent / "outside").write_text("before")
    members = [link_member("file", "../outside"), file_member("file", b"after")]
    unpack(root, create_archive(tmp_path / "one.tar", members))
    assert (root.parent / "outside").read_text() == "before"
    assert (root / "file").read_text() == "after"


def test_devices_and_container_markers_are_left_out(root: Path, tmp_path: Path) -> None:
    """Devices and pipes are listed, kernel directories stay empty, and markers are dropped."""
    members = [
        *(
            directory_member("dev"),
            file_member("dev/shm"),
            directory_member("proc"),
            file_member("proc/1"),
            file_member(".dockerenv"),
        ),
        *(("lib/pipe", tarfile.FIFOTYPE, b""), ("lib/disk", tarfile.BLKTYPE, b"")),
    ]
    result = unpack(root, create_archive(tmp_path / "one.tar", members))
    assert sorted(result.left_out) == ["/lib/disk", "/lib/pipe"]
    assert {path.name for path in root.iterdir()} == {"dev", "proc", "etc"}
    assert not any((root / "dev").iterdir())


def test_modes_are_restricted(root: Path, tmp_path: Path) -> None:
    """Setuid bits and write access for others are dropped; the owner may enter every directory."""
    unpack(
        root,
        create_archive(
            tmp_path / "one.tar", [directory_member("usr"), file_member("usr/su")], mode=0o4777
        ),
    )
    assert stat.S_IMODE((root / "usr/su").stat().st_mode) == 0o755
    inaccessible = create_archive(
        tmp_path / "two.tar", [directory_member("shut"), file_member("shut/in")], mode=0
    )
    (tmp_path / "other").mkdir()
    unpack(tmp_path / "other", inaccessible)
    assert (tmp_path / "other/shut").stat().st_mode & 0o700 == 0o700


def test_mount_points_of_engines_are_created(root: Path, tmp_path: Path) -> None:
    """A dangling link becomes an empty file, and an existing file is preserved."""
    members = [
        link_member("etc/resolv.conf", "../run/systemd/resolve"),
        file_member("etc/hosts", b"127.0.0.1"),
    ]
    unpack(root, create_archive(tmp_path / "one.tar", members))
    assert not (root / "etc/resolv.conf").is_symlink()
    assert (root / "etc/hosts").read_text() == "127.0.0.1"
    assert (root / "etc/hostname").is_file()


@pytest.mark.parametrize(
    "content", [b"no archive at all" * 99, b"", b"\x1f\x8b\x08cut short", b"\x1f\x8b\x08"]
)
def test_file_that_is_not_an_archive_is_refused(content: bytes, root: Path, tmp_path: Path) -> None:
    """The hint says which archives are accepted."""
    source = tmp_path / "source"
    source.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        unpack(root, source)
    assert "docker export" in caught.value.hint


def test_truncated_archive_is_refused(root: Path, tmp_path: Path) -> None:
    """An interrupted export is not an image."""
    source = create_archive(tmp_path / "one.tar", [file_member("usr/big", b"x" * 100_000)])
    source.write_bytes(source.read_bytes()[:50_000])
    with pytest.raises(ImageError, match="not a complete archive"):
        unpack(root, source)


def test_archive_without_its_end_is_refused(tmp_path: Path) -> None:
    """An archive cut between two members, or with a damaged header, is refused."""
    whole = create_archive(
        tmp_path / "one.tar", [file_member("usr/one"), file_member("usr/two")]
    ).read_bytes()
    block = 512  # name, content, name, content, and two of zeros (tar(5))
    damaged = whole[: 2 * block] + b"?" + whole[2 * block + 1 :]
    for number, content in enumerate([damaged, *(whole[: end * block] for end in (2, 4))]):
        (tmp_path / "cut.tar").write_bytes(content)
        (root := tmp_path / str(number)).mkdir()
        with pytest.raises(ImageError, match="not a complete archive"):
            unpack(root, tmp_path / "cut.tar")


@pytest.mark.parametrize("key", ["path", "linkpath"])
def test_invalid_file_name_is_refused(key: str, root: Path, tmp_path: Path) -> None:
    """Extended headers may contain any bytes, including zeros."""
    with tarfile.open(tmp_path / "one.tar", "w") as writer:
        info = tarfile.TarInfo("usr")
        info.type, info.linkname = tarfile.SYMTYPE, "lib"
        info.pax_headers = {key: "usr\0bin"}
        writer.addfile(info)
    with pytest.raises(ImageError, match="is not a valid file name"):
        unpack(root, tmp_path / "one.tar")


def test_directory_and_its_archive_give_the_same_result(root: Path, tmp_path: Path) -> None:
    """Content, links and modes are the same for a directory and its archive."""
    source = tmp_path / "source"
    (source / "usr/bin").mkdir(parents=True)
    (source / "usr/bin/tool").write_text("tool")
    (source / "usr/bin/tool").chmod(0o755)
    (source / "usr/bin/t").hardlink_to(source / "usr/bin/tool")
    (source / "bin").symlink_to("/usr/bin")
    (source / "proc").mkdir()
    (source / "proc/1").touch()
    os.mkfifo(source / "pipe")
    from_directory = unpack(root, source)
    with tarfile.open(tmp_path / "one.tar", "w") as writer:
        writer.add(source, ".")
    (tmp_path / "other").mkdir()
    from_archive = unpack(tmp_path / "other", tmp_path / "one.tar")
    assert available.snapshot(root) == available.snapshot(tmp_path / "other")
    assert (root / "usr/bin/t").samefile(root / "usr/bin/tool")
    assert from_directory.left_out == from_archive.left_out == ["/pipe"]


def test_sparse_member_keeps_its_holes(root: Path, tmp_path: Path) -> None:
    """A sparse file has its content and its size, and takes only the space of its data."""
    size = 64 * 1024**2
    result = unpack(root, create_sparse_archive(tmp_path / "one.tar", size))
    status = (root / "usr/big").stat()
    assert result.size == status.st_size == size
    assert status.st_blocks * 512 < 1024**2
    with (root / "usr/big").open("rb") as file:
        file.seek(size // 2)
        assert file.read(5) == b"data\0"


def test_archive_that_expands_too_much_is_refused(root: Path, tmp_path: Path) -> None:
    """The error names the limit and the option; nothing is written for a file that is too large."""
    with pytest.raises(ImageError, match="exceed 64 GiB including holes") as caught:
        unpack(root, create_sparse_archive(tmp_path / "one.tar", 8 * 1024**6))
    assert "--max-size" in caught.value.hint
    assert not (root / "usr").exists()


def test_written_size_is_limited(root: Path, tmp_path: Path) -> None:
    """Bytes that are not zero count; the file at the limit is the last one."""
    budget = Budget("one.tar", max_size=0)
    budget.total = -(1024**3)
    source = create_archive(tmp_path / "one.tar", [file_member("usr/one")])
    with pytest.raises(ImageError, match="exceed 0 GiB without holes"):
        Unpacker(root, budget).unpack(source)


def test_number_of_members_is_limited(root: Path, tmp_path: Path) -> None:
    """The error names the limit."""
    members = [file_member("usr/one"), file_member("usr/two"), directory_member("lib")]
    source = create_archive(tmp_path / "one.tar", members)
    with pytest.raises(ImageError, match="more than 2 entries"):
        Unpacker(root, Budget(source, max_entries=2)).unpack(source)


@pytest.mark.parametrize("depth", [300, 3000])
def test_deeply_nested_archive_is_refused(depth: int, root: Path, tmp_path: Path) -> None:
    """The error names the limit; a directory at the limit is unpacked."""
    unpack(root, create_archive(tmp_path / "one.tar", [file_member("a/" * 255 + "one")]))
    source = create_archive(tmp_path / "two.tar", [file_member("a/" * depth + "one")])
    with pytest.raises(ImageError, match="nested deeper than 256"):
        unpack(root, source)


def test_large_header_is_refused(root: Path, tmp_path: Path) -> None:
    """A long name is not read into memory, however well it is compressed."""
    source = create_archive(tmp_path / "one.tar.gz", [file_member("a" * 2_000_000)])
    with pytest.raises(ImageError, match="header exceeds 1 MiB"):
        unpack(root, source)


def create_header(name: str, type_: bytes, size: int) -> bytes:
    """Return the header of a member, with any size."""
    info = tarfile.TarInfo(name)
    info.type, info.size = type_, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("name", ["proc/unwanted", ".dockerenv"])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_member_that_ends_early_is_refused_at_once(
    name: str, suffix: str, root: Path, tmp_path: Path
) -> None:
    """A member that is not imported is not skipped byte by byte up to the end that it claims."""
    content = create_header(name, tarfile.REGTYPE, 2**62) + bytes(1024)
    source = tmp_path / f"one.{suffix}"
    source.write_bytes(gzip.compress(content) if suffix == "tar.gz" else content)

    with pytest.raises(ImageError, match="not a complete archive"):
        unpack(root, source)


def test_header_after_very_many_others_is_refused(root: Path, tmp_path: Path) -> None:
    """The headers before a member, such as those of long names, may be endless."""
    long_name = create_header("name", tarfile.GNUTYPE_LONGNAME, 512) + b"a".ljust(512, b"\0")
    (tmp_path / "one.tar").write_bytes(2000 * long_name + bytes(1024))

    with pytest.raises(ImageError, match="not a complete archive"):
        unpack(root, tmp_path / "one.tar")


def test_sparse_header_that_ends_early_is_refused(root: Path, tmp_path: Path) -> None:
    """A sparse file may announce a further header that is missing or too short (tar(5))."""
    header = bytearray(create_header("hole", tarfile.GNUTYPE_SPARSE, 0))
    header[482] = 1  # `isextended`
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    for number, size in enumerate((0, 10)):
        (tmp_path / "one.tar").write_bytes(bytes(header) + b"1" * size)
        (root / str(number)).mkdir()
        with pytest.raises(ImageError, match="not a complete archive"):
            unpack(root / str(number), tmp_path / "one.tar")


def test_negative_size_in_an_extended_header_is_refused(root: Path, tmp_path: Path) -> None:
    """An extended header replaces the size; a negative one would lead back to earlier members."""
    with tarfile.open(tmp_path / "one.tar", "w") as writer:
        info = tarfile.TarInfo("usr")
        info.pax_headers = {"size": "-1024"}
        writer.addfile(info)
    with pytest.raises(ImageError, match="has a negative size"):
        unpack(root, tmp_path / "one.tar")


UNREADABLE = """
import sys
from pathlib import Path
from isosmoke.rootfs_images.archives.limits import Budget
from isosmoke.rootfs_images.archives.unpack import Unpacker
unpacker = Unpacker(Path(sys.argv[2]), Budget(sys.argv[1]))
unpacker.unpack(Path(sys.argv[1]))
print(*sorted(unpacker.left_out))
"""


def test_unreadable_files_are_listed(ordinary: Ordinary, root: Path, tmp_path: Path) -> None:
    """An ordinary user can import a system that belongs to root, without its unreadable files."""
    source = tmp_path / "source"
    for name in ("usr", "etc", "root"):
        (source / name).mkdir(parents=True)
    (source / "etc/shadow").write_text("secret")
    (source / "etc/shadow").chmod(0)
    (source / "root/key").touch()
    (source / "root").chmod(0)
    assert ordinary(UNREADABLE, source, root) == "/etc/shadow /root/"
    assert (root / "usr").is_dir()
