"""No attempt to escape from a sandbox succeeds, on any engine, for any user."""

import ctypes
import json
import os
import platform
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import pytest

from isosmoke.manifest import loader
from support import available
from support.paths import TESTS

ESCAPES = TESTS / "escapes"
ATTEMPTS = {
    scenario.name: scenario.tags for scenario in loader.load(ESCAPES / "manifest.toml").scenarios
}

IN_NAMESPACES = ("changes_a_kernel_setting", "writes_to_control_groups")
"""The scripts that try several ways to one target, all of which succeed on the host."""

_CREDENTIALS = (".ssh/id_ed25519", ".aws/credentials", ".netrc", ".config/gh/hosts.yml")
_SHARED_KEY = 0x150504
_ADD_KEY = {"x86_64": 248, "aarch64": 217}[platform.machine()]
_SESSION_KEYRING = -3
_REMOVE = 0


@dataclass(frozen=True, slots=True)
class Site:
    """A project with secrets around it, and the user who works there."""

    folder: Path
    user: available.User
    victim: int
    namespaces: str = "can-be-made"
    """Or "may-be-refused", if the system may refuse new namespaces to the scripts."""

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def own(self) -> Path:
        return self.folder / "own"

    def environment(self) -> Mapping[str, str]:
        """Return the variables that scripts need, and one credential that no manifest names."""
        return {
            **self.user.environment(self.own),
            "VICTIM_PID": str(self.victim),
            "VICTIM_NAME": f"{self.folder}/victim",
            "RUNNERS_STATE": str(self.own / "state"),
            "SHARED_KEY": str(_SHARED_KEY),
            "NAMESPACES": self.namespaces,
            "UNNAMED_TOKEN": "secret",
        }

    def run_at_terminal(self, command: list[str]) -> int:
        """Run a command in the project, with a controlling terminal, and return its exit code."""
        line = f"{shlex.join(command)} >{self.own}/out 2>{self.own}/err"
        return subprocess.run(
            ["script", "--quiet", "--return", "--command", line, "/dev/null"],
            cwd=self.project,
            env={**self.environment(), "SHELL": "/bin/sh"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=300,
            check=False,
        ).returncode


@pytest.fixture(params=available.USERS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Set up each user's project, with a live service, shared memory, a key and a victim."""
    if shutil.which("script") is None:
        pytest.skip("script(1), which provides a terminal, is not installed")
    user = available.USERS[request.param]()
    directory = Path(mkdtemp(prefix="isosmoke-escape-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        stack.callback(_remove_footprints)
        site = Site(directory, user, stack.enter_context(_running_victim(user, directory)))
        _populate(site)
        stack.enter_context(_listening_service(site.project / ".wg/service"))
        stack.enter_context(_existing_shared_memory())
        _add_key()
        for path in (site.project, site.own):
            user.give_ownership(path)
        yield site


def _remove_footprints() -> None:
    """Remove control groups that an attempt created on the host and could not remove."""
    for group in Path("/sys/fs/cgroup").glob("**/isosmoke-footprint"):
        group.rmdir()


def _populate(site: Site) -> None:
    site.user.create_directories(site.folder)
    site.user.create_directories(site.own)
    shutil.copytree(ESCAPES, site.project)
    (site.project / ".wg/service").mkdir(parents=True)
    (site.project / ".isosmoke/runs/1").mkdir(parents=True)
    (site.own / "state/kept").mkdir()
    for name in _CREDENTIALS:
        file = site.own / "home" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("secret")


@contextmanager
def _running_victim(user: available.User, directory: Path) -> Iterator[int]:
    """Run a process of this user whose command line names the directory."""
    arguments = [*user.prefix, "bash", "-c", f"exec -a {directory}/victim sleep 600"]
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL) as process:
        try:
            assert available.wait_for(lambda: _is_victim(process.pid, directory))
            yield process.pid
        finally:
            process.send_signal(signal.SIGKILL)


def _is_victim(pid: int, directory: Path) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(f"{directory}/victim".encode())


@contextmanager
def _listening_service(directory: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "daemon.sock"))
        (directory / "daemon.sock").chmod(0o777)
        server.listen()
        yield


@contextmanager
def _existing_shared_memory() -> Iterator[None]:
    libc = ctypes.CDLL(None)
    number = libc.shmget(_SHARED_KEY, 4096, 0o1666)
    assert number >= 0
    yield
    libc.shmctl(number, _REMOVE, None)


def _add_key() -> None:
    """Add a key to the session keyring, which children inherit."""
    add = ctypes.CDLL(None).syscall
    assert add(_ADD_KEY, b"user", b"isosmoke-test", b"secret", 6, _SESSION_KEYRING) > 0


def _check_all_are_refused(name: str, site: Site) -> None:
    """Assert that every script reached its target and was refused."""
    site.user.require_engine(name)
    arguments = ("run", "--manifest", "manifest.toml", "--engine", name, "--json")
    code = site.run_at_terminal(site.user.command(*arguments))
    record = json.loads((site.own / "out").read_text() or "{}")
    assert record, (site.own / "err").read_text()
    outcomes = {
        scenario["name"]: (scenario["outcome"], scenario["reason"])
        for scenario in record["scenarios"]
    }
    assert outcomes == dict.fromkeys(ATTEMPTS, ("PASS", ""))
    for attempt in ATTEMPTS:
        printed = Path(record["record"], attempt, "output-1.log").read_text()
        assert "refused: " in printed, f"{attempt} did not reach its target: {printed}"
        assert "unreached: " not in printed
    assert code == 0


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_no_attempt_succeeds(name: str, site: Site) -> None:
    """Every script is refused, and its sandbox keeps working."""
    is_allowed = site.user.uid and name == "bubblewrap"
    namespaces = "can-be-made" if is_allowed else "may-be-refused"
    _check_all_are_refused(name, replace(site, namespaces=namespaces))


def test_no_attempt_succeeds_with_new_namespaces(site: Site) -> None:
    """Scripts that may create namespaces reach their targets in them, but are refused."""
    manifest_file = site.project / "manifest.toml"
    text = manifest_file.read_text()
    manifest_file.write_text(text.replace("[defaults]", "[defaults]\nnew_namespaces = true", 1))
    _check_all_are_refused("bubblewrap", site)


@pytest.fixture
def delegated_site(site: Site) -> Iterator[Site]:
    """Put an ordinary user in control groups that this user owns, as systemd delegates them."""
    parents = [
        path.parent for path in Path("/sys/fs/cgroup").glob("**/cgroup.procs") if _is_top(path)
    ]
    groups = [
        parent / f"delegated-{os.getpid()}" for parent in parents if os.access(parent, os.W_OK)
    ]
    if not groups or not site.user.uid:
        pytest.skip("only root can delegate control groups to an ordinary user")
    with ExitStack() as stack:
        for group in groups:
            group.mkdir()
            stack.callback(_remove_tree, group)
            _give_ownership(group, site.user)
        line = 'for group in $OWN_GROUPS; do echo $$ >$group/cgroup.procs; done; exec "$@"'
        line = line.replace("$OWN_GROUPS", shlex.join(map(str, groups)))
        user = replace(site.user, prefix=("sh", "-ec", line, "-", *site.user.prefix))
        yield replace(site, user=user)


def _is_top(file: Path) -> bool:
    """Return whether the file is at the root of a hierarchy that accepts any process."""
    return file.parent.is_mount() and file.parent.name != "cpuset"


def _give_ownership(group: Path, user: available.User) -> None:
    for path in (group, *group.iterdir()):
        os.chown(path, user.uid, user.gid)


def _remove_tree(group: Path) -> None:
    for directory, _, _ in os.walk(group, topdown=False):
        assert available.wait_for(partial(_remove, Path(directory)))


def _remove(directory: Path) -> bool:
    with suppress(OSError):
        directory.rmdir()
    return not directory.exists()


def test_no_attempt_succeeds_with_delegated_control_groups(delegated_site: Site) -> None:
    """A user who owns control groups cannot write to them from a sandbox."""
    _check_all_are_refused("bubblewrap", delegated_site)


def test_owner_writes_to_control_groups_on_host(delegated_site: Site) -> None:
    """The same script succeeds under plain bash in every hierarchy, so it is a real attempt."""
    code = delegated_site.run_at_terminal(
        [*delegated_site.user.prefix, "bash", "writes_to_control_groups.sh"]
    )
    assert code == 1, (delegated_site.own / "err").read_text()
    assert "escaped: " in (delegated_site.own / "err").read_text()


@pytest.mark.parametrize("script", [name for name, tags in ATTEMPTS.items() if tags])
def test_same_attempt_succeeds_on_host(script: str, site: Site) -> None:
    """A script that is refused in a sandbox succeeds under plain bash, so it is a real attempt."""
    if "root-on-host" in ATTEMPTS[script] and site.user.uid != 0:
        pytest.skip("only root succeeds on the host")
    if script == "knocks_at_a_container_engine":
        site.user.require_engine("docker")
    code = site.run_at_terminal([*site.user.prefix, "bash", f"{script}.sh"])
    errors = (site.own / "err").read_text()
    assert code == 1
    assert errors.startswith("escaped: ")
    if script in IN_NAMESPACES:
        assert "refused: " not in (site.own / "out").read_text()
    assert not os.path.lexists("/usr/isosmoke-footprint")
