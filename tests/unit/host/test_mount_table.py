"""The parser of the mount table, with lines as the kernel writes them."""

from pathlib import Path

import pytest

from isosmoke.host import mount_table

ROOT = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"


def find_points(text: str) -> list[str]:
    """Return the mount points that can be reached, without the root."""
    mounts = mount_table.find_visible(ROOT + text)
    return [str(mount.point) for mount in mounts if mount.point != Path("/")]


@pytest.mark.parametrize(
    ("written", "point"),
    [
        ("/p/a\\040b", "/p/a b"),
        ("/p/a\\011b\\012c", "/p/a\tb\nc"),
        ("/p/a\\134040b", "/p/a\\040b"),
        ("/p/a\u2028b\x85c", "/p/a\u2028b\x85c"),
        ("/p/\udcff", "/p/\udcff"),
    ],
)
def test_mount_point_is_unescaped(written: str, point: str) -> None:
    """Escapes are decoded once, and only a line feed ends a line."""
    assert find_points(f"28 27 0:25 / {written} rw - tmpfs x rw\n") == [point]


def test_last_mount_at_one_point_is_visible() -> None:
    """The parent of a covering mount is the covered one, in whatever order they are listed."""
    first = "28 27 0:25 / /p/a rw - tmpfs first rw\n"
    last = "30 28 0:26 / /p/a ro - ext4 last rw\n"

    for text in (first + last, last + first):
        (mount,) = mount_table.find_below(Path("/p"), mount_table.find_visible(ROOT + text))
        assert (mount.kind, mount.read_only) == ("ext4", True)


def test_mount_below_a_later_one_is_hidden() -> None:
    """A mount over a directory hides earlier mounts in it, but not later ones."""
    hidden = "28 27 0:25 / /p/a/deep rw - tmpfs x rw\n"
    over = "29 27 0:26 / /p/a rw - tmpfs x rw\n"
    later = "30 29 0:27 / /p/a/later rw - tmpfs x rw\n"

    assert find_points(hidden + over + later) == ["/p/a", "/p/a/later"]


def test_paths_start_at_the_topmost_root() -> None:
    """Mounts on a covered root cannot be reached."""
    text = "28 27 0:25 / /a rw - tmpfs x rw\n29 27 0:26 / / rw - ext4 x rw\n"
    text += "30 29 0:27 / /b rw - tmpfs x rw\n"

    assert find_points(text) == ["/b"]


def test_root_that_is_its_own_parent_is_the_root() -> None:
    """The first root of a machine is its own parent."""
    text = "1 1 0:2 / / rw - rootfs rootfs rw\n28 1 0:25 / /a rw - tmpfs x rw\n"

    assert [str(mount.point) for mount in mount_table.find_visible(text)] == ["/", "/a"]


def test_deleted_mount_point_is_hidden() -> None:
    """No path leads to a mount whose point has been unlinked in another namespace."""
    gone = "28 27 0:25 / /p/gone//deleted rw - tmpfs x rw\n"
    inside = "29 28 0:26 / /p/gone/inside rw - tmpfs x rw\n"

    assert find_points(gone + inside) == []


def test_mounts_below_a_directory_exclude_itself_and_its_siblings() -> None:
    """A directory with the same prefix in its name is not inside."""
    text = ROOT + "".join(
        f"{number} {parent} 0:25 / {point} rw master:2 propagate_from:1 - fuse.sshfs x rw\n"
        for number, parent, point in ((28, 27, "/p"), (29, 27, "/p2"), (30, 28, "/p/a/b"))
    )

    mounts = mount_table.find_below(Path("/p"), mount_table.find_visible(text))

    assert [(str(mount.point), mount.kind) for mount in mounts] == [("/p/a/b", "fuse.sshfs")]


def test_table_of_this_process_has_root_and_proc() -> None:
    """The table of the running kernel is parsed."""
    kinds = {
        mount.point: mount.kind for mount in mount_table.find_visible(mount_table.read_table())
    }

    assert Path("/") in kinds
    assert kinds[Path("/proc")] == "proc"
