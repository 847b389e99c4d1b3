"""What becomes of a run whose daemon dies under it, with a dockerd of the test's own."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support import available
from support.project import Project

NAMES = ("first", "second", "third")
MANIFEST = "".join(
    f"""
[[scenario]]
name = "{name}"
script = "scenarios/waits.sh"
timeout_seconds = 300
"""
    for name in NAMES
)


@dataclass(frozen=True, slots=True)
class Daemon:
    """A dockerd whose every file lies in one folder."""

    folder: Path

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    @contextmanager
    def running(self) -> Iterator["subprocess.Popen[bytes]"]:
        """Up while the block lasts, unless the block ends it; or a skip with its last words."""
        with self._started("dockerd", *self._settings()) as process:
            log = (self.folder / "dockerd.log").read_text()[-500:]
            if not available.eventually(lambda: process.poll() is not None or self._answers(), 60):
                pytest.fail(f"dockerd did not come up: {log}")
            if process.poll() is not None:
                pytest.skip(f"a second dockerd cannot run here: {log}")
            yield process

    @contextmanager
    def containerd(self) -> Iterator[None]:
        """Its containerd, which outlives it as a service of its own does."""
        words = (f"--address={self._containerd}", f"--root={self.folder}/containerd")
        (self.folder / "containerd.toml").write_text(
            'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        )
        config = f"--config={self.folder}/containerd.toml"
        with self._started("containerd", config, *words, f"--state={self.folder}/state"):
            assert available.eventually(lambda: Path(self._containerd).exists(), 60)
            yield

    @contextmanager
    def _started(self, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
        with (self.folder / f"{command[0]}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)

    @property
    def _containerd(self) -> str:
        return f"{self.folder}/containerd.sock"

    def docker(self, *words: str) -> list[str]:
        """The lines that a docker command prints."""
        command = ["docker", "--host", self.host, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def _answers(self) -> bool:
        command = ["docker", "--host", self.host, "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _settings(self) -> list[str]:
        return [
            f"--containerd={self._containerd}",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/pid",
            f"--host={self.host}",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
        ]


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A dockerd that is not yet up, in a short path, as sockets need it."""
    if os.getuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("it needs root and dockerd")
    with TemporaryDirectory(prefix="isosmoke-dockerd-") as folder:
        made = Daemon(Path(folder))
        with made.containerd():
            yield made
        available.unmount(made.folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Scenarios that wait to be ended."""
    made = Project.within(tmp_path, MANIFEST)
    (made.top / "scenarios/waits.sh").write_text("exec sleep 600\n")
    return made


def test_run_ends_promptly_when_its_daemon_is_killed(daemon: Daemon, project: Project) -> None:
    """Every scenario is an ERROR in one line, the code is 125, and the next start cleans up."""
    with (
        daemon.running() as dockerd,
        subprocess.Popen(
            project.command("run", "--engine", "docker", "--jobs", "2", "--json"),
            cwd=project.top,
            env={**project.environment(), "DOCKER_HOST": daemon.host},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running,
    ):
        assert available.eventually(lambda: len(daemon.docker("ps", "--quiet")) == 2, 60)
        dockerd.send_signal(signal.SIGKILL)
        told, shown = running.communicate(timeout=60)

    record = json.loads(told)
    assert running.returncode == 125, shown
    assert [one["outcome"] for one in record["scenarios"]] == ["ERROR"] * len(NAMES)
    for one in record["scenarios"]:
        assert f"no daemon at {daemon.host} (DOCKER_HOST)" in one["reason"]
        for attempt in one["attempts"]:
            assert attempt["phases"].get("destroy", 0.0) < 10
    assert len(record["dirty"]) == 2
    assert "docker rm --force --volumes isosmoke-" in record["dirty"][0]
    assert "DIRTY: docker could not remove sandbox isosmoke-" in shown

    with daemon.running():
        left = ("--all", "--quiet", "--filter", "label=isosmoke.lease")
        assert len(daemon.docker("ps", *left)) == 2
        swept = project.run("sweep", DOCKER_HOST=daemon.host)
        assert swept.returncode == 0, swept.stderr
        assert daemon.docker("ps", *left) == []
        assert daemon.docker("volume", "ls", "--quiet") == []
    assert list(project.state.glob("scratch/*")) == []
