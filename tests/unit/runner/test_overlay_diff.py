"""Upper layers of overlays and plain folders, read as what changed."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.runner.overlay_diff import DEEPEST, Place, Walk, places, unseen
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, ReadOnly, SandboxSpec
from support.fixture_types import Ordinary

TARGET = PurePosixPath("/project")


class _Layers:
    """An upper and a lower folder, filled by hand as overlayfs would fill them."""

    def __init__(self, folder: Path) -> None:
        self.upper, self.lower = folder / "upper", folder / "lower"
        self.complaints: list[str] = []
        for one in (self.upper, self.lower):
            one.mkdir()

    def shown(self, *points: PurePosixPath) -> dict[str, str]:
        """Each change by its path below the target: what kind of change, and of what."""
        place = Place(TARGET, self.upper, self.lower, frozenset(points))
        walk = Walk(place, tick=lambda: None, complain=self.complain)
        return {
            str(PurePosixPath(one.path).relative_to(TARGET)): f"{one.change} {one.kind}"
            for one in walk
        }

    def complain(self, about: object, why: object) -> None:
        """Note what could not be looked at."""
        self.complaints.append(f"{about}: {why}")

    def below(self, name: str) -> Path:
        """A file that was there before."""
        return _file(self.lower / name)

    def above(self, name: str) -> Path:
        """A file that is there now."""
        return _file(self.upper / name)

    def whiteout(self, name: str) -> None:
        """The mark of a removal, which anybody may make."""
        os.mknod(self.upper / name, stat.S_IFCHR, os.makedev(0, 0))


def _file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.fsencode(path.name))
    return path


def _mark(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"no extended attributes of users in {path}: {error}")


@pytest.fixture
def layers(tmp_path: Path) -> _Layers:
    """Two empty layers."""
    return _Layers(tmp_path)


def test_file_is_added_changed_or_removed(layers: _Layers) -> None:
    """What was not there before is added, what differs is changed, a whiteout is removed."""
    layers.above("new")
    layers.below("old")
    layers.above("old").write_text("another")
    layers.below("gone")
    layers.whiteout("gone")
    (layers.lower / "away").mkdir()
    layers.whiteout("away")

    assert layers.shown() == {
        "new": "added file",
        "old": "changed file",
        "gone": "removed file",
        "away": "removed folder",
    }


def test_copy_that_is_the_same_is_no_change(layers: _Layers) -> None:
    """A file that was only opened for writing, and the folder that holds a change, are the same."""
    same = layers.below("folder/same").stat()
    os.utime(layers.above("folder/same"), ns=(same.st_atime_ns, same.st_mtime_ns))
    layers.above("folder/new")

    assert layers.shown() == {"folder/new": "added file"}


def test_mode_alone_is_a_change(layers: _Layers) -> None:
    """A file that became a program, and a folder that was closed, are changed."""
    before = layers.below("script").stat()
    script = layers.above("script")
    os.utime(script, ns=(before.st_atime_ns, before.st_mtime_ns))
    script.chmod(0o755)
    for one in (layers.lower, layers.upper):
        (one / "folder").mkdir()
    (layers.upper / "folder").chmod(0o700)

    assert layers.shown() == {"script": "changed file", "folder": "changed folder"}


def test_what_became_something_else_is_changed(layers: _Layers) -> None:
    """A file in place of a folder is one change, and so is a folder in place of a file."""
    layers.below("folder/inner")
    layers.above("folder")
    layers.below("file")
    layers.above("file/inner")

    assert layers.shown() == {
        "folder": "changed file",
        "file": "changed folder",
        "file/inner": "added file",
    }


def test_whiteout_of_what_never_was_is_nothing(layers: _Layers) -> None:
    """A mark whose file the host itself has removed by now tells of no change."""
    layers.whiteout("nothing")

    assert layers.shown() == {}


def test_whiteout_may_be_an_attribute(layers: _Layers) -> None:
    """An empty file with the attribute of a whiteout stands for a removal, one without does not."""
    layers.below("gone")
    layers.below("emptied")
    for name in ("gone", "emptied"):
        layers.above(name).write_bytes(b"")
    _mark(layers.upper / "gone", "user.overlay.whiteout", b"")

    assert layers.shown() == {"gone": "removed file", "emptied": "changed file"}


NEW = {"folder/inner/new": "added file"}

LOST = {
    "folder/lost": "removed file",
    "folder/inner/lost": "removed file",
    "folder/rest": "removed folder",
}


@pytest.mark.parametrize(("value", "shown"), [(b"y", {**NEW, **LOST}), (b"x", NEW)])
def test_opaque_folder_hides_what_was_there(
    layers: _Layers, value: bytes, shown: dict[str, str]
) -> None:
    """Of a folder that was removed and made again all is gone that was not made again, inside too.

    The value x says only that there are whiteouts by attribute in it.
    """
    for name in ("folder/lost", "folder/inner/lost", "folder/rest/lost"):
        layers.below(name)
    layers.above("folder/inner/new")
    _mark(layers.upper / "folder", "user.overlay.opaque", value)

    assert layers.shown() == shown


def test_kinds_are_told_apart_without_opening(layers: _Layers) -> None:
    """A link, a fifo and a socket are named as such; what a link points to is not entered."""
    (layers.upper / "link").symlink_to("/etc")
    os.mkfifo(layers.upper / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(f"/proc/self/fd/{os.open(layers.upper, os.O_PATH)}/socket")

    assert layers.shown() == {
        "link": "added link",
        "fifo": "added fifo",
        "socket": "added socket",
    }


def _own_folder(layer: Path) -> None:
    for name in ("HEAD", "objects/ab/cd", "refs/heads/main"):
        _file(layer / name)


def _bare(layers: _Layers) -> str:
    _own_folder(layers.upper / "bare")
    return "added folder"


def _own(layers: _Layers) -> str:
    _own_folder(layers.lower / ".git")
    _own_folder(layers.upper / ".git")
    return "changed folder"


def _pushed_to(layers: _Layers) -> str:
    _own_folder(layers.lower / "origin")
    _file(layers.upper / "origin/objects/12/34")
    _file(layers.upper / "origin/objects/12/35")
    _file(layers.upper / "origin/refs/heads/new")
    return "changed folder"


@pytest.mark.parametrize("filled", [_bare, _own, _pushed_to])
def test_repository_is_one_change(layers: _Layers, filled: Callable[[_Layers], str]) -> None:
    """What git keeps for itself is summed up, whether the repository is new, bare or pushed to."""
    expected = filled(layers)
    (told,) = layers.shown().values()
    (one,) = Walk(
        Place(TARGET, layers.upper, layers.lower), tick=lambda: None, complain=layers.complain
    )

    assert told == expected
    assert one.within >= 3
    assert one.size > 0


def test_git_folder_of_worktrees_is_one_change(layers: _Layers) -> None:
    """A mount that is a git folder itself is summed up too; without a change it is not there."""
    place = Place(PurePosixPath("/p/.git"), layers.upper, layers.lower)
    walk = Walk(place, tick=lambda: None, complain=layers.complain)
    assert list(walk) == []
    layers.above("index")

    (one,) = walk
    assert (one.path, one.change, one.within) == (str(place.target), "changed", 1)


def test_mounts_inside_are_no_changes(layers: _Layers) -> None:
    """The point of a mount, and the folders made to lead to it, are not the scenario's work."""
    layers.above("made/for/mount/hidden")
    layers.above("made/note")

    assert layers.shown(TARGET / "made/for/mount") == {"made/note": "added file"}


def test_any_name_is_told(layers: _Layers) -> None:
    """A name may have a line feed in it, or bytes that are no text."""
    for name in ("two\nlines", os.fsdecode(b"no \xff text"), "-rf *", "…"):
        layers.above(name)

    assert set(layers.shown()) == {"two\nlines", "no \udcff text", "-rf *", "…"}


def test_what_lies_too_deep_is_told(layers: _Layers) -> None:
    """A tree deeper than any path may be long is entered to a depth, and the rest is missing."""
    name = "d" * 200
    here = os.open(layers.upper, os.O_RDONLY)
    for _ in range(2 * DEEPEST):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)

    assert len(layers.shown()) == DEEPEST + 1
    (complaint,) = layers.complaints
    assert complaint.endswith(f"it is more than {DEEPEST} folders deep")


_WALK = """
import sys
from pathlib import Path, PurePosixPath
from isosmoke.runner.overlay_diff import Place, Walk
complain = lambda about, why: print(f"missing {about}: {why}")
for one in Walk(Place(PurePosixPath("/p"), Path(sys.argv[1])), tick=print, complain=complain):
    print(one.change, one.path)
"""


def test_closed_folder_is_told(layers: _Layers, ordinary: Ordinary) -> None:
    """A folder that may not be read is named, with why its contents are missing."""
    layers.above("closed/inner")
    (layers.upper / "closed").chmod(0)
    layers.above("names only/inner")
    (layers.upper / "names only").chmod(0o400)

    lines = set(ordinary(_WALK, layers.upper).splitlines()) - {""}
    assert lines == {
        "added /p/closed",
        "missing /p/closed: Permission denied",
        "added /p/names only",
        "missing /p/names only/inner: Permission denied",
    }


def test_places_are_the_mounts_that_have_a_folder(tmp_path: Path) -> None:
    """A copy has its source below it, a fresh folder nothing; each knows the mounts inside."""
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
    folders = {home: tmp_path / "0", project.target: tmp_path / "1"}

    assert places(spec, folders) == (
        Place(home, tmp_path / "0", None, frozenset({project.target, key})),
        Place(project.target, tmp_path / "1", project.source),
    )
    assert unseen(spec, folders) == (PurePosixPath("/tmp"),)  # noqa: S108 - in the sandbox
