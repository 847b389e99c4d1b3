"""A run whose daemon is killed, with a dockerd that belongs to the test."""

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
    """A dockerd with all its files in one directory."""

    directory: Path

    @property
    def host(self) -> str:
        return f"unix://{self.directory}/docker.sock"

    @contextmanager
    def running(self) -> Iterator["subprocess.Popen[bytes]"]:
        """Start the daemon for the block; skip the test if it cannot run here."""
        with self._process("dockerd", *self._settings()) as process:
            log = (self.directory / "dockerd.log").read_text()[-500:]
            if not available.wait_for(
                lambda: process.poll() is not None or self._is_answering(), 60
            ):
                pytest.fail(f"dockerd did not come up: {log}")
            if process.poll() is not None:
                pytest.skip(f"a second dockerd cannot run here: {log}")
            yield process

    @contextmanager
    def containerd(self) -> Iterator[None]:
        """Start its containerd, which outlives it as a separate service would."""
        options = (f"--address={self._containerd}", f"--root={self.directory}/containerd")
        (self.directory / "containerd.toml").write_text(
            'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        )
        config = f"--config={self.directory}/containerd.toml"
        with self._process("containerd", config, *options, f"--state={self.directory}/state"):
            assert available.wait_for(lambda: Path(self._containerd).exists(), 60)
            yield

    @contextmanager
    def _process(self, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
        with (self.directory / f"{command[0]}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)

    @property
    def _containerd(self) -> str:
        return f"{self.directory}/containerd.sock"

    def docker(self, *arguments: str) -> list[str]:
        """Run a docker command and return its output lines."""
        command = ["docker", "--host", self.host, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        return result.stdout.splitlines()

    def _is_answering(self) -> bool:
        command = ["docker", "--host", self.host, "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _settings(self) -> list[str]:
        return [
            f"--containerd={self._containerd}",
            f"--data-root={self.directory}/data",
            f"--exec-root={self.directory}/exec",
            f"--pidfile={self.directory}/pid",
            f"--host={self.host}",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
        ]


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """Yield a dockerd that is not running yet, in a short path because of its sockets."""
    if os.getuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("it needs root and dockerd")
    with TemporaryDirectory(prefix="isosmoke-dockerd-") as directory:
        daemon = Daemon(Path(directory))
        with daemon.containerd():
            yield daemon
        available.unmount(daemon.directory)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose scenarios wait until they are killed."""
    project = Project.within(tmp_path, MANIFEST)
    (project.top / "scenarios/waits.sh").write_text("exec sleep 600\n")
    return project


def test_run_ends_promptly_when_its_daemon_is_killed(daemon: Daemon, project: Project) -> None:
    """Every scenario ends as an ERROR of one line, the exit code is 125, and a sweep cleans up."""
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
        assert available.wait_for(lambda: len(daemon.docker("ps", "--quiet")) == 2, 60)
        dockerd.send_signal(signal.SIGKILL)
        stdout, stderr = running.communicate(timeout=60)

    record = json.loads(stdout)
    assert running.returncode == 125, stderr
    assert [scenario["outcome"] for scenario in record["scenarios"]] == ["ERROR"] * len(NAMES)
    for scenario in record["scenarios"]:
        assert f"no daemon at {daemon.host} (DOCKER_HOST)" in scenario["reason"]
        for attempt in scenario["attempts"]:
            assert attempt["phases"].get("destroy", 0.0) < 10
    assert len(record["dirty"]) == 2
    assert "docker rm --force --volumes isosmoke-" in record["dirty"][0]
    assert "DIRTY: docker could not remove sandbox isosmoke-" in stderr

    with daemon.running():
        leftover_filter = ("--all", "--quiet", "--filter", "label=isosmoke.lease")
        assert len(daemon.docker("ps", *leftover_filter)) == 2
        sweep = project.run("sweep", DOCKER_HOST=daemon.host)
        assert sweep.returncode == 0, sweep.stderr
        assert daemon.docker("ps", *leftover_filter) == []
        assert daemon.docker("volume", "ls", "--quiet") == []
    assert list(project.state.glob("scratch/*")) == []
