"""Podman services of the tests, each in its own directory, for root or an ordinary user."""

import json
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support import available


@dataclass(frozen=True, slots=True)
class Service:
    """A Podman service in its own directory, and the user whom it serves."""

    folder: Path
    user: available.User

    @property
    def socket(self) -> Path:
        return self.folder / "podman.sock"

    @property
    def client(self) -> available.User:
        """The same user, for whom `podman` connects to this service."""
        return replace(self.user, variables=(("CONTAINER_HOST", f"unix://{self.socket}"),))

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of its user; without the variable that would make podman a client."""
        return {
            **self.user.environment(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
        }

    def podman(self, *arguments: str) -> list[str]:
        """Return a command line over the service's own storage."""
        options = [f"--root={self.folder}/root", f"--runroot={self.folder}/run"]
        return [*self.user.prefix, "podman", *options, *arguments]

    def list_containers(self) -> list[str]:
        """Return the names of all its containers."""
        result = subprocess.run(
            self.podman("ps", "--all", "--format=json"),
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            check=True,
        )
        return [name for container in json.loads(result.stdout) for name in container["Names"]]


@contextmanager
def service(user: available.User, runtime: str) -> Iterator[Service]:
    """Run a service of `user` during the block, or skip without Podman."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    with TemporaryDirectory(prefix="isosmoke-podman-") as name:
        service = Service(Path(name), user)
        user.create_directories(service.folder)
        settings = f'[engine]\nruntime = "{runtime}"\nevents_logger = "file"\n'
        (service.folder / "containers.conf").write_text(settings)
        try:
            with _serving(service):
                yield service
        finally:
            _end_namespace(service)
            available.unmount(service.folder)


@contextmanager
def _serving(service: Service) -> Iterator[None]:
    log = service.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            service.podman("system", "service", "--time=0", f"unix://{service.socket}"),
            env=service.environment,
            cwd=service.folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            available.wait_for(lambda: service.socket.exists() or process.poll() is not None)
            if not service.socket.exists():
                pytest.skip(f"podman: no service for {service.user.name}: {log.read_text()[-300:]}")
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def _end_namespace(service: Service) -> None:
    """End the process with which rootless Podman keeps its user namespace alive."""
    for file in service.folder.rglob("pause.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)


def find_subordinate_user() -> available.User:
    """Return an ordinary user with subordinate ids, as rootless Podman needs, or skip the test."""
    if os.getuid() != 0:
        pytest.skip("the tests run as an ordinary user already")
    file = Path("/etc/subuid")
    for line in file.read_text().splitlines() if file.exists() else ():
        with suppress(KeyError):
            entry = pwd.getpwnam(line.split(":")[0])
            groups = (f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
            # Start env as the user: setpriv itself may start programs that the user may not.
            prefix = ("setpriv", *groups, "env")
            python = available.find_python(prefix)
            return available.User(entry.pw_name, prefix, python, entry.pw_uid, entry.pw_gid)
    pytest.skip("podman: no user has an entry in /etc/subuid")
