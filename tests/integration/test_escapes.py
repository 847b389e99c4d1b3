"""No try to get out of a sandbox gets through, on any engine, for any user."""

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
TRIES = {one.name: one.tags for one in loader.load(ESCAPES / "manifest.toml").scenarios}

IN_NAMESPACES = ("changes_a_kernel_setting", "writes_to_control_groups")
"""Those with many ways to what they attack, all of which lead there on the host."""

_CREDENTIALS = (".ssh/id_ed25519", ".aws/credentials", ".netrc", ".config/gh/hosts.yml")
_SHARED_KEY = 0x150504
_ADD_KEY = {"x86_64": 248, "aarch64": 217}[platform.machine()]
_SESSION_KEYRING = -3
_REMOVE = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A project with something to steal around it, and the user who works there."""

    folder: Path
    user: available.User
    victim: int
    namespaces: str = "can-be-made"
    """Else "may-be-refused": before a script tries anything in them."""

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def own(self) -> Path:
        return self.folder / "own"

    def environment(self) -> Mapping[str, str]:
        """What scripts need to know to try, and one credential that no manifest names."""
        return {
            **self.user.environment(self.own),
            "VICTIM_PID": str(self.victim),
            "VICTIM_NAME": f"{self.folder}/victim",
            "RUNNERS_STATE": str(self.own / "state"),
            "SHARED_KEY": str(_SHARED_KEY),
            "NAMESPACES": self.namespaces,
            "UNNAMED_TOKEN": "secret",
        }

    def at_a_terminal(self, command: list[str]) -> int:
        """Run a command in the project, with a controlling terminal; its exit code."""
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
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Each user's own project, with a live service, shared memory, a key and a process to find."""
    if shutil.which("script") is None:
        pytest.skip("there is no script(1) to give a terminal")
    user = available.USERS[request.param]()
    folder = Path(mkdtemp(prefix="isosmoke-escape-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        stack.callback(_remove_footprints)
        made = Place(folder, user, stack.enter_context(_victim(user, folder)))
        _furnish(made)
        stack.enter_context(_service(made.project / ".wg/service"))
        stack.enter_context(_shared_memory())
        _add_key()
        for one in (made.project, made.own):
            user.take_over(one)
        yield made


def _remove_footprints() -> None:
    """Remove what a try made in the host's control groups and was kept from removing."""
    for one in Path("/sys/fs/cgroup").glob("**/isosmoke-footprint"):
        one.rmdir()


def _furnish(place: Place) -> None:
    place.user.settle_in(place.folder)
    place.user.settle_in(place.own)
    shutil.copytree(ESCAPES, place.project)
    (place.project / ".wg/service").mkdir(parents=True)
    (place.project / ".isosmoke/runs/1").mkdir(parents=True)
    (place.own / "state/kept").mkdir()
    for name in _CREDENTIALS:
        file = place.own / "home" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("secret")


@contextmanager
def _victim(user: available.User, folder: Path) -> Iterator[int]:
    """A process of this user whose command line names the folder."""
    words = [*user.prefix, "bash", "-c", f"exec -a {folder}/victim sleep 600"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        try:
            assert available.eventually(lambda: _is_victim(process.pid, folder))
            yield process.pid
        finally:
            process.send_signal(signal.SIGKILL)


def _is_victim(pid: int, folder: Path) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(f"{folder}/victim".encode())


@contextmanager
def _service(folder: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "daemon.sock"))
        (folder / "daemon.sock").chmod(0o777)
        server.listen()
        yield


@contextmanager
def _shared_memory() -> Iterator[None]:
    libc = ctypes.CDLL(None)
    number = libc.shmget(_SHARED_KEY, 4096, 0o1666)
    assert number >= 0
    yield
    libc.shmctl(number, _REMOVE, None)


def _add_key() -> None:
    """To the session keyring, which children inherit."""
    add = ctypes.CDLL(None).syscall
    assert add(_ADD_KEY, b"user", b"isosmoke-test", b"secret", 6, _SESSION_KEYRING) > 0


def _all_are_refused(name: str, place: Place) -> None:
    """Assert that every script is refused what it tries, and that it got as far as to try it."""
    place.user.must_have(name)
    words = ("run", "--manifest", "manifest.toml", "--engine", name, "--json")
    code = place.at_a_terminal(place.user.command(*words))
    told = json.loads((place.own / "out").read_text() or "{}")
    assert told, (place.own / "err").read_text()
    came_out = {one["name"]: (one["outcome"], one["reason"]) for one in told["scenarios"]}
    assert came_out == dict.fromkeys(TRIES, ("PASS", ""))
    for one in TRIES:
        printed = Path(told["record"], one, "output-1.log").read_text()
        assert "refused: " in printed, f"{one} did not try anything: {printed}"
        assert "unreached: " not in printed
    assert code == 0


@pytest.mark.parametrize("name", available.NAMES)
def test_no_try_gets_through(name: str, place: Place) -> None:
    """Every script is refused what it tries, and is none the worse for it."""
    allowed = place.user.uid and name == "bubblewrap"
    namespaces = "can-be-made" if allowed else "may-be-refused"
    _all_are_refused(name, replace(place, namespaces=namespaces))


def test_no_try_gets_through_with_new_namespaces(place: Place) -> None:
    """Where root may make namespaces, every script reaches what it attacks in them in vain."""
    manifest_file = place.project / "manifest.toml"
    text = manifest_file.read_text()
    manifest_file.write_text(text.replace("[defaults]", "[defaults]\nnew_namespaces = true", 1))
    _all_are_refused("bubblewrap", place)


@pytest.fixture
def delegated(place: Place) -> Iterator[Place]:
    """An ordinary user's place in control groups that this user owns, as systemd delegates them."""
    parents = [one.parent for one in Path("/sys/fs/cgroup").glob("**/cgroup.procs") if _is_top(one)]
    groups = [one / f"delegated-{os.getpid()}" for one in parents if os.access(one, os.W_OK)]
    if not groups or not place.user.uid:
        pytest.skip("it takes root to delegate control groups to an ordinary user")
    with ExitStack() as stack:
        for group in groups:
            group.mkdir()
            stack.callback(_removed, group)
            _give(group, place.user)
        line = 'for one in $GROUPS_OF_MINE; do echo $$ >$one/cgroup.procs; done; exec "$@"'
        line = line.replace("$GROUPS_OF_MINE", shlex.join(map(str, groups)))
        user = replace(place.user, prefix=("sh", "-ec", line, "-", *place.user.prefix))
        yield replace(place, user=user)


def _is_top(file: Path) -> bool:
    """Whether it is in the root folder of a hierarchy in which a process can be put anywhere."""
    return file.parent.is_mount() and file.parent.name != "cpuset"


def _give(group: Path, user: available.User) -> None:
    for one in (group, *group.iterdir()):
        os.chown(one, user.uid, user.gid)


def _removed(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        assert available.eventually(partial(_is_removed, Path(folder)))


def _is_removed(folder: Path) -> bool:
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def test_no_try_gets_through_where_control_groups_are_the_users_own(delegated: Place) -> None:
    """A user who owns control groups cannot write to them from a sandbox."""
    _all_are_refused("bubblewrap", delegated)


def test_an_owner_of_control_groups_writes_to_them_on_the_host(delegated: Place) -> None:
    """The same script under plain bash gets through in every hierarchy, so it is a real try."""
    code = delegated.at_a_terminal([*delegated.user.prefix, "bash", "writes_to_control_groups.sh"])
    assert code == 1, (delegated.own / "err").read_text()
    assert "escaped: " in (delegated.own / "err").read_text()


@pytest.mark.parametrize("script", [one for one, tags in TRIES.items() if tags])
def test_the_same_try_gets_through_on_the_host(script: str, place: Place) -> None:
    """Under plain bash the script gets what it is refused in a sandbox, so it is a real try."""
    if "root-on-the-host" in TRIES[script] and place.user.uid != 0:
        pytest.skip("only root gets through on the host")
    if script == "knocks_at_a_container_engine":
        place.user.must_have("docker")
    code = place.at_a_terminal([*place.user.prefix, "bash", f"{script}.sh"])
    said = (place.own / "err").read_text()
    assert code == 1
    assert said.startswith("escaped: ")
    if script in IN_NAMESPACES:
        assert "refused: " not in (place.own / "out").read_text()
    assert not os.path.lexists("/usr/isosmoke-footprint")
