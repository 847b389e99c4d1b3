"""Changes, read from upper layers of overlays and from plain directories."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.runner.evidence.overlay_diff import (
    MAX_DEPTH,
    ChangedMount,
    Walk,
    find_unstored,
    list_changed_mounts,
)
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, ReadOnly, SandboxSpec
from support.fixture_types import Ordinary

TARGET = PurePosixPath("/project")


class _Layers:
    """An upper and a lower directory, filled as overlayfs would fill them."""

    def __init__(self, directory: Path) -> None:
        self.upper, self.lower = directory / "upper", directory / "lower"
        self.complaints: list[str] = []
        for layer in (self.upper, self.lower):
            layer.mkdir()

    def list_changes(self, *points: PurePosixPath) -> dict[str, str]:
        """Each change by its path below the target: what kind of change, and of what."""
        mount = ChangedMount(TARGET, self.upper, self.lower, frozenset(points))
        walk = Walk(mount, tick=lambda: None, complain=self.complain)
        return {
            str(PurePosixPath(change.path).relative_to(TARGET)): f"{change.change} {change.kind}"
            for change in walk
        }

    def complain(self, about: object, why: object) -> None:
        """Record a path that could not be read."""
        self.complaints.append(f"{about}: {why}")

    def create_lower(self, name: str) -> Path:
        """Create a file that existed before."""
        return _create_file(self.lower / name)

    def create_upper(self, name: str) -> Path:
        """Create a file that exists now."""
        return _create_file(self.upper / name)

    def create_whiteout(self, name: str) -> None:
        """Create the mark of a removal, which any user may create."""
        os.mknod(self.upper / name, stat.S_IFCHR, os.makedev(0, 0))


def _create_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.fsencode(path.name))
    return path


def _set_attribute(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"no extended attributes of users in {path}: {error}")


@pytest.fixture
def layers(tmp_path: Path) -> _Layers:
    """Return two empty layers."""
    return _Layers(tmp_path)


def test_file_is_added_changed_or_removed(layers: _Layers) -> None:
    """A new file is added, a different one is changed, and a whiteout is a removal."""
    layers.create_upper("new")
    layers.create_lower("old")
    layers.create_upper("old").write_text("another")
    layers.create_lower("gone")
    layers.create_whiteout("gone")
    (layers.lower / "away").mkdir()
    layers.create_whiteout("away")

    assert layers.list_changes() == {
        "new": "added file",
        "old": "changed file",
        "gone": "removed file",
        "away": "removed folder",
    }


def test_identical_copy_is_no_change(layers: _Layers) -> None:
    """A file that was only opened for writing, and the directory of a change, are unchanged."""
    same = layers.create_lower("dir/same").stat()
    os.utime(layers.create_upper("dir/same"), ns=(same.st_atime_ns, same.st_mtime_ns))
    layers.create_upper("dir/new")

    assert layers.list_changes() == {"dir/new": "added file"}


def test_mode_is_a_change(layers: _Layers) -> None:
    """A file that became executable, and a directory that was closed, are changed."""
    before = layers.create_lower("script").stat()
    script = layers.create_upper("script")
    os.utime(script, ns=(before.st_atime_ns, before.st_mtime_ns))
    script.chmod(0o755)
    for layer in (layers.lower, layers.upper):
        (layer / "dir").mkdir()
    (layers.upper / "dir").chmod(0o700)

    assert layers.list_changes() == {"script": "changed file", "dir": "changed folder"}


def test_different_kind_is_a_change(layers: _Layers) -> None:
    """A file that replaces a directory is one change, and so is the reverse."""
    layers.create_lower("dir/inner")
    layers.create_upper("dir")
    layers.create_lower("file")
    layers.create_upper("file/inner")

    assert layers.list_changes() == {
        "dir": "changed file",
        "file": "changed folder",
        "file/inner": "added file",
    }


def test_whiteout_without_file_is_no_change(layers: _Layers) -> None:
    """A whiteout whose file was since removed from the host is no change."""
    layers.create_whiteout("nothing")

    assert layers.list_changes() == {}


def test_whiteout_may_be_an_attribute(layers: _Layers) -> None:
    """An empty file is a removal only if it has the attribute of a whiteout."""
    layers.create_lower("gone")
    layers.create_lower("emptied")
    for name in ("gone", "emptied"):
        layers.create_upper(name).write_bytes(b"")
    _set_attribute(layers.upper / "gone", "user.overlay.whiteout", b"")

    assert layers.list_changes() == {"gone": "removed file", "emptied": "changed file"}


NEW = {"dir/inner/new": "added file"}

REMOVED = {
    "dir/lost": "removed file",
    "dir/inner/lost": "removed file",
    "dir/rest": "removed folder",
}


@pytest.mark.parametrize(("value", "expected"), [(b"y", {**NEW, **REMOVED}), (b"x", NEW)])
def test_opaque_directory_hides_lower_content(
    layers: _Layers, value: bytes, expected: dict[str, str]
) -> None:
    """Entries of a recreated directory that were not recreated are removed, at any depth.

    The value x only means that the directory has whiteouts by attribute.
    """
    for name in ("dir/lost", "dir/inner/lost", "dir/rest/lost"):
        layers.create_lower(name)
    layers.create_upper("dir/inner/new")
    _set_attribute(layers.upper / "dir", "user.overlay.opaque", value)

    assert layers.list_changes() == expected


def test_kinds_are_detected_without_opening(layers: _Layers) -> None:
    """A link, a fifo and a socket are reported as such; the target of a link is not entered."""
    (layers.upper / "link").symlink_to("/etc")
    os.mkfifo(layers.upper / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{os.open(layers.upper, os.O_PATH)}/socket")

    assert layers.list_changes() == {
        "link": "added link",
        "fifo": "added fifo",
        "socket": "added socket",
    }


def _create_git_directory(layer: Path) -> None:
    for name in ("HEAD", "objects/ab/cd", "refs/heads/main"):
        _create_file(layer / name)


def _create_bare(layers: _Layers) -> str:
    _create_git_directory(layers.upper / "bare")
    return "added folder"


def _change_own(layers: _Layers) -> str:
    _create_git_directory(layers.lower / ".git")
    _create_git_directory(layers.upper / ".git")
    return "changed folder"


def _push_to_bare(layers: _Layers) -> str:
    _create_git_directory(layers.lower / "origin")
    _create_file(layers.upper / "origin/objects/12/34")
    _create_file(layers.upper / "origin/objects/12/35")
    _create_file(layers.upper / "origin/refs/heads/new")
    return "changed folder"


@pytest.mark.parametrize("fill", [_create_bare, _change_own, _push_to_bare])
def test_repository_is_one_change(layers: _Layers, fill: Callable[[_Layers], str]) -> None:
    """Changes in a git directory are summarized, for new, bare and pushed-to repositories."""
    expected = fill(layers)
    (description,) = layers.list_changes().values()
    (change,) = Walk(
        ChangedMount(TARGET, layers.upper, layers.lower),
        tick=lambda: None,
        complain=layers.complain,
    )

    assert description == expected
    assert change.within >= 3
    assert change.size > 0


def test_mounted_git_directory_is_one_change(layers: _Layers) -> None:
    """A mount that is a git directory is summarized too; without a change it is not listed."""
    mount = ChangedMount(PurePosixPath("/p/.git"), layers.upper, layers.lower)
    walk = Walk(mount, tick=lambda: None, complain=layers.complain)
    assert list(walk) == []
    layers.create_upper("index")

    (change,) = walk
    assert (change.path, change.change, change.within) == (str(mount.target), "changed", 1)


def test_mount_points_are_no_changes(layers: _Layers) -> None:
    """A mount point and the directories created for it are not changes of the scenario."""
    layers.create_upper("made/for/mount/hidden")
    layers.create_upper("made/note")

    assert layers.list_changes(TARGET / "made/for/mount") == {"made/note": "added file"}


def test_any_name_is_reported(layers: _Layers) -> None:
    """A name may contain a line feed or bytes that are not text."""
    for name in ("two\nlines", os.fsdecode(b"no \xff text"), "-rf *", "…"):
        layers.create_upper(name)

    assert set(layers.list_changes()) == {"two\nlines", "no \udcff text", "-rf *", "…"}


def test_too_deep_directory_is_reported(layers: _Layers) -> None:
    """A tree is entered to a maximum depth, and the rest is reported as missing."""
    name = "d" * 200
    current = os.open(layers.upper, os.O_RDONLY)
    for _ in range(2 * MAX_DEPTH):
        os.mkdir(name, dir_fd=current)
        inner = os.open(name, os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(current)

    assert len(layers.list_changes()) == MAX_DEPTH + 1
    (complaint,) = layers.complaints
    assert complaint.endswith(f"it is more than {MAX_DEPTH} directories deep")


_WALK = """
import sys
from pathlib import Path, PurePosixPath
from isosmoke.runner.evidence.overlay_diff import ChangedMount, Walk
complain = lambda about, why: print(f"missing {about}: {why}")
mount = ChangedMount(PurePosixPath("/p"), Path(sys.argv[1]))
for change in Walk(mount, tick=print, complain=complain):
    print(change.change, change.path)
"""


def test_unreadable_directory_is_reported(layers: _Layers, ordinary: Ordinary) -> None:
    """A directory that cannot be read is reported with the reason for its missing content."""
    layers.create_upper("closed/inner")
    (layers.upper / "closed").chmod(0)
    layers.create_upper("names only/inner")
    (layers.upper / "names only").chmod(0o400)

    lines = set(ordinary(_WALK, layers.upper).splitlines()) - {""}
    assert lines == {
        "added /p/closed",
        "missing /p/closed: Permission denied",
        "added /p/names only",
        "missing /p/names only/inner: Permission denied",
    }


def test_changed_mounts_have_a_directory(tmp_path: Path) -> None:
    """A copy has its source as lower layer, a fresh directory none; each has its inner mounts."""
    home = PurePosixPath("/home/me")
    project = CopyOnWrite(Path("/home/me/project"))
    key = PurePosixPath("/home/me/.key")
    spec = SandboxSpec(
        label="one",
        image="host",
        mounts=(
            Fresh(PurePosixPath("/run"), 0o755),
            Fresh(PurePosixPath("/tmp"), 0o1777, on_disk=True),  # noqa: S108 - in the sandbox
            Fresh(home, 0o700, on_disk=True),
            project,
            ReadOnly(Path("/home/me/.key"), key),
        ),
        uid=0,
        gid=0,
        network="host",
    )
    directories = {home: tmp_path / "0", project.target: tmp_path / "1"}

    assert list_changed_mounts(spec, directories) == (
        ChangedMount(home, tmp_path / "0", None, frozenset({project.target, key})),
        ChangedMount(project.target, tmp_path / "1", project.source),
    )
    assert find_unstored(spec, directories) == (PurePosixPath("/tmp"),)  # noqa: S108 - in the sandbox
