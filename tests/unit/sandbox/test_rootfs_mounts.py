"""A root filesystem in a folder: where its links lead, and what of it a sandbox shows."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.sandbox import rootfs_mounts
from isosmoke.sandbox.spec import ReadOnly


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A merged-usr system with links that would lead out of it, were they the host's."""
    system = tmp_path / "system"
    for folder in ("usr/bin", "usr/lib", "usr/src", "etc", "home", "var/home", "proc", "tmp"):
        (system / folder).mkdir(parents=True)
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
    assert rootfs_mounts.inside(root, PurePosixPath(path)) == root / leads_to


@pytest.mark.parametrize("path", ["/etc/away", "/etc/round", "/gone", "/no/such"])
def test_links_lead_nowhere_outside(root: Path, path: str) -> None:
    """What is only on the host, what leads in a circle and what is not there is not found."""
    assert rootfs_mounts.inside(root, PurePosixPath(path)) is None


def test_command_is_found_as_a_shell_inside_would(root: Path) -> None:
    """By PATH or by its own path, through links, and only where it can be executed."""
    assert rootfs_mounts.which(root, "tool") == root / "usr/bin/tool"
    assert rootfs_mounts.which(root, "/bin/other") == root / "usr/bin/tool"
    assert rootfs_mounts.which(root, "tool", "/usr/lib") is None
    assert rootfs_mounts.which(root, "kept", "/usr/src") is None


def shown(root: Path, *others: str) -> dict[str, str]:
    """What is seen at each target, by its path in the root filesystem."""
    mounts = rootfs_mounts.mounts(root, [PurePosixPath(one) for one in others])
    assert all(isinstance(one, ReadOnly) for one in mounts)
    return {
        str(one.target): os.path.relpath(one.source, root)
        for one in mounts
        if isinstance(one, ReadOnly)
    }


def below(found: Iterable[str], folder: str) -> set[str]:
    """The targets in a folder, or the folder itself."""
    return {one for one in found if PurePosixPath(one).is_relative_to(folder)}


def test_everything_is_shown_but_what_the_engine_makes(root: Path) -> None:
    """Each entry is mounted where it belongs, a link as what it leads to, and /proc is not."""
    assert shown(root) == {
        "/bin": "usr/bin",
        "/lib": "usr/lib",
        **{f"/{one}": one for one in ("etc", "home", "tmp", "usr", "var")},
    }


def test_place_that_exists_is_mounted_over(root: Path) -> None:
    """A target of its own is left to its own mount, and one in a folder keeps the folder whole."""
    found = shown(root, "/tmp", "/etc/passwd")  # noqa: S108 - in the sandbox
    assert "/tmp" not in found  # noqa: S108 - in the sandbox
    assert below(found, "/etc") == {"/etc"}


def test_place_that_is_missing_can_be_made(root: Path) -> None:
    """Folders above it are made anew and keep what they had beside it."""
    found = shown(root, "/usr/src/project/sub", "/home/me")
    assert below(found, "/usr") == {"/usr/bin", "/usr/lib", "/usr/src/kept"}
    assert not below(found, "/home")


def test_place_behind_a_link_is_made_anew(root: Path) -> None:
    """Nothing is mounted through a link: the path becomes a folder of its own."""
    (root / "home").rmdir()
    (root / "home").symlink_to("var/home")
    found = shown(root, "/home/me", "/etc/up")
    assert not below(found, "/home")
    assert "/etc" not in found
    assert "/etc/passwd" in found
