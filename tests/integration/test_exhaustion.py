"""Exhausted resources cause a clear error, and leave existing records intact."""

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
"""A PATH without a live binary, whose copy would fill a small disk first."""


@dataclass(frozen=True, slots=True)
class Site:
    """The directories of the project and the state, each of which may be a small disk."""

    folder: Path
    user: available.User

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def state(self) -> Path:
        return self.folder / "own" / "state"

    def write(self, **scripts: str) -> None:
        """Write a project with these scenarios."""
        text = ""
        for name, script in scripts.items():
            (self.project / f"{name}.sh").write_text(script)
            text += f"[[scenario]]\nname = '{name}'\nscript = '{name}.sh'\n"
        (self.project / "manifest.toml").write_text(text)

    def run(self, *prefix: str, engine: str) -> "subprocess.CompletedProcess[str]":
        """Run all scenarios with `isosmoke run`, after the command words in `prefix`."""
        command = self.user.command("run", "--engine", engine, "--jobs", "2", "--json")
        return subprocess.run(
            [*self.user.prefix, *prefix, *command[len(self.user.prefix) :]],
            cwd=self.project,
            env={**self.user.environment(self.folder / "own"), "PATH": PATH},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def disks() -> Iterator[ExitStack]:
    """Yield a stack for small disks, which only root can mount."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=available.USERS)
def site(request: pytest.FixtureRequest, disks: ExitStack) -> Site:
    """Create each user's project and state."""
    user = available.USERS[request.param]()  # a skip here must not leave a directory
    site = Site(Path(mkdtemp(prefix="isosmoke-exhausted-")), user)
    disks.callback(shutil.rmtree, site.folder)
    site.user.create_directories(site.folder)
    site.user.create_directories(site.folder / "own")
    site.project.mkdir()
    site.user.give_ownership(site.project)
    return site


@contextmanager
def _mounted_disk(directory: Path, user: available.User, options: str) -> Iterator[None]:
    """Mount a file system in memory on the directory."""
    mount_options = f"{options},mode=0755,uid={user.uid},gid={user.gid}"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", mount_options, "none", str(directory)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def _fill(directory: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (directory / "full").write_bytes(bytes(1 << 30))


def _fill_with_names(directory: Path) -> None:
    def create_names() -> None:
        for number in range(1 << 20):
            (directory / f"name-{number}").touch()

    with pytest.raises(OSError, match="No space left"):
        create_names()


def _check_output(result: "subprocess.CompletedProcess[str]") -> None:
    assert "Traceback" not in result.stderr
    assert not result.stdout or json.loads(result.stdout)["schema_version"] == 1


@pytest.mark.parametrize("fill", [_fill, _fill_with_names])
@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_full_state_directory_is_named_in_error(
    name: str, fill: Callable[[Path], None], site: Site, disks: ExitStack
) -> None:
    """Without space or inodes for a sandbox, exit 125 and an error report the reason."""
    site.user.require_engine(name)
    site.write(passes=":")
    disks.enter_context(_mounted_disk(site.state, site.user, "size=2M,nr_inodes=200"))
    fill(site.state)
    result = site.run(engine=name)
    _check_output(result)
    assert result.returncode == 125, result.stderr
    assert "No space left on device" in result.stderr
    assert str(site.state) in result.stderr


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_script_that_fills_disk_fails(name: str, site: Site, disks: ExitStack) -> None:
    """The script fails with its own error, a concurrent one passes, and the record is complete."""
    site.user.require_engine(name)
    site.write(fills="cat /dev/zero >/tmp/all", passes=":")
    disks.enter_context(_mounted_disk(site.state, site.user, "size=16M"))
    result = site.run("env", engine=name)
    _check_output(result)
    scenarios = {scenario["name"]: scenario for scenario in json.loads(result.stdout)["scenarios"]}
    assert scenarios["fills"]["outcome"] == "FAIL", result.stderr
    assert "No space left" in scenarios["fills"]["reason"]
    assert scenarios["passes"]["outcome"] in ("PASS", "FLAKY"), result.stderr
    run = reader.find_run(None, site.project)
    assert [scenario.name for scenario in run.scenarios] == ["fills", "passes"]


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_full_project_keeps_verdicts(name: str, site: Site, disks: ExitStack) -> None:
    """If the record does not fit in the project, the verdicts stand and stderr reports it."""
    site.user.require_engine(name)
    disks.enter_context(_mounted_disk(site.project, site.user, "size=1M"))
    site.write(passes=":", fails="exit 3")
    site.user.give_ownership(site.project)
    _fill(site.project)
    result = site.run(engine=name)
    _check_output(result)
    outcomes = {
        scenario["name"]: scenario["outcome"] for scenario in json.loads(result.stdout)["scenarios"]
    }
    assert outcomes == {"passes": "PASS", "fails": "FAIL"}, result.stderr
    assert result.returncode == 1


def test_read_only_state_directory_has_hint(site: Site, disks: ExitStack) -> None:
    """The error names the directory and the variable that selects another."""
    site.write(passes=":")
    disks.enter_context(_mounted_disk(site.state, site.user, "ro"))
    result = site.run(engine="bubblewrap")
    _check_output(result)
    assert result.returncode == 125
    assert f"cannot write to {site.state}" in result.stderr
    assert "ISOSMOKE_STATE" in result.stderr


@pytest.mark.parametrize("maximum", [1, 3, 4, 5, 6, 8])
def test_process_limit_of_user_is_error(maximum: int, site: Site) -> None:
    """A user who may start no more processes gets a clear error."""
    if site.user.uid == 0:
        pytest.skip("limits of processes do not apply to root")
    site.write(passes=":", more=":")
    result = site.run("prlimit", f"--nproc={maximum}", engine="bubblewrap")
    _check_output(result)
    assert result.returncode in (0, 125), result.stderr
    if result.returncode:
        assert re.search("Resource temporarily unavailable|can't start new thread", result.stderr)
