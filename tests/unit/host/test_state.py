"""The state directory, scratch directories, and their removal by a sweep."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from isosmoke.errors import IsosmokeError
from isosmoke.host import state
from isosmoke.host.leases import Lease
from support import available
from support.fixture_types import Ordinary


@pytest.fixture
def dead() -> Lease:
    """Return the lease of a process that ran here and has ended."""
    code = "from isosmoke.host.leases import Lease; print(Lease.current())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lease = Lease.parse(done.stdout.strip())
    assert lease is not None
    return lease


def test_state_directory_can_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ISOSMOKE_STATE takes precedence over the user's state directory."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "here"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))

    assert state.get_state_directory() == tmp_path / "here"


@pytest.mark.parametrize("unset", [True, False])
def test_state_directory_follows_xdg(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    unset: bool,  # noqa: FBT001 - both ways
) -> None:
    """If ISOSMOKE_STATE is unset or empty, the state directory follows XDG."""
    monkeypatch.setenv("ISOSMOKE_STATE", "")
    if unset:
        monkeypatch.delenv("ISOSMOKE_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))

    assert state.get_state_directory() == tmp_path / "xdg" / "isosmoke"


def test_state_directory_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path becomes absolute, because sandboxes have another working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISOSMOKE_STATE", "here")

    assert state.get_state_directory() == tmp_path / "here"


def test_state_subdirectory_is_created_with_private_mode(state_folder: Path) -> None:
    """A directory in the state directory is created once, and other users cannot access it."""
    directory = state.ensure_directory("binaries")

    assert directory == state_folder / "binaries"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert state.ensure_directory("binaries") == directory


def test_unwritable_state_directory_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error names the directory and the variable to set."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(IsosmokeError, match="file/state/x") as caught:
        state.ensure_directory("x")

    assert "ISOSMOKE_STATE" in caught.value.hint


def test_scratch_directory_exists_only_in_its_block() -> None:
    """A scratch directory is empty and writable in its block, and removed after it."""
    with state.scratch() as directory:
        assert list(directory.iterdir()) == []
        (directory / "file").touch()
        (directory / "sub").mkdir()

    assert not directory.exists()
    assert directory.parent.is_dir()


def test_scratch_directory_is_removed_if_its_block_fails() -> None:
    """An error in the block is raised, and the directory is removed."""
    directories: list[Path] = []

    def fail_with_scratch() -> None:
        with state.scratch() as directory:
            directories.append(directory)
            raise KeyError

    with pytest.raises(KeyError):
        fail_with_scratch()

    assert not directories[0].exists()


def test_scratch_directories_do_not_collide() -> None:
    """Two blocks of one process have different directories."""
    with state.scratch() as first, state.scratch() as second:
        assert first != second


CLOSED = """
import sys
from pathlib import Path
from isosmoke.host import files, state
with state.scratch() as directory:
    deep = directory / "work/work/deeper"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    (directory / "link").symlink_to(sys.argv[1])
    for path in (deep, deep.parent, deep.parent.parent):
        path.chmod(0)
print(directory.exists(), oct(Path(sys.argv[1]).stat().st_mode & 0o777))
"""


def test_scratch_with_inaccessible_directories_is_removed(
    ordinary: Ordinary, tmp_path: Path
) -> None:
    """Directories without permissions, as of an overlay, are removed; links are not followed."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)

    assert ordinary(CLOSED, outside) == "False 0o500"


def test_deeply_nested_scratch_is_removed() -> None:
    """A tree deeper than the maximum length of a path and than the recursion limit is removed."""
    name = "d" * 100
    with state.scratch() as directory:
        current = os.open(directory, os.O_RDONLY)
        for _ in range(2000):
            os.mkdir(name, dir_fd=current)
            inner = os.open(name, os.O_RDONLY, dir_fd=current)
            os.close(current)
            current = inner
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=current))
        os.close(current)

    assert not directory.exists()


def test_sweep_removes_dead_and_keeps_live_directories(dead: Lease) -> None:
    """A sweep removes and returns directories of dead runs, and never one of a live run."""
    leftover = state.ensure_directory("scratch") / f"{dead}.abc"
    (leftover / "sub").mkdir(parents=True)
    with state.scratch() as live:
        assert state.sweep_scratch() == (str(leftover),)
        assert not leftover.exists()
        assert live.is_dir()

    assert state.sweep_scratch() == ()


def test_scratch_that_cannot_be_removed_is_named(dead: Lease, tmp_path: Path) -> None:
    """A directory with a mount in it stays and is named with exit code 125; others are removed."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a file system")
    busy, free = (state.ensure_directory("scratch") / f"{dead}.{name}" for name in ("a", "b"))
    for path in (busy / "point", free):
        path.mkdir(parents=True)
    source = tmp_path / "source"
    source.mkdir()
    (source / "precious").write_text("kept")
    subprocess.run(["mount", "--bind", source, busy / "point"], check=True)
    try:
        command = [sys.executable, "-m", "isosmoke", "sweep"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        available.unmount(busy)

    assert done.returncode == 125
    assert f"removed {free}\n" in done.stdout
    assert f"{busy} could not be removed" in done.stderr
    assert (source / "precious").read_text() == "kept"


def test_sweep_keeps_the_directory_of_another_live_process() -> None:
    """The directory of another live process is kept, and removed after that process is killed."""
    code = (
        "import sys\nfrom isosmoke.host import state\n"
        "with state.scratch() as directory:\n print(directory, flush=True)\n sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        directory = Path(other.stdout.readline().strip())
        assert state.sweep_scratch() == ()
        assert directory.is_dir()
        other.kill()

    assert state.sweep_scratch() == (str(directory),)
    assert not directory.exists()


def test_name_of_scratch_directory_is_its_lease(state_folder: Path) -> None:
    """The name of a scratch directory is the lease of its process."""
    with state.scratch() as directory:
        assert directory.parent == state_folder / "scratch"
        lease = Lease.parse(directory.name)
        assert lease is not None
        assert lease.pid == os.getpid()
