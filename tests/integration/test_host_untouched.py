"""A run leaves nothing on the host, however it ends, and changes nothing that was there.

Everything of a run is known by something that nobody else has: its folders, which its command lines
and mounts name, its lease, or that it descends from this process.
"""

import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import gettempdir, mkdtemp

import pytest

from isosmoke.engines.bubblewrap import cgroup
from isosmoke.engines.docker import endpoint
from isosmoke.manifest import loader
from isosmoke.testing.bench import Witness
from support import available, docker_images
from support.paths import TESTS

CORPUS = TESTS / "corpus"

_FOOTPRINTS = [Path(folder, "isosmoke-footprint") for folder in ("/tmp", "/var/tmp", Path.home())]  # noqa: S108
_SUBREAPER = 36


@pytest.fixture(autouse=True)
def _orphans_come_here() -> Iterator[None]:
    """What loses its parent becomes this process's child, so nothing of a run can get lost."""
    libc = ctypes.CDLL(None)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(_SUBREAPER, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder in which one user works: a project with a live `.wg`, and what isosmoke keeps."""

    folder: Path
    user: available.User

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def neighbour(self) -> Path:
        return self.folder / "neighbour"

    @property
    def own(self) -> Path:
        return self.folder / "own"

    def start(self, *words: str, working: Path) -> "subprocess.Popen[str]":
        """An isosmoke beside the test; the words before it exec, so the pid is its own."""
        return self.start_command(self.user.command(*words), working)

    def start_command(self, command: list[str], working: Path) -> "subprocess.Popen[str]":
        """Any command of this user's beside the test."""
        return subprocess.Popen(
            command,
            cwd=working,
            env=self.user.environment(self.own),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def files(self) -> dict[str, bytes]:
        """All that is here but what isosmoke keeps on purpose: state and the records of runs."""
        kept = ("own/state/", "own/home/.cache/")
        return {
            name: one
            for name, one in available.listing(self.folder).items()
            if ".isosmoke" not in name and not name.startswith(kept)
        }


@pytest.fixture(params=available.USERS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A project of each user's own."""
    user = available.USERS[request.param]()
    folder = Path(mkdtemp(prefix="isosmoke-host-"))
    made = Place(folder, user)
    user.settle_in(folder)
    user.settle_in(made.own)
    shutil.copytree(CORPUS, made.project)
    (made.project / ".wg" / "service").mkdir(parents=True)
    (made.project / ".wg" / "graph.jsonl").write_text('{"id": "live"}\n')
    (made.project / ".wg" / "service" / "state.json").write_text('{"pid": 1}\n')
    user.take_over(made.project)
    yield made
    shutil.rmtree(folder)


@contextmanager
def _service(folder: Path) -> Iterator[socket.socket]:
    """A live service that nobody must reach; accepting never waits."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "daemon.sock"))
        (folder / "daemon.sock").chmod(0o777)
        server.listen()
        server.settimeout(0)
        yield server


def _processes_of(folder: Path, besides: int = 0) -> list[str]:
    """The living whose command line, environment or mounts name `folder`, and all orphans.

    A sandbox of Docker descends from the daemon, but its mounts name the folder.
    """
    spared = {str(os.getpid()), str(besides)}
    found = (one for one in Path("/proc").iterdir() if one.name.isdecimal())
    return [_words(one) for one in found if one.name not in spared and _is_of(one, str(folder))]


def _any_sleeps(folder: Path) -> bool:
    return any("sleep" in one for one in _processes_of(folder))


def _is_of(process: Path, folder: str) -> bool:
    try:
        status = (process / "stat").read_text().rpartition(")")[2].split()
        if status[0] == "Z":
            return False
        return int(status[1]) == os.getpid() or _names(process, folder)
    except OSError:
        return False


def _names(process: Path, folder: str) -> bool:
    texts = (_text(process / name) for name in ("cmdline", "mountinfo", "environ"))
    return any(folder in text for text in texts)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _words(process: Path) -> str:
    return f"{process.name}: {_text(process / 'cmdline') or _text(process / 'comm')}"


_DAEMONS = ("/var/lib/docker/", "/run/docker/", "/var/lib/containers/", "/run/containers/")
_TEMPORARY = (f"{gettempdir()}/", "/tmp/", "/var/tmp/")  # noqa: S108


def _mounts() -> set[str]:
    """Return the host's mount points, without those that come and go with the work of others.

    These are a daemon's, for anybody's containers, and those in directories for temporary files:
    other tests run beside this one. A mount of this run's own is found by `_mounted_from`.
    """
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split()[4] for line in lines)
    return {one for one in points if not one.startswith((*_DAEMONS, *_TEMPORARY))}


def _mounted_from(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(folder) in line]


def _listeners() -> set[str]:
    """Addresses of the host as a leak's `listens` would name them, for TCP on loopback and unix."""
    tcp = Path("/proc/net/tcp").read_text().splitlines()[1:]
    unix = Path("/proc/net/unix").read_text().splitlines()[1:]
    ports = (line.split()[1].split(":")[1] for line in tcp if line.split()[3] == "0A")
    names = (line.split()[7] for line in unix if len(line.split()) > 7)
    return {f"tcp 127.0.0.1:{int(port, 16)}" for port in ports} | {f"unix {one}" for one in names}


def _of_lease(name: str, pid: int) -> list[str]:
    """What of a daemon carries the lease of a process; other engines have nothing."""
    if name not in ENDPOINTS:
        return []
    host = ENDPOINTS[name](endpoint.Place.here()).url
    by_label = ("--filter", "label=isosmoke.lease", "--format")
    line = '{{.Label "isosmoke.lease"}} {{.Name}}'
    containers = _docker(
        host, "ps", "--all", *by_label, '{{.Label "isosmoke.lease"}} {{.Names}} {{.State}}'
    )
    volumes = _docker(host, "volume", "ls", *by_label, line)
    networks = _docker(host, "network", "ls", *by_label, line)
    return [one for one in (*containers, *volumes, *networks) if f".{pid}." in one]


ENDPOINTS = {"docker": endpoint.docker, "podman": endpoint.podman}


def _docker(host: str, *words: str) -> list[str]:
    command = ["docker", "--host", host, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _groups_of(pid: int) -> list[Path]:
    parents = set(cgroup.parents().values())
    return [one for parent in parents for one in parent.glob(f"isosmoke-*.{pid}.*")]


def _scratch(place: Place) -> list[Path]:
    folder = place.own / "state" / "scratch"
    return list(folder.iterdir()) if folder.exists() else []


def _nothing_is_left(name: str, place: Place, pid: int) -> None:
    assert available.eventually(lambda: not _processes_of(place.folder)), _processes_of(
        place.folder
    )
    assert _mounted_from(place.folder) == []
    assert _of_lease(name, pid) == []
    assert _groups_of(pid) == []
    assert _scratch(place) == []


BAD = [
    one.name
    for one in loader.load(CORPUS / "manifest.toml").scenarios
    if {"comes-out-LEAK", "comes-out-TIMEOUT", "comes-out-FAIL"} & set(one.tags)
    or one.name in ("kills_all_it_sees", "knocks_at_a_live_service", "writes_into_its_workspace")
]


@pytest.mark.parametrize("name", available.NAMES)
def test_bad_scenarios_leave_the_host_as_it_was(name: str, place: Place) -> None:
    """No process, container, mount, file or listener more, and the live `.wg` is byte-identical."""
    place.user.must_have(name)
    words = ("run", "--manifest", "manifest.toml", "--engine", name, "--jobs", "1", "--json", *BAD)
    with _service(place.project / ".wg" / "service") as service:
        place.user.take_over(place.project)
        files, mounts = place.files(), _mounts()
        with place.start(*words, working=place.project) as process:
            told, complaints = process.communicate(timeout=300)
        assert process.returncode == 1, complaints
        _nothing_is_left(name, place, process.pid)
        assert place.files() == files
        assert _mounts() == mounts
        with pytest.raises(BlockingIOError):
            service.accept()
    assert not [one for one in _FOOTPRINTS if one.exists()]
    leaked = [one for scenario in json.loads(told)["scenarios"] for one in scenario["leaks"]]
    # A path says nothing: others may have a sandbox with a socket of the same name.
    listened = {address for one in leaked for address in one["listens"] if " /" not in address}
    assert len(listened) >= 2
    assert not listened & _listeners()


ELSEWHERE = ("unshare", "--pid", "--fork", "--mount-proc")

CONNECT, TELL = "exec 3<>/dev/tcp/127.0.0.1/$PORT", "echo up >&3"

SCRIPTS = {
    "waits": f"{CONNECT}; {TELL}; read -r word <&3; test $word = enough",
    "leaks_and_waits": f"{CONNECT}; setsid sleep 600 & echo x >footprint; {TELL}; sleep 600",
    "settles": (
        "mkfifo /tmp/over; "
        f"{{ read -r _ </tmp/over; {CONNECT}; {TELL}; sleep 600; }} >/dev/null 2>&1 & "
        "exec 5>/tmp/over"
    ),
}


def _write_meeting(project: Path, witness: Witness) -> None:
    project.mkdir(exist_ok=True)
    text = f"[defaults]\nsettle_seconds = 120\nenv.PORT = '{witness.port}'\n"
    text += "limits = { processes = 60, memory = '256M' }\n"
    for one, script in SCRIPTS.items():
        (project / f"{one}.sh").write_text(script)
        text += f"[[scenario]]\nname = '{one}'\nscript = '{one}.sh'\n"
    (project / "meeting.toml").write_text(text)


@pytest.fixture
def witness(place: Place) -> Iterator[Witness]:
    """A meeting point of sandboxes with this test, in the project and in its neighbour."""
    with Witness() as made:
        for project in (place.project, place.neighbour):
            _write_meeting(project, made)
            place.user.take_over(project)
        yield made


@contextmanager
def _going(place: Place, *words: str, working: Path) -> Iterator["subprocess.Popen[str]"]:
    """A run beside the test that does not outlive it."""
    with place.start("run", "--manifest", "meeting.toml", *words, working=working) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("moment", ["leaks_and_waits", "settles"])
@pytest.mark.parametrize("name", available.NAMES)
def test_killed_run_takes_all_with_it(
    name: str, moment: str, place: Place, witness: Witness
) -> None:
    """After `kill -9` its processes end by themselves; a sweep removes the rest, and no more."""
    place.user.must_have(name)
    files = place.files()
    with _going(place, "--engine", name, "waits", working=place.neighbour) as live:
        neighbour = witness.met()
        with _going(place, "--engine", name, moment, working=place.project) as doomed:
            line = witness.met()
            assert available.eventually(lambda: _any_sleeps(place.project))
        assert line.breaks()
        assert available.eventually(lambda: not _processes_of(place.project, besides=live.pid))
        swept = place.user.run("sweep", folder=place.own, working=place.folder)
        assert swept.returncode == 0, swept.stderr
        assert not [one for one in _scratch(place) if f".{doomed.pid}." in one.name], swept.stdout
        assert _of_lease(name, doomed.pid) == []
        assert _groups_of(doomed.pid) == []
        neighbour.say("enough")
        assert live.wait(60) == 0, live.communicate()
    _nothing_is_left(name, place, live.pid)
    assert place.files() == files


DYING = """
import os, signal, sys
import httpx, isosmoke.cli.scenarios.run
import isosmoke.engines.bubblewrap.engine, isosmoke.engines.docker.engine
at, acts = int(sys.argv.pop(1)), 0
ACTING = ("os.", "shutil.", "socket.", "subprocess.", "tempfile.", "fcntl.", "open")
def count(event, _):
    global acts
    acts += event.startswith(ACTING)
    if acts == at:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
try:
    isosmoke.cli.cli()
finally:
    print("acts", acts)
"""
"""An isosmoke that is killed right before the n-th thing that it does to the world (sys audit)."""

MOMENTS = 10


def _write_quick(project: Path, keys: str = "") -> None:
    (project / "leaks.sh").write_text("echo x >footprint; setsid sleep 600 &")
    (project / "passes.sh").write_text(":")
    scenarios = (f"[[scenario]]\nname = '{one}'\nscript = '{one}.sh'\n{keys}" for one in QUICK)
    settings = "[defaults]\nsettle_seconds = 0.1\nlimits = { processes = 60, memory = '256M' }\n"
    (project / "quick.toml").write_text(settings + "".join(scenarios))


QUICK = ("leaks", "passes")


@pytest.mark.parametrize("name", available.NAMES)
def test_run_may_be_killed_at_any_moment(name: str, place: Place, witness: Witness) -> None:
    """Killed at moments drawn by lot, nothing of it lives; the next start sweeps, and only that."""
    place.user.must_have(name)
    _write_quick(place.project)
    place.user.take_over(place.project)
    with _going(place, "--engine", name, "waits", working=place.neighbour) as live:
        neighbour = witness.met()
        acts = _acts(name, place)
        lot = random.Random(f"{name} {place.user.name}")  # noqa: S311 - the same in every run
        moments = sorted(lot.sample(range(1, acts), MOMENTS))
        killed = [pid for at in moments for pid in _killed(at, name, place, besides=live.pid)]
        assert len(killed) >= MOMENTS - 1, "a run may do a few things less than the one before"
        _acts(name, place)
        assert not [one for pid in killed for one in (*_of_lease(name, pid), *_groups_of(pid))]
        assert {one.name.split(".")[1] for one in _scratch(place)} == {str(live.pid)}
        neighbour.say("enough")
        assert live.wait(60) == 0, live.communicate()
    _nothing_is_left(name, place, live.pid)


def test_services_die_with_a_run_that_is_killed_at_any_moment(place: Place, tmp_path: Path) -> None:
    """Their containers are no process of the run's, and end with it all the same."""
    for name in ("bubblewrap", "docker"):
        place.user.must_have(name)
    with docker_images.image(tmp_path) as image:
        _write_quick(place.project, f"services = [{{ name = 'db', image = '{image}' }}]\n")
        place.user.take_over(place.project)
        acts = _acts("bubblewrap", place)
        lot = random.Random(place.user.name)  # noqa: S311 - the same in every run
        moments = sorted(lot.sample(range(1, acts), MOMENTS // 2))
        killed = [pid for at in moments for pid in _killed(at, "bubblewrap", place, besides=0)]
        assert available.eventually(lambda: not [pid for pid in killed if _runs(pid)])
        _acts("bubblewrap", place)
    assert len(killed) >= len(moments) - 1
    assert not [one for pid in killed for one in _of_lease("docker", pid)]


def _runs(pid: int) -> list[str]:
    """The containers of a process that are alive."""
    return [one for one in _of_lease("docker", pid) if one.endswith(" running")]


def _dying(at: int, name: str, place: Place) -> "subprocess.Popen[str]":
    words = ("run", "--manifest", "quick.toml", "--engine", name, "--json", "--jobs", "2")
    command = [*place.user.prefix, place.user.python, "-c", DYING, str(at), *words]
    return place.start_command(command, place.project)


def _acts(name: str, place: Place) -> int:
    """How many things a run does that is not killed."""
    with _dying(0, name, place) as whole:
        told, complaints = whole.communicate(timeout=120)
    assert whole.returncode == 1, complaints
    return int(told.split()[-1])


def _killed(at: int, name: str, place: Place, *, besides: int) -> list[int]:
    """The pid of a run that was killed at a moment and left nobody alive; none if it was over."""
    with _dying(at, name, place) as doomed:
        doomed.communicate(timeout=120)
    alive = partial(_processes_of, place.project, besides=besides)
    assert available.eventually(lambda: not alive()), (at, alive())
    return [doomed.pid] if doomed.returncode == -signal.SIGKILL else []


@pytest.mark.parametrize("name", available.NAMES)
def test_sweep_in_another_pid_namespace_spares_the_living(
    name: str, place: Place, witness: Witness
) -> None:
    """In a container that shares state and daemon, the pids of a live run mean something else."""
    place.user.must_have(name)
    if os.getuid() != 0:
        pytest.skip("only root can make a PID namespace and keep its own name")
    apart = replace(place.user, prefix=(*ELSEWHERE, *place.user.prefix))
    with _going(place, "--engine", name, "waits", working=place.neighbour) as live:
        line = witness.met()
        swept = apart.run("sweep", folder=place.own, working=place.folder)
        assert swept.returncode == 0, swept.stderr
        line.say("enough")
        assert live.wait(60) == 0, live.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", available.NAMES)
def test_interrupted_run_cleans_up_itself(
    name: str, number: signal.Signals, place: Place, witness: Witness
) -> None:
    """After one signal nothing is left to be swept; the exit code names the signal."""
    place.user.must_have(name)
    files = place.files()
    with _going(place, "--engine", name, "leaks_and_waits", working=place.project) as process:
        line = witness.met()
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert line.breaks()
    _nothing_is_left(name, place, process.pid)
    assert place.files() == files


def _git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@isosmoke.invalid")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("name", available.NAMES)
def test_git_works_in_a_worktree_and_changes_nothing(name: str, place: Place) -> None:
    """A commit from a worktree succeeds in the sandbox; worktree and repository stay."""
    place.user.must_have(name)
    repository, tree = place.folder / "repository", place.folder / "tree"
    repository.mkdir()
    _git(repository, "init", "--quiet")
    _git(repository, "commit", "--quiet", "--allow-empty", "--message", "the first")
    _git(repository, "worktree", "add", "--quiet", str(tree))
    place.user.take_over(repository)
    place.user.take_over(tree)
    files = place.files()
    line = "set -e; echo one >file; git add .; git commit -qm second; git rev-list --count HEAD"
    words = ("run", "--engine", name, "--", "bash", "-c", line)
    done = place.user.run(*words, folder=place.own, working=tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2" in done.stdout.splitlines()
    assert place.files() == files
