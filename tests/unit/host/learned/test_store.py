"""Learned results are used only while everything that they depend on is the same."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.host.learned import store

BASIS = {"kernel": "6.1", "limits": [1, 2]}


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of a kind in a new state directory, with one result."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))
    store.save("colours", "sky", BASIS, ["blue"])
    return tmp_path / "state/learned-colours"


def find_only_file(directory: Path) -> Path:
    """Return the only file of a directory."""
    (file,) = directory.iterdir()
    return file


def test_result_is_found_for_the_same_basis() -> None:
    """A result is returned for an equal basis, of the same kind and subject only."""
    assert store.load("colours", "sky", {**BASIS}) == ["blue"]
    assert store.load("colours", "sea", BASIS) is None
    assert store.load("shapes", "sky", BASIS) is None


@pytest.mark.parametrize("changed", [{"kernel": "6.2"}, {"limits": [1]}, {"more": None}])
def test_result_is_not_found_for_another_basis(changed: dict[str, object]) -> None:
    """A result is not returned if a part of its basis changed or was added."""
    assert store.load("colours", "sky", {**BASIS, **changed}) is None


def test_store_is_private(directory: Path) -> None:
    """Only the user may read or write the directory and its files."""
    assert directory.stat().st_mode & 0o777 == 0o700
    assert find_only_file(directory).stat().st_mode & 0o777 == 0o600


def cut(file: Path) -> None:
    """Keep half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    """Change a value in a file."""
    file.write_bytes(file.read_bytes().replace(b"blue", b"grey"))


def empty(file: Path) -> None:
    """Remove the content of a file."""
    file.write_bytes(b"")


def share(file: Path) -> None:
    """Let every user write to a file."""
    file.chmod(0o666)


def share_directory(file: Path) -> None:
    """Let every user add files to the directory of a file."""
    file.parent.chmod(0o777)


def link(file: Path) -> None:
    """Replace a file by a link to it."""
    other = file.rename(file.with_name("other"))
    file.symlink_to(other)


def occupy(file: Path) -> None:
    """Replace a file by a directory."""
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("damage", [cut, flip, empty, share, share_directory, link, occupy])
def test_damaged_or_shared_file_is_ignored(directory: Path, damage: Callable[[Path], None]) -> None:
    """A file that is damaged, or that another user can have written, has no result."""
    damage(find_only_file(directory))

    assert store.load("colours", "sky", BASIS) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_file_of_another_user_is_ignored(directory: Path) -> None:
    """A file that belongs to another user has no result."""
    os.chown(find_only_file(directory), 65534, 65534)

    assert store.load("colours", "sky", BASIS) is None


def test_store_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the state directory cannot be created, nothing is kept and nothing fails."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "file/state"))

    store.save("colours", "sky", BASIS, ["blue"])

    assert store.load("colours", "sky", BASIS) is None


def test_old_and_surplus_files_are_removed(directory: Path) -> None:
    """A file is removed a month after it was written, and the oldest of very many at once."""
    old = find_only_file(directory)
    os.utime(old, (0, 0))
    for number in range(210):
        store.save("colours", str(number), BASIS, number)

    files = list(directory.iterdir())
    assert old not in files
    assert len(files) <= 200
    assert store.load("colours", "209", BASIS) == 209
