"""A root filesystem in a directory: the resolution of its links, and its mounts."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.sandbox import rootfs_mounts
from isosmoke.sandbox.spec import ReadOnly


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a merged-usr system with links that lead out of it if followed on the host."""
    system = tmp_path / "system"
    for directory in ("usr/bin", "usr/lib", "usr/src", "etc", "home", "var/home", "proc", "tmp"):
        (system / directory).mkdir(parents=True)
    for file in ("usr/bin/tool", "etc/passwd", "usr/src/kept"):
        (system / file).write_text(file)
    (system / "usr/bin/tool").chmod(0o755)
    (tmp_path / "outside").write_text("the host's")
    for link, target in (
        ("bin", "usr/bin"),
        ("lib", "/usr/lib"),
        ("etc/up", "../../../../etc/passwd"),
        ("etc/away", str(tmp_path / "outside")),
        ("etc/round", "round"),
        ("usr/bin/other", "/bin/tool"),
        ("gone", "nowhere"),
    ):
        (system / link).symlink_to(target)
    return system


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/etc/passwd", "etc/passwd"),
        ("/bin/tool", "usr/bin/tool"),
        ("/lib", "usr/lib"),
        ("/bin/other", "usr/bin/tool"),
        ("/etc/up", "etc/passwd"),
        ("/../../etc/passwd", "etc/passwd"),
    ],
)
def test_links_are_followed_as_inside(root: Path, path: str, leads_to: str) -> None:
    """An absolute link starts at the root filesystem's own root, and `..` stops there."""
    assert rootfs_mounts.resolve_inside(root, PurePosixPath(path)) == root / leads_to


@pytest.mark.parametrize("path", ["/etc/away", "/etc/round", "/gone", "/no/such"])
def test_links_do_not_lead_outside(root: Path, path: str) -> None:
    """Files of the host, circular links and missing files are not found."""
    assert rootfs_mounts.resolve_inside(root, PurePosixPath(path)) is None


def test_command_is_found_as_by_a_shell_inside(root: Path) -> None:
    """A command is found on PATH or by its path, through links, and only if it is executable."""
    assert rootfs_mounts.find_program(root, "tool") == root / "usr/bin/tool"
    assert rootfs_mounts.find_program(root, "/bin/other") == root / "usr/bin/tool"
    assert rootfs_mounts.find_program(root, "tool", "/usr/lib") is None
    assert rootfs_mounts.find_program(root, "kept", "/usr/src") is None


def build_mounts(root: Path, *others: str) -> dict[str, str]:
    """Return the path in the root filesystem that is mounted at each target."""
    mounts = rootfs_mounts.build_mounts(root, [PurePosixPath(other) for other in others])
    assert all(isinstance(mount, ReadOnly) for mount in mounts)
    return {
        str(mount.target): os.path.relpath(mount.source, root)
        for mount in mounts
        if isinstance(mount, ReadOnly)
    }


def filter_below(targets: Iterable[str], directory: str) -> set[str]:
    """Return the targets inside a directory, or at the directory itself."""
    return {target for target in targets if PurePosixPath(target).is_relative_to(directory)}


def test_all_entries_are_mounted_except_those_of_the_engine(root: Path) -> None:
    """Each entry is mounted at its path, a link as its target, and /proc is left to the engine."""
    assert build_mounts(root) == {
        "/bin": "usr/bin",
        "/lib": "usr/lib",
        **{f"/{name}": name for name in ("etc", "home", "tmp", "usr", "var")},
    }


def test_existing_mount_point_is_used(root: Path) -> None:
    """An entry that is another mount's target is skipped; one that contains a target is not."""
    targets = build_mounts(root, "/tmp", "/etc/passwd")  # noqa: S108 - in the sandbox
    assert "/tmp" not in targets  # noqa: S108 - in the sandbox
    assert filter_below(targets, "/etc") == {"/etc"}


def test_missing_mount_point_can_be_created(root: Path) -> None:
    """The entries of each directory above a missing mount point are mounted one by one."""
    targets = build_mounts(root, "/usr/src/project/sub", "/home/me")
    assert filter_below(targets, "/usr") == {"/usr/bin", "/usr/lib", "/usr/src/kept"}
    assert not filter_below(targets, "/home")


def test_mount_point_behind_a_link_can_be_created(root: Path) -> None:
    """A link on the way to a mount point is not mounted, so that a directory can replace it."""
    (root / "home").rmdir()
    (root / "home").symlink_to("var/home")
    targets = build_mounts(root, "/home/me", "/etc/up")
    assert not filter_below(targets, "/home")
    assert "/etc" not in targets
    assert "/etc/passwd" in targets
