"""A root filesystem out of an archive or a folder: whole, and never outside its own folder."""

import io
import os
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from isosmoke.errors import ImageError
from isosmoke.rootfs_images.unpack import Unpacking
from support import available
from support.fixture_types import Ordinary

Member = tuple[str, bytes, bytes]
"""A name, the type of tarfile, and what it holds or leads to."""


def archive(path: Path, members: Iterable[Member], mode: int = 0o644) -> Path:
    """A tar file with these members, compressed as its name says."""
    kind = {".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w:")
    with tarfile.open(path, kind) as writer:  # type: ignore[call-overload]  # one of the four
        for name, type_, content in members:
            one = tarfile.TarInfo(name)
            one.type, one.mode = type_, mode
            if type_ in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                one.linkname = content.decode()
            one.size = len(content) if type_ == tarfile.REGTYPE else 0
            writer.addfile(one, io.BytesIO(content))
    return path


def file(name: str, content: bytes = b"content") -> Member:
    """An ordinary file."""
    return name, tarfile.REGTYPE, content


def folder(name: str) -> Member:
    """A folder."""
    return name, tarfile.DIRTYPE, b""


def link(name: str, target: str) -> Member:
    """A symbolic link."""
    return name, tarfile.SYMTYPE, target.encode()


def same(name: str, other: str) -> Member:
    """A hard link."""
    return name, tarfile.LNKTYPE, other.encode()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where things are unpacked."""
    made = tmp_path / "deep/root"
    made.mkdir(parents=True)
    return made


def unpacked(root: Path, source: Path) -> Unpacking:
    """What came of it."""
    filled = Unpacking(root)
    filled.take(source)
    return filled


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".tar.bz2"])
def test_archive_is_unpacked_however_it_is_compressed(
    suffix: str, root: Path, tmp_path: Path
) -> None:
    """Files, folders, links of both kinds, with a leading `./` or without."""
    members = [
        *(
            folder("."),
            folder("./usr/bin"),
            file("./usr/bin/tool"),
            same("usr/bin/t", "usr/bin/tool"),
        ),
        *(link("bin", "usr/bin"), link("./etc/away", "/etc/passwd"), file("/abs")),
    ]
    filled = unpacked(root, archive(tmp_path / f"one{suffix}", members))
    assert (root / "bin/tool").read_bytes() == b"content"
    assert (root / "usr/bin/t").samefile(root / "usr/bin/tool")
    assert (root / "etc/away").readlink() == Path("/etc/passwd")
    assert (root / "abs").is_file()
    assert filled.size == 2 * len(b"content")
    assert filled.left_out == []


EVIL: dict[str, list[Member]] = {
    "parent": [file("../escaped")],
    "parent in the middle": [file("usr/../../escaped")],
    "through a link": [link("way", ".."), file("way/escaped")],
    "through an absolute link": [link("way", "/usr"), folder("way"), file("way/escaped")],
    "through a link in a folder": [
        folder("usr"),
        link("usr/way", "../.."),
        file("usr/way/escaped"),
    ],
    "second name of what is outside": [same("inside", "../outside")],
    "second name through a link": [link("way", ".."), same("inside", "way/outside")],
    "second name of nothing": [same("inside", "nowhere")],
    "folder becomes a link": [folder("usr"), link("usr", "..")],
    "etc leads away": [link("etc", ".."), file("usr")],
}


@pytest.mark.parametrize("name", EVIL)
def test_no_archive_writes_or_reads_outside(name: str, root: Path, tmp_path: Path) -> None:
    """It is refused in words, and what lies beside the folder stays as it was."""
    (root.parent / "outside").write_text("secret")
    before = {*tmp_path.rglob("*")}
    source = archive(tmp_path / "evil.tar", EVIL[name])
    with pytest.raises(ImageError):
        unpacked(root, source)
    assert {one for one in tmp_path.rglob("*") if root not in one.parents} - before == {source}
    assert not any(one.read_bytes() == b"secret" for one in root.rglob("*") if one.is_file())


def test_file_behind_a_link_of_the_same_name_takes_its_place(root: Path, tmp_path: Path) -> None:
    """A link is replaced, never written through."""
    (root.parent / "outside").write_text("before")
    members = [link("file", "../outside"), file("file", b"after")]
    unpacked(root, archive(tmp_path / "one.tar", members))
    assert (root.parent / "outside").read_text() == "before"
    assert (root / "file").read_text() == "after"


def test_what_a_system_must_not_bring_is_left_out(root: Path, tmp_path: Path) -> None:
    """Devices and pipes are named, the kernel's folders stay empty, marks of containers go."""
    members = [
        *(folder("dev"), file("dev/shm"), folder("proc"), file("proc/1"), file(".dockerenv")),
        *(("lib/pipe", tarfile.FIFOTYPE, b""), ("lib/disk", tarfile.BLKTYPE, b"")),
    ]
    filled = unpacked(root, archive(tmp_path / "one.tar", members))
    assert sorted(filled.left_out) == ["/lib/disk", "/lib/pipe"]
    assert {one.name for one in root.iterdir()} == {"dev", "proc", "etc"}
    assert not any((root / "dev").iterdir())


def test_modes_are_safe_and_the_owner_may_remove_all(root: Path, tmp_path: Path) -> None:
    """No setuid, nothing that others may write, and no folder that its owner may not enter."""
    unpacked(root, archive(tmp_path / "one.tar", [folder("usr"), file("usr/su")], mode=0o4777))
    assert stat.S_IMODE((root / "usr/su").stat().st_mode) == 0o755
    unpacked_shut = archive(tmp_path / "two.tar", [folder("shut"), file("shut/in")], mode=0)
    (tmp_path / "other").mkdir()
    unpacked(tmp_path / "other", unpacked_shut)
    assert (tmp_path / "other/shut").stat().st_mode & 0o700 == 0o700


def test_files_that_engines_mount_on_are_there(root: Path, tmp_path: Path) -> None:
    """A link that would lead nowhere becomes an empty file, and what is a file stays."""
    members = [link("etc/resolv.conf", "../run/systemd/resolve"), file("etc/hosts", b"127.0.0.1")]
    unpacked(root, archive(tmp_path / "one.tar", members))
    assert not (root / "etc/resolv.conf").is_symlink()
    assert (root / "etc/hosts").read_text() == "127.0.0.1"
    assert (root / "etc/hostname").is_file()


@pytest.mark.parametrize(
    "content", [b"no archive at all" * 99, b"", b"\x1f\x8b\x08cut short", b"\x1f\x8b\x08"]
)
def test_what_is_no_archive_is_refused(content: bytes, root: Path, tmp_path: Path) -> None:
    """In words, with what would do."""
    source = tmp_path / "source"
    source.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        unpacked(root, source)
    assert "docker export" in caught.value.hint


def test_archive_that_was_cut_short_is_refused(root: Path, tmp_path: Path) -> None:
    """An export that was interrupted is no image."""
    whole = archive(tmp_path / "one.tar", [file("usr/big", b"x" * 100_000)])
    whole.write_bytes(whole.read_bytes()[:50_000])
    with pytest.raises(ImageError, match="no whole archive"):
        unpacked(root, whole)


def test_archive_without_its_end_is_refused(tmp_path: Path) -> None:
    """Also where it was cut between two members, or where one of them is damaged."""
    whole = archive(tmp_path / "one.tar", [file("usr/one"), file("usr/two")]).read_bytes()
    block = 512  # name, content, name, content, and two of zeros (tar(5))
    damaged = whole[: 2 * block] + b"?" + whole[2 * block + 1 :]
    for number, content in enumerate([damaged, *(whole[: end * block] for end in (2, 4))]):
        (tmp_path / "cut.tar").write_bytes(content)
        (root := tmp_path / str(number)).mkdir()
        with pytest.raises(ImageError, match="no whole archive"):
            unpacked(root, tmp_path / "cut.tar")


@pytest.mark.parametrize("key", ["path", "linkpath"])
def test_name_that_no_file_can_have_is_refused(key: str, root: Path, tmp_path: Path) -> None:
    """An extended header may hold any bytes, zeros too."""
    with tarfile.open(tmp_path / "one.tar", "w") as writer:
        one = tarfile.TarInfo("usr")
        one.type, one.linkname = tarfile.SYMTYPE, "lib"
        one.pax_headers = {key: "usr\0bin"}
        writer.addfile(one)
    with pytest.raises(ImageError, match="is no name"):
        unpacked(root, tmp_path / "one.tar")


def test_folder_is_brought_like_its_archive(root: Path, tmp_path: Path) -> None:
    """Content, links of both kinds and modes are the same either way."""
    source = tmp_path / "source"
    (source / "usr/bin").mkdir(parents=True)
    (source / "usr/bin/tool").write_text("tool")
    (source / "usr/bin/tool").chmod(0o755)
    (source / "usr/bin/t").hardlink_to(source / "usr/bin/tool")
    (source / "bin").symlink_to("/usr/bin")
    (source / "proc").mkdir()
    (source / "proc/1").touch()
    os.mkfifo(source / "pipe")
    filled = unpacked(root, source)
    with tarfile.open(tmp_path / "one.tar", "w") as writer:
        writer.add(source, ".")
    (tmp_path / "other").mkdir()
    from_archive = unpacked(tmp_path / "other", tmp_path / "one.tar")
    assert available.listing(root) == available.listing(tmp_path / "other")
    assert (root / "usr/bin/t").samefile(root / "usr/bin/tool")
    assert filled.left_out == from_archive.left_out == ["/pipe"]


UNREADABLE = """
import sys
from pathlib import Path
from isosmoke.rootfs_images.unpack import Unpacking
filled = Unpacking(Path(sys.argv[2]))
filled.take(Path(sys.argv[1]))
print(*sorted(filled.left_out))
"""


def test_what_may_not_be_read_is_named(ordinary: Ordinary, root: Path, tmp_path: Path) -> None:
    """An ordinary user can bring a system that root made, but for its secrets."""
    source = tmp_path / "source"
    for name in ("usr", "etc", "root"):
        (source / name).mkdir(parents=True)
    (source / "etc/shadow").write_text("secret")
    (source / "etc/shadow").chmod(0)
    (source / "root/key").touch()
    (source / "root").chmod(0)
    assert ordinary(UNREADABLE, source, root) == "/etc/shadow /root/"
    assert (root / "usr").is_dir()
