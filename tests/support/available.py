"""What the tests of real engines share: an engine or a loud skip, a user, and bounded waiting."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic
from typing import NoReturn

import pytest

from isosmoke.engines import ENGINES
from isosmoke.engines.base import Engine
from isosmoke.errors import EngineUnavailableError
from isosmoke.host import binary
from support.paths import ROOT, TESTS

NAMES = sorted(ENGINES)

PATH = "/usr/local/bin:/usr/bin:/bin"
"""The system's own programs: what developers add would only make sandboxes slower here."""

DAEMONS = {
    name: os.environ[name] for name in ("CONTAINER_HOST", "DOCKER_HOST") if name in os.environ
}
"""Those that whoever runs the tests has named: what the tests start talks to the same."""

_DOCKER = Path("/var/run/docker.sock")
_NOBODY = 65534


def _demanded(name: str) -> bool:
    return name in os.environ.get("ISOSMOKE_REQUIRE_ENGINES", "").split(",")


def cannot(name: str, why: str) -> NoReturn:
    """A skip in words; a failure where `ISOSMOKE_REQUIRE_ENGINES` names the engine."""
    give_up = pytest.fail if _demanded(name) else pytest.skip
    give_up(f"{name}: {why}")


def engine(name: str) -> Engine:
    """The engine, usable, or a loud skip with its own words."""
    try:
        made = ENGINES[name]()
        made.preflight()
    except EngineUnavailableError as error:
        cannot(name, f"{error.message} (try: {error.hint})")
    return made


def wg() -> Path:
    """The live wg, or a loud skip."""
    found = binary.find(None, os.environ)
    if found is None:
        pytest.skip("no wg on PATH, and ISOSMOKE_WG names none")
    return found


def eventually(holds: Callable[[], object], seconds: float = 5.0) -> bool:
    """Whether it comes to hold within a bounded time."""
    never = Event()
    deadline = monotonic() + seconds
    while not holds():
        if monotonic() > deadline:
            return False
        never.wait(0.02)
    return True


def unmount(folder: Path) -> None:
    """Undo every mount below a folder, the last one first: what a daemon of a test's own left."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    for point in reversed([line.split()[4] for line in lines]):
        if folder in Path(point).parents:
            subprocess.run(["umount", point], check=True)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who runs isosmoke: the words before the command, and the Python to run it with.

    `variables` are this user's own, beside those that every user has.
    """

    name: str
    prefix: tuple[str, ...]
    python: str
    uid: int
    gid: int
    variables: tuple[tuple[str, str], ...] = ()

    def command(self, *words: str) -> list[str]:
        """An isosmoke command line."""
        return [*self.prefix, self.python, "-m", "isosmoke", *words]

    def must_have(self, name: str) -> None:
        """Return when this user can use the engine, or skip loudly with the engine's own words."""
        _must_have(self, name)

    def environment(self, folder: Path) -> Mapping[str, str]:
        """What this user has, with home, state and temporary files in `folder`."""
        return {
            "PATH": PATH,
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "ISOSMOKE_STATE": str(folder / "state"),
            "PYTHONPATH": _python_path(),
            "LANG": "C.UTF-8",
            **dict(self.variables),
        }

    def settle_in(self, folder: Path) -> None:
        """Make the folders that `environment` names, all of this user's own."""
        for one in (folder, *(folder / name for name in ("home", "tmp", "state"))):
            one.mkdir(exist_ok=True)
            one.chmod(0o755)
            os.chown(one, self.uid, self.gid)

    def take_over(self, folder: Path) -> None:
        """Make a folder and all that is in it this user's own."""
        for one in (folder, *folder.rglob("*")):
            os.chown(one, self.uid, self.gid, follow_symlinks=False)

    def run(self, *words: str, folder: Path, working: Path) -> "subprocess.CompletedProcess[str]":
        """Run an isosmoke command to its end."""
        return subprocess.run(
            self.command(*words),
            cwd=working,
            env=self.environment(folder),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def pytest(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run tests as this user, in a folder of the user's own."""
        with TemporaryDirectory(prefix="isosmoke-tests-", ignore_cleanup_errors=True) as folder:
            self.settle_in(Path(folder))
            options = ("-p", "no:cacheprovider", f"--basetemp={folder}/pytest")
            return subprocess.run(
                [*self.prefix, self.python, "-m", "pytest", *options, *words],
                cwd=ROOT,
                env={**self.environment(Path(folder)), "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )


def _python_path() -> str:
    """The package and its libraries, for a Python that is not the one of the tests."""
    return os.pathsep.join(
        [str(ROOT), str(TESTS), *(one for one in sys.path if "site-packages" in one)]
    )


_PREFLIGHT = """
import sys
from isosmoke.engines import ENGINES
from isosmoke.errors import EngineUnavailableError
try:
    ENGINES[sys.argv[1]]().preflight()
except EngineUnavailableError as error:
    print(f"{error.message} (try: {error.hint})")
"""


@cache
def _must_have(user: User, name: str) -> None:
    with TemporaryDirectory(prefix="isosmoke-trial-") as folder:
        user.settle_in(Path(folder))
        done = subprocess.run(
            [*user.prefix, user.python, "-c", _PREFLIGHT, name],
            env=user.environment(Path(folder)),
            capture_output=True,
            text=True,
            check=True,
        )
    if done.stdout:
        cannot(name, f"for {user.name}: {done.stdout.strip()}")


def me() -> User:
    """Who runs the tests."""
    return User("me", (), sys.executable, os.getuid(), os.getgid(), tuple(DAEMONS.items()))


@cache
def somebody() -> User:
    """An ordinary user where the tests are root's, in the group that may use Docker; or a skip."""
    if os.getuid() != 0:
        pytest.skip("the tests run as an ordinary user already")
    groups = str(_DOCKER.stat().st_gid) if _DOCKER.exists() else ""
    choice = ("--groups", groups) if groups else ("--clear-groups",)
    prefix = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", *choice, "env")
    return User("somebody", prefix, python_of(prefix), _NOBODY, _NOBODY)


def python_of(prefix: tuple[str, ...]) -> str:
    """Return a Python that the user whom `prefix` becomes can run isosmoke with; or a skip."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        if _can_run(prefix, python):
            return python
    pytest.skip("an ordinary user can run no Python here that has isosmoke's libraries")


def _can_run(prefix: tuple[str, ...], python: str) -> bool:
    """The libraries are compiled for one version of Python, and may lie where nobody may look."""
    command = [
        *prefix,
        python,
        "-c",
        "import isosmoke.cli.scenarios.run, isosmoke.engines.docker.engine",
    ]
    environment = {"PATH": PATH, "PYTHONPATH": _python_path(), "HOME": "/"}
    try:
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


USERS: Mapping[str, Callable[[], User]] = {"me": me, "somebody": somebody}


def listing(folder: Path) -> dict[str, bytes]:
    """Every path below `folder`: its kind, mode and owner, and of a file also what is in it."""
    return {str(one.relative_to(folder)): _described(one) for one in folder.rglob("*")}


def _described(path: Path) -> bytes:
    status = path.lstat()
    head = f"{status.st_mode:o} {status.st_uid} ".encode()
    return head + (path.read_bytes() if stat.S_ISREG(status.st_mode) else b"")
