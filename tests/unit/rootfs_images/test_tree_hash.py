"""What a folder holds, as lines: the same content is the same digest, any change another."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.rootfs_images import tree_hash


def made(folder: Path) -> Path:
    """A folder with one entry of each kind."""
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/file").write_text("content")
    (folder / "link").symlink_to("sub/file")
    (folder / "dev").mkdir()
    (folder / "dev/null").touch()
    return folder


def _emptied(path: Path) -> None:
    """An empty file where something else was."""
    path.unlink()
    path.touch()


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "content": (lambda one: (one / "sub/file").write_text("other"), "~ sub/file"),
    "mode": (lambda one: (one / "sub/file").chmod(0o755), "~ sub/file"),
    "new file": (lambda one: (one / "new").touch(), "+ new"),
    "lost file": (lambda one: (one / "sub/file").unlink(), "- sub/file"),
    "new folder": (lambda one: (one / "new").mkdir(), "+ new"),
    "kind": (lambda one: _emptied(one / "link"), "~ link"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_another_digest_and_is_named(change: str, tmp_path: Path) -> None:
    """Content, mode, kind, and whatever comes or goes."""
    folder = made(tmp_path / "one")
    before = tree_hash.listing(folder)
    act, words = CHANGES[change]
    act(folder)
    after = tree_hash.listing(folder)
    assert tree_hash.digest(after) != tree_hash.digest(before)
    assert tree_hash.differences(before, after) == (words,)


def test_same_content_elsewhere_is_the_same_digest(tmp_path: Path) -> None:
    """Neither the place nor the times of files count."""
    first, second = made(tmp_path / "one"), made(tmp_path / "two")
    os.utime(second / "sub/file", (1, 1))
    assert tree_hash.digest(tree_hash.listing(first)) == tree_hash.digest(tree_hash.listing(second))
    assert tree_hash.differences(tree_hash.listing(first), tree_hash.listing(second)) == ()


def test_retargeted_link_is_a_change(tmp_path: Path) -> None:
    """A link counts by what it says, whether that is there or not."""
    folder = made(tmp_path / "one")
    before = tree_hash.listing(folder)
    (folder / "link").unlink()
    (folder / "link").symlink_to("nowhere")
    assert tree_hash.differences(before, tree_hash.listing(folder)) == ("~ link",)


def test_content_of_folders_apart_does_not_count(tmp_path: Path) -> None:
    """What an engine makes anew is no part of a system."""
    folder = made(tmp_path / "one")
    before = tree_hash.listing(folder, apart=("dev",))
    (folder / "dev/more").touch()
    assert tree_hash.listing(folder, apart=("dev",)) == before
    assert "dev" in before
