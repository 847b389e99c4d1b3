"""isosmoke in an image of its own, `ISOSMOKE_OWN_IMAGE`: its sandboxes are made beside it."""

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
class Outside:
    """A project and a state folder on the host, which isosmoke's container is given."""

    folder: Path
    image: str

    def isosmoke(self, *words: str, shared: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
        """Run it in its image, with these folders at their own paths."""
        volumes = [f"--volume={self.folder / one}:{self.folder / one}" for one in shared]
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
                *(f"--env={name}={value}" for name, value in settings.items()),
                *(f"--user={os.getuid()}:{os.getgid()}", f"--group-add={SOCKET.stat().st_gid}"),
                *(f"--workdir={self.folder / 'project'}", self.image, *words),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def outside() -> Iterator[Outside]:
    """A project whose scenarios have a clean image, or a loud skip."""
    available.engine("docker")
    image, clean = (os.environ.get(one, "") for one in ("ISOSMOKE_OWN_IMAGE", "ISOSMOKE_IMAGE"))
    if not image or not clean:
        pytest.skip("set ISOSMOKE_OWN_IMAGE (docker build .) and ISOSMOKE_IMAGE (a Debian)")
    folder = Path(mkdtemp(prefix="isosmoke-outside-"))
    for name in ("project", "state"):
        (folder / name).mkdir()
    (folder / "project/manifest.toml").write_text(MANIFEST.format(image=clean))
    (folder / "project/works.sh").write_text("grep -q mine file && echo more >>file && wg\n")
    (folder / "project/leaks.sh").write_text("setsid sleep 60 >/dev/null 2>&1 </dev/null &\n")
    (folder / "project/file").write_text("mine\n")
    (folder / "project/wg").write_text("#!/bin/sh\n")
    (folder / "project/wg").chmod(0o755)
    yield Outside(folder, image)
    shutil.rmtree(folder)


def test_scenarios_run_beside_the_container(outside: Outside) -> None:
    """With the project as it is outside, which stays as it was, and leaks are seen."""
    done = outside.isosmoke("run", "--report", "console", shared=("project", "state"))
    assert done.returncode == 1, done.stderr
    assert "1 PASS  1 LEAK" in done.stdout
    assert (outside.folder / "project/file").read_text() == "mine\n"


def test_folder_that_the_daemon_cannot_see_is_named(outside: Outside) -> None:
    """Before anything runs, with the option that is missing."""
    done = outside.isosmoke("run", shared=("project",))
    assert done.returncode == 125
    state = outside.folder / "state"
    assert f"does not see {state}" in done.stderr
    assert f"-v {state}:{state}" in done.stderr


def test_host_image_is_refused(outside: Outside) -> None:
    """The daemon's host is another system than isosmoke's container."""
    words = ("run", "--engine", "docker", "--", "true")
    done = outside.isosmoke(*words, shared=("project", "state"))
    assert done.returncode == 125
    assert "name a clean environment" in done.stderr
