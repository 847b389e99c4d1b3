"""The extraction of an archive into one directory: links, and the work for each member."""

import io
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from isosmoke.rootfs_images.archives import contained
from isosmoke.rootfs_images.archives.limits import Budget


def create_archive(members: Iterable[tuple[str, bytes, str]]) -> io.BytesIO:
    """Create an archive of names with a type of tarfile and a link target."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as writer:
        for name, type_, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = type_, target
            writer.addfile(info)
    content.seek(0)
    return content


def count_calls(archive: io.BytesIO, directory: Path) -> int:
    """Extract an archive, and return the number of calls of functions."""
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    directory.mkdir()
    sys.setprofile(count)
    try:
        contained.extract(archive, directory, Budget("one.tar"))
    finally:
        sys.setprofile(None)
    return calls


def test_depth_of_a_directory_does_not_slow_its_members_down(tmp_path: Path) -> None:
    """The parents are checked once for each directory, not again for each of its members."""
    few, many = (
        count_calls(
            create_archive([("a/" * 60 + str(n), tarfile.REGTYPE, "") for n in range(count)]),
            tmp_path / str(count),
        )
        for count in (1, 201)
    )
    shallow = count_calls(
        create_archive([(f"a/{n}", tarfile.REGTYPE, "") for n in range(201)]), tmp_path / "shallow"
    )

    assert many - few < 8 * shallow


@pytest.mark.parametrize("type_", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.REGTYPE])
def test_directory_is_not_replaced_by_another_member(type_: bytes, tmp_path: Path) -> None:
    """A directory that was checked stays one, whatever follows under its name."""
    members = [("a/b", tarfile.REGTYPE, ""), ("a", type_, "a/b"), ("a/c", tarfile.REGTYPE, "")]

    with pytest.raises(OSError, match="exists"):
        contained.extract(create_archive(members), tmp_path, Budget("one.tar"))
    assert (tmp_path / "a").is_dir()
    assert not (tmp_path / "a").is_symlink()


def test_path_through_a_link_is_refused(tmp_path: Path) -> None:
    """A link that the archive itself created is not followed, for a member and for its target."""
    link = ("link", tarfile.SYMTYPE, ".")
    for number, member in enumerate(
        (("link/b", tarfile.REGTYPE, ""), ("hard", tarfile.LNKTYPE, "link/a"))
    ):
        (directory := tmp_path / str(number)).mkdir()
        with pytest.raises(tarfile.ExtractError, match="a path through a link"):
            contained.extract(create_archive((link, member)), directory, Budget("one.tar"))
