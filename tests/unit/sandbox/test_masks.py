"""The masks that hide what only root can use in the host's directories."""

import os
import shutil
import socket
from collections.abc import Callable, Collection
from contextlib import chdir
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.sandbox import masks
from isosmoke.sandbox.spec import Fresh, ReadOnly, SandboxSpec

HOME = Path("/home/user")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that stands for the system's."""
    directory = tmp_path / "opt"
    directory.mkdir(mode=0o755)
    monkeypatch.setattr(masks, "_TREES", (str(directory),))
    return directory


def write(path: Path, mode: int) -> Path:
    """Create a file with this mode."""
    path.write_text("content")
    path.chmod(mode)
    return path


def make_directory(path: Path, mode: int) -> Path:
    """Create a directory with this mode, which holds a file that any user may read."""
    path.mkdir()
    write(path / "file", 0o644)
    path.chmod(mode)
    return path


def listen(path: Path, mode: int) -> Path:
    """Create a socket with this mode; its directory may have any length."""
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    path.chmod(mode)
    return path


def make_pipe(path: Path, mode: int) -> Path:
    """Create a named pipe with this mode."""
    os.mkfifo(path)
    path.chmod(mode)
    return path


def list_hidden(needed: Collection[Path] = ()) -> set[Path]:
    """Return the targets of the masks."""
    return {Path(mount.target) for mount in masks.list_root_masks(needed, HOME)}


@pytest.mark.parametrize(
    ("create", "mode", "is_hidden"),
    [
        *((write, 0o600, True), (write, 0o640, True), (write, 0o644, False)),
        *((listen, 0o600, True), (listen, 0o755, True), (listen, 0o777, False)),
        *((make_pipe, 0o644, True), (make_pipe, 0o666, False)),
        *((make_directory, 0o700, True), (make_directory, 0o711, True)),
        *((make_directory, 0o744, True), (make_directory, 0o755, False)),
    ],
)
def test_what_only_root_can_use_is_hidden(
    tree: Path,
    create: Callable[[Path, int], Path],
    mode: int,
    is_hidden: bool,  # noqa: FBT001 - a table
) -> None:
    """A file is hidden unless any user may read it, list it, or connect to it."""
    path = create(tree / "entry", mode)

    assert list_hidden() == ({path} if is_hidden else set())


def test_link_is_not_hidden(tree: Path) -> None:
    """The mode of a link has no effect, and a circle of links is no error."""
    (tree / "link").symlink_to("link")

    assert list_hidden() == set()


def test_private_directory_that_leads_to_a_tool_shows_only_the_tool(tree: Path) -> None:
    """A tool in a private directory can be used; all other entries of the directory are hidden."""
    private = make_directory(tree / "private", 0o700)
    tool = make_directory(private / "tool", 0o700)
    key = write(tool / "key", 0o600)

    assert list_hidden([tool]) == {private / "file", key}


def test_hidden_directory_cannot_be_listed(tree: Path) -> None:
    """A private directory is replaced by an empty directory without permissions."""
    private = make_directory(tree / "private", 0o700)

    expected = Fresh(PurePosixPath(private), 0, is_mask=True)
    assert list(masks.list_root_masks([], HOME)) == [expected]


def test_home_is_not_masked(tree: Path) -> None:
    """Files of a HOME among the system directories add nothing to the fresh HOME of a sandbox."""
    home = make_directory(tree / "home", 0o755)
    write(home / "key", 0o600)

    assert list(masks.list_root_masks([], home)) == []


def test_mask_of_a_removed_file_is_dropped(tree: Path) -> None:
    """Of the masks, only those of paths that still exist remain; every other mount remains."""
    kept, removed = (make_directory(tree / name, 0o700) for name in ("kept", "removed"))
    (key := write(tree / "key", 0o600)).unlink()
    found = [
        *masks.list_root_masks([], HOME),
        ReadOnly(Path("/empty"), PurePosixPath(key), is_mask=True),
        ReadOnly(Path("/other"), PurePosixPath("/nowhere")),
        Fresh(PurePosixPath("/nowhere/else"), 0o755),
    ]
    shutil.rmtree(removed)
    spec = SandboxSpec(label="", image="host", mounts=tuple(found), uid=0, gid=0, network="host")

    targets = {str(mount.target) for mount in masks.drop_vain_masks(spec).mounts}

    assert targets == {str(kept), "/nowhere", "/nowhere/else"}
