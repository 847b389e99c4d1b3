"""Digests of directories: equal for equal content, different after any change."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.errors import ImageError
from isosmoke.rootfs_images import image_kinds, tree_hash
from isosmoke.rootfs_images.archives.limits import Budget


def create_tree(directory: Path) -> Path:
    """Create a directory with one entry of each kind."""
    (directory / "sub").mkdir(parents=True)
    (directory / "sub/file").write_text("content")
    (directory / "link").symlink_to("sub/file")
    (directory / "dev").mkdir()
    (directory / "dev/null").touch()
    return directory


def _replace_with_empty_file(path: Path) -> None:
    """Replace a path with an empty file."""
    path.unlink()
    path.touch()


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "content": (lambda root: (root / "sub/file").write_text("other"), "~ sub/file"),
    "mode": (lambda root: (root / "sub/file").chmod(0o755), "~ sub/file"),
    "new file": (lambda root: (root / "new").touch(), "+ new"),
    "removed file": (lambda root: (root / "sub/file").unlink(), "- sub/file"),
    "new directory": (lambda root: (root / "new").mkdir(), "+ new"),
    "kind": (lambda root: _replace_with_empty_file(root / "link"), "~ link"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_alters_the_digest_and_is_listed(change: str, tmp_path: Path) -> None:
    """A change of content, mode, kind or entries changes the digest and is listed."""
    directory = create_tree(tmp_path / "one")
    before = tree_hash.list_entries(directory)
    apply, expected = CHANGES[change]
    apply(directory)
    after = tree_hash.list_entries(directory)
    assert tree_hash.compute_digest(after) != tree_hash.compute_digest(before)
    assert tree_hash.compare_listings(before, after) == (expected,)


def test_equal_content_has_equal_digest(tmp_path: Path) -> None:
    """Neither the location nor the times of files count."""
    first, second = create_tree(tmp_path / "one"), create_tree(tmp_path / "two")
    os.utime(second / "sub/file", (1, 1))
    assert tree_hash.compute_digest(tree_hash.list_entries(first)) == tree_hash.compute_digest(
        tree_hash.list_entries(second)
    )
    assert (
        tree_hash.compare_listings(tree_hash.list_entries(first), tree_hash.list_entries(second))
        == ()
    )


def test_link_target_counts(tmp_path: Path) -> None:
    """A link is compared by its target, which need not exist."""
    directory = create_tree(tmp_path / "one")
    before = tree_hash.list_entries(directory)
    (directory / "link").unlink()
    (directory / "link").symlink_to("nowhere")
    assert tree_hash.compare_listings(before, tree_hash.list_entries(directory)) == ("~ link",)


def test_content_of_excluded_directories_does_not_count(tmp_path: Path) -> None:
    """The content of directories that engines recreate is not part of a system."""
    directory = create_tree(tmp_path / "one")
    before = tree_hash.list_entries(directory, excluded=("dev",))
    (directory / "dev/more").touch()
    assert tree_hash.list_entries(directory, excluded=("dev",)) == before
    assert "dev" in before


def test_directory_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """Deep nesting, many entries and huge files end the hashing at once, with a hint."""
    deep = tmp_path / "deep"
    deep.mkdir()
    (deep / ("a/" * 300)).mkdir(parents=True)
    sparse = create_tree(tmp_path / "sparse")
    os.truncate(sparse / "sub/file", 1 << 42)

    for directory, limit in ((deep, "nested deeper"), (sparse, "exceed 64 GiB including holes")):
        with pytest.raises(ImageError, match=limit) as caught:
            tree_hash.list_entries(directory, budget=Budget(directory))
        assert caught.value.hint
    with pytest.raises(ImageError, match="more than 3 entries"):
        tree_hash.list_entries(sparse, budget=Budget(sparse, max_entries=3))


def test_large_image_that_was_not_imported_is_refused(tmp_path: Path) -> None:
    """Its error names the image, and the import, which has limits that can be raised."""
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/big").touch()
    os.truncate(tmp_path / "usr/big", 1 << 42)

    with pytest.raises(ImageError, match=f"image 'rootfs:{tmp_path}' exceed") as caught:
        image_kinds.digest(f"rootfs:{tmp_path}", tmp_path)

    assert "isosmoke image import" in caught.value.hint
