"""A machine that has run out of something gets a clear error, and what was recorded stays whole."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

from isosmoke.history import reader
from support import available

PATH = "/usr/bin:/bin"
"""Without a live binary, whose copy would fill any small disk first."""


@dataclass(frozen=True, slots=True)
class Place:
    """Two folders, each a small disk of its own if a test wants it: the project and the state."""

    folder: Path
    user: available.User

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def state(self) -> Path:
        return self.folder / "own" / "state"

    def write(self, **scripts: str) -> None:
        """A project with these scenarios."""
        text = ""
        for name, script in scripts.items():
            (self.project / f"{name}.sh").write_text(script)
            text += f"[[scenario]]\nname = '{name}'\nscript = '{name}.sh'\n"
        (self.project / "manifest.toml").write_text(text)

    def run(self, *before: str, engine: str) -> "subprocess.CompletedProcess[str]":
        """`isosmoke run` of all of it, after the words in `before`."""
        command = self.user.command("run", "--engine", engine, "--jobs", "2", "--json")
        return subprocess.run(
            [*self.user.prefix, *before, *command[len(self.user.prefix) :]],
            cwd=self.project,
            env={**self.user.environment(self.folder / "own"), "PATH": PATH},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def disks() -> Iterator[ExitStack]:
    """Where a test mounts small disks, which only root can."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=available.USERS)
def place(request: pytest.FixtureRequest, disks: ExitStack) -> Place:
    """Each user's own project and state."""
    user = available.USERS[request.param]()  # a skip here leaves no folder
    made = Place(Path(mkdtemp(prefix="isosmoke-exhausted-")), user)
    disks.callback(shutil.rmtree, made.folder)
    made.user.settle_in(made.folder)
    made.user.settle_in(made.folder / "own")
    made.project.mkdir()
    made.user.take_over(made.project)
    return made


@contextmanager
def _disk(folder: Path, user: available.User, options: str) -> Iterator[None]:
    """A file system in memory on that folder."""
    owned = f"{options},mode=0755,uid={user.uid},gid={user.gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", owned, "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(folder: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (folder / "full").write_bytes(bytes(1 << 30))


def _fill_with_names(folder: Path) -> None:
    def make_names() -> None:
        for number in range(1 << 20):
            (folder / f"name-{number}").touch()

    with pytest.raises(OSError, match="No space left"):
        make_names()


def _is_clear(done: "subprocess.CompletedProcess[str]") -> None:
    assert "Traceback" not in done.stderr
    assert not done.stdout or json.loads(done.stdout)["schema_version"] == 1


@pytest.mark.parametrize("filling", [_fill, _fill_with_names])
@pytest.mark.parametrize("name", available.NAMES)
def test_full_state_folder_is_an_error_that_names_it(
    name: str, filling: Callable[[Path], None], place: Place, disks: ExitStack
) -> None:
    """Without room or inodes for a sandbox nothing is judged: 125, and the words say why."""
    place.user.must_have(name)
    place.write(passes=":")
    disks.enter_context(_disk(place.state, place.user, "size=2M,nr_inodes=200"))
    filling(place.state)
    done = place.run(engine=name)
    _is_clear(done)
    assert done.returncode == 125, done.stderr
    assert "No space left on device" in done.stderr
    assert str(place.state) in done.stderr


@pytest.mark.parametrize("name", available.NAMES)
def test_script_that_fills_the_disk_is_judged(name: str, place: Place, disks: ExitStack) -> None:
    """It fails by its own words, the scenario beside it passes, and the record is whole."""
    place.user.must_have(name)
    place.write(fills="cat /dev/zero >/tmp/all", passes=":")
    disks.enter_context(_disk(place.state, place.user, "size=16M"))
    done = place.run("env", engine=name)
    _is_clear(done)
    told = {one["name"]: one for one in json.loads(done.stdout)["scenarios"]}
    assert told["fills"]["outcome"] == "FAIL", done.stderr
    assert "No space left" in told["fills"]["reason"]
    assert told["passes"]["outcome"] in ("PASS", "FLAKY"), done.stderr
    kept = reader.find_run(None, place.project)
    assert [one.name for one in kept.scenarios] == ["fills", "passes"]


@pytest.mark.parametrize("name", available.NAMES)
def test_full_project_loses_no_verdict(name: str, place: Place, disks: ExitStack) -> None:
    """Where the record has no room beside the manifest, the verdict stands and stderr says so."""
    place.user.must_have(name)
    disks.enter_context(_disk(place.project, place.user, "size=1M"))
    place.write(passes=":", fails="exit 3")
    place.user.take_over(place.project)
    _fill(place.project)
    done = place.run(engine=name)
    _is_clear(done)
    told = {one["name"]: one["outcome"] for one in json.loads(done.stdout)["scenarios"]}
    assert told == {"passes": "PASS", "fails": "FAIL"}, done.stderr
    assert done.returncode == 1


def test_read_only_state_folder_is_an_error_with_a_way_out(place: Place, disks: ExitStack) -> None:
    """It names the folder and the variable that chooses another."""
    place.write(passes=":")
    disks.enter_context(_disk(place.state, place.user, "ro"))
    done = place.run(engine="bubblewrap")
    _is_clear(done)
    assert done.returncode == 125
    assert f"cannot write to {place.state}" in done.stderr
    assert "ISOSMOKE_STATE" in done.stderr


@pytest.mark.parametrize("most", [1, 3, 4, 5, 6, 8])
def test_no_more_processes_is_an_error(most: int, place: Place) -> None:
    """Where the user may start no more, it is a clear error, unless it still fits."""
    if place.user.uid == 0:
        pytest.skip("no limit of processes holds for root")
    place.write(passes=":", more=":")
    done = place.run("prlimit", f"--nproc={most}", engine="bubblewrap")
    _is_clear(done)
    assert done.returncode in (0, 125), done.stderr
    if done.returncode:
        assert re.search("Resource temporarily unavailable|can't start new thread", done.stderr)
