"""Podman services of the tests' own: in a folder of their own, for root or for an ordinary user."""

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
    """A Podman service in a folder of its own, and the user whom it serves."""

    folder: Path
    user: available.User

    @property
    def socket(self) -> Path:
        return self.folder / "podman.sock"

    @property
    def client(self) -> available.User:
        """The same user, for whom `podman` is this service."""
        return replace(self.user, variables=(("CONTAINER_HOST", f"unix://{self.socket}"),))

    @property
    def environment(self) -> Mapping[str, str]:
        """What its user has; a variable that names the service would make podman its client."""
        return {
            **self.user.environment(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
        }

    def podman(self, *words: str) -> list[str]:
        """A command line over the service's own storage."""
        folders = [f"--root={self.folder}/root", f"--runroot={self.folder}/run"]
        return [*self.user.prefix, "podman", *folders, *words]

    def containers(self) -> list[str]:
        """The names of all that it has."""
        done = subprocess.run(
            self.podman("ps", "--all", "--format=json"),
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            check=True,
        )
        return [name for one in json.loads(done.stdout) for name in one["Names"]]


@contextmanager
def service(user: available.User, runtime: str) -> Iterator[Service]:
    """A service of `user`'s that runs while the block lasts, or a skip where there is none."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    with TemporaryDirectory(prefix="isosmoke-podman-") as name:
        made = Service(Path(name), user)
        user.settle_in(made.folder)
        settings = f'[engine]\nruntime = "{runtime}"\nevents_logger = "file"\n'
        (made.folder / "containers.conf").write_text(settings)
        try:
            with _served(made):
                yield made
        finally:
            _end_namespace(made)
            available.unmount(made.folder)


@contextmanager
def _served(made: Service) -> Iterator[None]:
    log = made.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            made.podman("system", "service", "--time=0", f"unix://{made.socket}"),
            env=made.environment,
            cwd=made.folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            available.eventually(lambda: made.socket.exists() or process.poll() is not None, 20)
            if not made.socket.exists():
                pytest.skip(f"podman: no service for {made.user.name}: {log.read_text()[-300:]}")
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def _end_namespace(made: Service) -> None:
    """Rootless Podman keeps a process that holds its user namespace for the next command."""
    for file in made.folder.rglob("pause.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)


def subordinate() -> available.User:
    """An ordinary user who has subordinate ids, as rootless Podman needs; or a skip."""
    if os.getuid() != 0:
        pytest.skip("the tests run as an ordinary user already")
    file = Path("/etc/subuid")
    for line in file.read_text().splitlines() if file.exists() else ():
        with suppress(KeyError):
            entry = pwd.getpwnam(line.split(":")[0])
            groups = (f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
            # setpriv itself may still start what the user may not: env is started as the user.
            prefix = ("setpriv", *groups, "env")
            python = available.python_of(prefix)
            return available.User(entry.pw_name, prefix, python, entry.pw_uid, entry.pw_gid)
    pytest.skip("podman: no user here has a line in /etc/subuid")
