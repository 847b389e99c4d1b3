"""isosmoke in its own image, `ISOSMOKE_OWN_IMAGE`, with its sandboxes next to it on the host."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

from support import available

SOCKET = Path("/var/run/docker.sock")

MANIFEST = """
[defaults]
image = "{image}"
settle_seconds = 0.5

[[scenario]]
name = "works"
script = "works.sh"

[[scenario]]
name = "leaks"
script = "leaks.sh"
"""


@dataclass(frozen=True, slots=True)
class HostProject:
    """A project and a state directory on the host, mounted in isosmoke's container."""

    folder: Path
    image: str

    def run_isosmoke(
        self, *arguments: str, shared: tuple[str, ...]
    ) -> "subprocess.CompletedProcess[str]":
        """Run isosmoke in its image, with these directories mounted at the same paths."""
        volumes = [f"--volume={self.folder / name}:{self.folder / name}" for name in shared]
        settings = {
            "ISOSMOKE_STATE": self.folder / "state",
            "ISOSMOKE_WG": self.folder / "project/wg",
        }
        return subprocess.run(
            [
                *(
                    "docker",
                    "run",
                    "--rm",
                    "--network=host",
                    f"--volume={SOCKET}:{SOCKET}",
                    *volumes,
                ),
                *(f"--env={key}={value}" for key, value in settings.items()),
                *(f"--user={os.getuid()}:{os.getgid()}", f"--group-add={SOCKET.stat().st_gid}"),
                *(f"--workdir={self.folder / 'project'}", self.image, *arguments),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def host_project() -> Iterator[HostProject]:
    """Yield a project with a clean image for its scenarios, or skip the test."""
    available.require_engine("docker")
    image, clean = (
        os.environ.get(variable, "") for variable in ("ISOSMOKE_OWN_IMAGE", "ISOSMOKE_IMAGE")
    )
    if not image or not clean:
        pytest.skip("set ISOSMOKE_OWN_IMAGE (docker build .) and ISOSMOKE_IMAGE (a Debian)")
    directory = Path(mkdtemp(prefix="isosmoke-outside-"))
    for name in ("project", "state"):
        (directory / name).mkdir()
    (directory / "project/manifest.toml").write_text(MANIFEST.format(image=clean))
    (directory / "project/works.sh").write_text("grep -q mine file && echo more >>file && wg\n")
    (directory / "project/leaks.sh").write_text("setsid sleep 60 >/dev/null 2>&1 </dev/null &\n")
    (directory / "project/file").write_text("mine\n")
    (directory / "project/wg").write_text("#!/bin/sh\n")
    (directory / "project/wg").chmod(0o755)
    yield HostProject(directory, image)
    shutil.rmtree(directory)


def test_scenarios_run_next_to_container(host_project: HostProject) -> None:
    """Scenarios see the host's project, which stays unchanged, and leaks are found."""
    result = host_project.run_isosmoke("run", "--report", "console", shared=("project", "state"))
    assert result.returncode == 1, result.stderr
    assert "1 PASS  1 LEAK" in result.stdout
    assert (host_project.folder / "project/file").read_text() == "mine\n"


def test_directory_invisible_to_daemon_is_named(host_project: HostProject) -> None:
    """The error comes before any run, with the missing option."""
    result = host_project.run_isosmoke("run", shared=("project",))
    assert result.returncode == 125
    state = host_project.folder / "state"
    assert f"does not see {state}" in result.stderr
    assert f"-v {state}:{state}" in result.stderr


def test_host_image_is_refused(host_project: HostProject) -> None:
    """The daemon's host is not the system of isosmoke's container."""
    arguments = ("run", "--engine", "docker", "--", "true")
    result = host_project.run_isosmoke(*arguments, shared=("project", "state"))
    assert result.returncode == 125
    assert "the name of a clean environment" in result.stderr
