"""Which mounts a path leads to, by lines as the kernel writes them."""

from pathlib import Path

import pytest

from isosmoke.host import mount_table

ROOT = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"


def points(text: str) -> list[str]:
    """The points of the mounts that can be reached, without the root's."""
    return [str(one.point) for one in mount_table.visible(ROOT + text) if one.point != Path("/")]


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
def test_a_point_has_the_name_that_it_has_on_disk(written: str, point: str) -> None:
    """Escapes are undone once, and no other character ends a line."""
    assert points(f"28 27 0:25 / {written} rw - tmpfs x rw\n") == [point]


def test_of_mounts_on_one_point_the_last_counts() -> None:
    """A mount over another has that one for its parent, in whatever order they are listed."""
    first = "28 27 0:25 / /p/a rw - tmpfs first rw\n"
    last = "30 28 0:26 / /p/a ro - ext4 last rw\n"

    for text in (first + last, last + first):
        (found,) = mount_table.below(Path("/p"), mount_table.visible(ROOT + text))
        assert (found.kind, found.read_only) == ("ext4", True)


def test_a_mount_below_another_that_came_later_is_not_reached() -> None:
    """A mount over the whole folder hides what was mounted in it before, and not after."""
    hidden = "28 27 0:25 / /p/a/deep rw - tmpfs x rw\n"
    over = "29 27 0:26 / /p/a rw - tmpfs x rw\n"
    later = "30 29 0:27 / /p/a/later rw - tmpfs x rw\n"

    assert points(hidden + over + later) == ["/p/a", "/p/a/later"]


def test_a_root_over_the_first_root_is_where_paths_begin() -> None:
    """What hangs on the root below it cannot be reached."""
    text = "28 27 0:25 / /a rw - tmpfs x rw\n29 27 0:26 / / rw - ext4 x rw\n"
    text += "30 29 0:27 / /b rw - tmpfs x rw\n"

    assert points(text) == ["/b"]


def test_a_root_whose_parent_is_itself_is_the_root() -> None:
    """The first root of a machine is its own parent."""
    text = "1 1 0:2 / / rw - rootfs rootfs rw\n28 1 0:25 / /a rw - tmpfs x rw\n"

    assert [str(one.point) for one in mount_table.visible(text)] == ["/", "/a"]


def test_a_point_that_was_removed_is_no_place() -> None:
    """No path leads to a mount whose point has been unlinked in another namespace."""
    gone = "28 27 0:25 / /p/gone//deleted rw - tmpfs x rw\n"
    inside = "29 28 0:26 / /p/gone/inside rw - tmpfs x rw\n"

    assert points(gone + inside) == []


def test_below_a_folder_is_not_the_folder_nor_a_neighbour() -> None:
    """Only what lies in it counts, whatever begins with the same letters."""
    text = ROOT + "".join(
        f"{number} {parent} 0:25 / {point} rw master:2 propagate_from:1 - fuse.sshfs x rw\n"
        for number, parent, point in ((28, 27, "/p"), (29, 27, "/p2"), (30, 28, "/p/a/b"))
    )

    found = mount_table.below(Path("/p"), mount_table.visible(text))

    assert [(str(one.point), one.kind) for one in found] == [("/p/a/b", "fuse.sshfs")]


def test_this_process_sees_its_root_and_proc() -> None:
    """What the kernel really writes is understood."""
    kinds = {one.point: one.kind for one in mount_table.visible(mount_table.text())}

    assert Path("/") in kinds
    assert kinds[Path("/proc")] == "proc"
