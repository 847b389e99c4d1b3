"""Tools for tests of real engines: engines, users, and waiting with a deadline."""

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

ENGINE_NAMES = sorted(ENGINES)

PATH = "/usr/local/bin:/usr/bin:/bin"
"""The system's own programs; those that developers add would only slow sandboxes down here."""

DAEMON_VARIABLES = {
    name: os.environ[name] for name in ("CONTAINER_HOST", "DOCKER_HOST") if name in os.environ
}
"""The environment variables that select container daemons, for programs that tests start."""

_DOCKER = Path("/var/run/docker.sock")
_NOBODY = 65534


def _is_required(name: str) -> bool:
    return name in os.environ.get("ISOSMOKE_REQUIRE_ENGINES", "").split(",")


def skip_engine(name: str, reason: str) -> NoReturn:
    """Skip the test with a reason, or fail it if `ISOSMOKE_REQUIRE_ENGINES` names the engine."""
    abort = pytest.fail if _is_required(name) else pytest.skip
    abort(f"{name}: {reason}")


def require_engine(name: str) -> Engine:
    """Return the engine, or skip the test unless it is usable."""
    try:
        usable = ENGINES[name]()
        usable.preflight()
    except EngineUnavailableError as error:
        skip_engine(name, f"{error.message} (try: {error.hint})")
    return usable


def require_wg() -> Path:
    """Return the path of the live wg, or skip the test."""
    path = binary.find(None, os.environ)
    if path is None:
        pytest.skip("no wg found; put wg on PATH, or set ISOSMOKE_WG")
    return path


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    """Return whether the condition becomes true within so many seconds."""
    never = Event()
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            return False
        never.wait(0.02)
    return True


def unmount(directory: Path) -> None:
    """Undo every mount below a directory, the last first, after a daemon of a test."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    for point in reversed([line.split()[4] for line in lines]):
        if directory in Path(point).parents:
            subprocess.run(["umount", point], check=True)


@dataclass(frozen=True, slots=True)
class User:
    """A user who runs isosmoke: the prefix of each command, and a Python to run it with.

    `variables` are set in addition to the variables of every user.
    """

    name: str
    prefix: tuple[str, ...]
    python: str
    uid: int
    gid: int
    variables: tuple[tuple[str, str], ...] = ()

    def command(self, *arguments: str) -> list[str]:
        """Return an isosmoke command line."""
        return [*self.prefix, self.python, "-m", "isosmoke", *arguments]

    def require_engine(self, name: str) -> None:
        """Skip the test unless this user can use the engine."""
        _require_engine(self, name)

    def environment(self, folder: Path) -> Mapping[str, str]:
        """Return this user's environment, with home, state and temporary files in `folder`."""
        return {
            "PATH": PATH,
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "ISOSMOKE_STATE": str(folder / "state"),
            "PYTHONPATH": _python_path(),
            "LANG": "C.UTF-8",
            **dict(self.variables),
        }

    def create_directories(self, directory: Path) -> None:
        """Create the directories that `environment` names, owned by this user."""
        for path in (directory, *(directory / name for name in ("home", "tmp", "state"))):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
            os.chown(path, self.uid, self.gid)

    def give_ownership(self, directory: Path) -> None:
        """Make this user the owner of a directory and all that it contains."""
        for path in (directory, *directory.rglob("*")):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def run(
        self, *arguments: str, folder: Path, working: Path
    ) -> "subprocess.CompletedProcess[str]":
        """Run an isosmoke command to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=working,
            env=self.environment(folder),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def pytest(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run tests as this user, in a directory of the user."""
        with TemporaryDirectory(prefix="isosmoke-tests-", ignore_cleanup_errors=True) as directory:
            self.create_directories(Path(directory))
            options = ("-p", "no:cacheprovider", f"--basetemp={directory}/pytest")
            return subprocess.run(
                [*self.prefix, self.python, "-m", "pytest", *options, *arguments],
                cwd=ROOT,
                env={**self.environment(Path(directory)), "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )


def _python_path() -> str:
    """Return the path of the package and its libraries, for another Python."""
    return os.pathsep.join(
        [str(ROOT), str(TESTS), *(path for path in sys.path if "site-packages" in path)]
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
def _require_engine(user: User, name: str) -> None:
    with TemporaryDirectory(prefix="isosmoke-trial-") as directory:
        user.create_directories(Path(directory))
        done = subprocess.run(
            [*user.prefix, user.python, "-c", _PREFLIGHT, name],
            env=user.environment(Path(directory)),
            capture_output=True,
            text=True,
            check=True,
        )
    if done.stdout:
        skip_engine(name, f"for {user.name}: {done.stdout.strip()}")


def current_user() -> User:
    """Return the user who runs the tests."""
    return User("me", (), sys.executable, os.getuid(), os.getgid(), tuple(DAEMON_VARIABLES.items()))


@cache
def ordinary_user() -> User:
    """Return an ordinary user with access to Docker, or skip unless the tests run as root."""
    if os.getuid() != 0:
        pytest.skip("the tests run as an ordinary user already")
    groups = str(_DOCKER.stat().st_gid) if _DOCKER.exists() else ""
    choice = ("--groups", groups) if groups else ("--clear-groups",)
    prefix = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", *choice, "env")
    return User("ordinary", prefix, find_python(prefix), _NOBODY, _NOBODY)


def find_python(prefix: tuple[str, ...]) -> str:
    """Return a Python that can run isosmoke as the user of `prefix`, or skip the test."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        if _can_run(prefix, python):
            return python
    pytest.skip("an ordinary user can run no Python here that has isosmoke's libraries")


def _can_run(prefix: tuple[str, ...], python: str) -> bool:
    """Return whether this Python can be started and has compatible compiled libraries."""
    command = [
        *prefix,
        python,
        "-c",
        "import isosmoke.cli.scenarios.run, isosmoke.engines.docker.engine",
    ]
    environment = {"PATH": PATH, "PYTHONPATH": _python_path(), "HOME": "/"}
    try:
        result = subprocess.run(command, env=environment, cwd="/", capture_output=True, check=False)
    except OSError:
        return False
    return result.returncode == 0


USERS: Mapping[str, Callable[[], User]] = {"me": current_user, "ordinary": ordinary_user}


def snapshot(directory: Path) -> dict[str, bytes]:
    """Return the kind, mode and owner of every path below `directory`, with each file's content."""
    return {str(path.relative_to(directory)): _describe(path) for path in directory.rglob("*")}


def _describe(path: Path) -> bytes:
    status = path.lstat()
    head = f"{status.st_mode:o} {status.st_uid} ".encode()
    return head + (path.read_bytes() if stat.S_ISREG(status.st_mode) else b"")
