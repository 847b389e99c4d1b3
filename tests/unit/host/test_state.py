"""Where state lies, and what a sweep removes of it."""

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
    """The lease of a process that ran here and has ended."""
    code = "from isosmoke.host.leases import Lease; print(Lease.mine())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lease = Lease.parse(done.stdout.strip())
    assert lease is not None
    return lease


def test_state_folder_is_the_one_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ISOSMOKE_STATE wins over the user's own folder."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "here"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))

    assert state.state_folder() == tmp_path / "here"


@pytest.mark.parametrize("unset", [True, False])
def test_state_folder_is_the_users_own(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    unset: bool,  # noqa: FBT001 - both ways
) -> None:
    """Without a name, or with an empty one, state lies where XDG says."""
    monkeypatch.setenv("ISOSMOKE_STATE", "")
    if unset:
        monkeypatch.delenv("ISOSMOKE_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))

    assert state.state_folder() == tmp_path / "xdg" / "isosmoke"


def test_state_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative name is taken from where the command stands, since sandboxes stand elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISOSMOKE_STATE", "here")

    assert state.state_folder() == tmp_path / "here"


def test_kept_folder_is_made_for_its_user_alone(state_folder: Path) -> None:
    """A kept folder is there when it is asked for, twice as well as once, closed to others."""
    folder = state.kept("binaries")

    assert folder == state_folder / "binaries"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert state.kept("binaries") == folder


def test_state_that_cannot_be_written_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A state folder that cannot be made is an error that names it and the variable to set."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(IsosmokeError, match="file/state/x") as caught:
        state.kept("x")

    assert "ISOSMOKE_STATE" in caught.value.hint


def test_scratch_lives_as_long_as_its_block() -> None:
    """A scratch folder is empty and writable in its block, and gone after it."""
    with state.scratch() as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").touch()
        (folder / "sub").mkdir()

    assert not folder.exists()
    assert folder.parent.is_dir()


def test_scratch_is_removed_when_its_block_fails() -> None:
    """An error in the block is passed on, and the folder goes all the same."""
    folders: list[Path] = []

    def breaking() -> None:
        with state.scratch() as folder:
            folders.append(folder)
            raise KeyError

    with pytest.raises(KeyError):
        breaking()

    assert not folders[0].exists()


def test_scratch_folders_do_not_collide() -> None:
    """Two blocks of one process have two folders."""
    with state.scratch() as one, state.scratch() as other:
        assert one != other


CLOSED = """
import sys
from pathlib import Path
from isosmoke.host import files, state
with state.scratch() as folder:
    deep = folder / "work/work/deeper"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    (folder / "link").symlink_to(sys.argv[1])
    for one in (deep, deep.parent, deep.parent.parent):
        one.chmod(0)
print(folder.exists(), oct(Path(sys.argv[1]).stat().st_mode & 0o777))
"""


def test_scratch_goes_although_a_folder_in_it_is_closed(ordinary: Ordinary, tmp_path: Path) -> None:
    """Folders that an overlay left without any permission go too, and links are not followed."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)

    assert ordinary(CLOSED, outside) == "False 0o500"


def test_scratch_goes_however_deep_its_folders_are() -> None:
    """A tree that is deeper than a path can be long, and than functions can be nested, goes too."""
    name = "d" * 100
    with state.scratch() as folder:
        here = os.open(folder, os.O_RDONLY)
        for _ in range(2000):
            os.mkdir(name, dir_fd=here)
            inner = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)

    assert not folder.exists()


def test_sweep_removes_dead_and_spares_live(dead: Lease) -> None:
    """A sweep removes and names what dead runs left, and never touches a live run's folder."""
    left = state.kept("scratch") / f"{dead}.abc"
    (left / "sub").mkdir(parents=True)
    with state.scratch() as live:
        assert state.sweep_scratch() == (str(left),)
        assert not left.exists()
        assert live.is_dir()

    assert state.sweep_scratch() == ()


def test_scratch_that_cannot_be_removed_keeps_no_other_and_is_named(
    dead: Lease, tmp_path: Path
) -> None:
    """A mount that stands in a folder keeps that folder alone; `isosmoke sweep` names it: 125."""
    if os.getuid() != 0:
        pytest.skip("only root can mount something")
    held, free = (state.kept("scratch") / f"{dead}.{name}" for name in ("a", "b"))
    for one in (held / "point", free):
        one.mkdir(parents=True)
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "precious").write_text("kept")
    subprocess.run(["mount", "--bind", shown, held / "point"], check=True)
    try:
        command = [sys.executable, "-m", "isosmoke", "sweep"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        available.unmount(held)

    assert done.returncode == 125
    assert f"removed {free}\n" in done.stdout
    assert f"{held} could not be removed" in done.stderr
    assert (shown / "precious").read_text() == "kept"


def test_sweep_spares_another_live_process() -> None:
    """The folder of another process that runs is spared, and is swept once that was killed."""
    code = (
        "import sys\nfrom isosmoke.host import state\n"
        "with state.scratch() as folder:\n print(folder, flush=True)\n sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        assert state.sweep_scratch() == ()
        assert folder.is_dir()
        other.kill()

    assert state.sweep_scratch() == (str(folder),)
    assert not folder.exists()


def test_scratch_names_its_process(state_folder: Path) -> None:
    """The name of a scratch folder is its lease, so nothing else has to be kept beside it."""
    with state.scratch() as folder:
        assert folder.parent == state_folder / "scratch"
        lease = Lease.parse(folder.name)
        assert lease is not None
        assert lease.pid == os.getpid()
