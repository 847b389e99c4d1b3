"""A run leaves nothing on the host, however it ends, and changes nothing that existed before.

All parts of a run are identified by something unique: its directories, which command lines and
mounts name, its lease, or its descent from this process.
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

from isosmoke.engines.bubblewrap import group_places
from isosmoke.engines.docker import endpoint
from isosmoke.manifest import loader
from isosmoke.testing.bench import Witness
from support import available, docker_images
from support.paths import TESTS

CORPUS = TESTS / "corpus"

_FOOTPRINTS = [Path(top, "isosmoke-footprint") for top in ("/tmp", "/var/tmp", Path.home())]  # noqa: S108
_SUBREAPER = 36


@pytest.fixture(autouse=True)
def _adopt_orphans() -> Iterator[None]:
    """Become the parent of all orphans, so that no process of a run is missed."""
    libc = ctypes.CDLL(None)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(_SUBREAPER, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Site:
    """A directory in which one user works: a project with a live `.wg`, and isosmoke's state."""

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

    def start(self, *arguments: str, working: Path) -> "subprocess.Popen[str]":
        """Start isosmoke; the prefix of the command execs, so the pid is isosmoke's."""
        return self.start_command(self.user.command(*arguments), working)

    def start_command(self, command: list[str], working: Path) -> "subprocess.Popen[str]":
        """Start any command of this user."""
        return subprocess.Popen(
            command,
            cwd=working,
            env=self.user.environment(self.own),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read_files(self) -> dict[str, bytes]:
        """Return all files here, except isosmoke's state and the records of runs."""
        excluded = ("own/state/", "own/home/.cache/")
        return {
            name: content
            for name, content in available.snapshot(self.folder).items()
            if ".isosmoke" not in name and not name.startswith(excluded)
        }


@pytest.fixture(params=available.USERS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Create a project of each user."""
    user = available.USERS[request.param]()
    directory = Path(mkdtemp(prefix="isosmoke-host-"))
    site = Site(directory, user)
    user.create_directories(directory)
    user.create_directories(site.own)
    shutil.copytree(CORPUS, site.project)
    (site.project / ".wg" / "service").mkdir(parents=True)
    (site.project / ".wg" / "graph.jsonl").write_text('{"id": "live"}\n')
    (site.project / ".wg" / "service" / "state.json").write_text('{"pid": 1}\n')
    user.give_ownership(site.project)
    yield site
    shutil.rmtree(directory)


@contextmanager
def _listening_service(directory: Path) -> Iterator[socket.socket]:
    """Run a live service that must not be reached; accept() never blocks."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "daemon.sock"))
        (directory / "daemon.sock").chmod(0o777)
        server.listen()
        server.settimeout(0)
        yield server


def _list_processes(directory: Path, except_pid: int = 0) -> list[str]:
    """Return living processes whose arguments, environment or mounts name `directory`, and orphans.

    A sandbox of Docker descends from the daemon, but its mounts name the directory.
    """
    ignored = {str(os.getpid()), str(except_pid)}
    processes = (process for process in Path("/proc").iterdir() if process.name.isdecimal())
    return [
        _describe(process)
        for process in processes
        if process.name not in ignored and _belongs_to(process, str(directory))
    ]


def _has_sleeping_process(directory: Path) -> bool:
    return any("sleep" in process for process in _list_processes(directory))


def _belongs_to(process: Path, directory: str) -> bool:
    try:
        status = (process / "stat").read_text().rpartition(")")[2].split()
        if status[0] == "Z":
            return False
        return int(status[1]) == os.getpid() or _mentions(process, directory)
    except OSError:
        return False


def _mentions(process: Path, directory: str) -> bool:
    texts = (_read_text(process / name) for name in ("cmdline", "mountinfo", "environ"))
    return any(directory in text for text in texts)


def _read_text(file: Path) -> str:
    try:
        return file.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _describe(process: Path) -> str:
    return f"{process.name}: {_read_text(process / 'cmdline') or _read_text(process / 'comm')}"


_DAEMONS = ("/var/lib/docker/", "/run/docker/", "/var/lib/containers/", "/run/containers/")
_TEMPORARY = (f"{gettempdir()}/", "/tmp/", "/var/tmp/")  # noqa: S108


def _list_mounts() -> set[str]:
    """Return the host's mount points, except those that concurrent work may change.

    These belong to daemons, for any user's containers, or are in directories for temporary files,
    because other tests run concurrently. `_find_mounts` finds the mounts of this run.
    """
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split()[4] for line in lines)
    return {point for point in points if not point.startswith((*_DAEMONS, *_TEMPORARY))}


def _find_mounts(directory: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(directory) in line]


def _list_listeners() -> set[str]:
    """Return the host's listening addresses, as `listens` of a leak would name them."""
    tcp = Path("/proc/net/tcp").read_text().splitlines()[1:]
    unix = Path("/proc/net/unix").read_text().splitlines()[1:]
    ports = (line.split()[1].split(":")[1] for line in tcp if line.split()[3] == "0A")
    names = (line.split()[7] for line in unix if len(line.split()) > 7)
    return {f"tcp 127.0.0.1:{int(port, 16)}" for port in ports} | {f"unix {name}" for name in names}


def _find_leased(name: str, pid: int) -> list[str]:
    """Return a daemon's objects with the lease of a process; none for other engines."""
    if name not in ENDPOINTS:
        return []
    host = ENDPOINTS[name](endpoint.CallerEnvironment.current()).url
    by_label = ("--filter", "label=isosmoke.lease", "--format")
    template = '{{.Label "isosmoke.lease"}} {{.Name}}'
    containers = _run_docker(
        host, "ps", "--all", *by_label, '{{.Label "isosmoke.lease"}} {{.Names}} {{.State}}'
    )
    volumes = _run_docker(host, "volume", "ls", *by_label, template)
    networks = _run_docker(host, "network", "ls", *by_label, template)
    return [line for line in (*containers, *volumes, *networks) if f".{pid}." in line]


ENDPOINTS = {"docker": endpoint.find_docker, "podman": endpoint.find_podman}


def _run_docker(host: str, *arguments: str) -> list[str]:
    command = ["docker", "--host", host, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def _find_groups(pid: int) -> list[Path]:
    parents = set(group_places.find_parents().values())
    return [path for parent in parents for path in parent.glob(f"isosmoke-*.{pid}.*")]


def _list_scratch(site: Site) -> list[Path]:
    directory = site.own / "state" / "scratch"
    return list(directory.iterdir()) if directory.exists() else []


def _check_nothing_is_left(name: str, site: Site, pid: int) -> None:
    assert available.wait_for(lambda: not _list_processes(site.folder)), _list_processes(
        site.folder
    )
    assert _find_mounts(site.folder) == []
    assert _find_leased(name, pid) == []
    assert _find_groups(pid) == []
    assert _list_scratch(site) == []


BAD = [
    scenario.name
    for scenario in loader.load(CORPUS / "manifest.toml").scenarios
    if {"expected-LEAK", "expected-TIMEOUT", "expected-FAIL"} & set(scenario.tags)
    or scenario.name
    in ("kills_all_it_sees", "knocks_at_a_live_service", "writes_into_its_workspace")
]


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_bad_scenarios_leave_host_unchanged(name: str, site: Site) -> None:
    """No process, mount, file or listener remains, and the live `.wg` is byte-identical."""
    site.user.require_engine(name)
    arguments = (
        "run",
        "--manifest",
        "manifest.toml",
        "--engine",
        name,
        "--jobs",
        "1",
        "--json",
        *BAD,
    )
    with _listening_service(site.project / ".wg" / "service") as service:
        site.user.give_ownership(site.project)
        files, mounts = site.read_files(), _list_mounts()
        with site.start(*arguments, working=site.project) as process:
            output, errors = process.communicate(timeout=300)
        assert process.returncode == 1, errors
        _check_nothing_is_left(name, site, process.pid)
        assert site.read_files() == files
        assert _list_mounts() == mounts
        with pytest.raises(BlockingIOError):
            service.accept()
    assert not [path for path in _FOOTPRINTS if path.exists()]
    leaks = [leak for scenario in json.loads(output)["scenarios"] for leak in scenario["leaks"]]
    # A path proves nothing: a concurrent sandbox may have a socket of the same name.
    addresses = {address for leak in leaks for address in leak["listens"] if " /" not in address}
    assert len(addresses) >= 2
    assert not addresses & _list_listeners()


NEW_PID_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")

CONNECT, ANNOUNCE = "exec 3<>/dev/tcp/127.0.0.1/$PORT", "echo up >&3"

SCRIPTS = {
    "waits": f"{CONNECT}; {ANNOUNCE}; read -r word <&3; test $word = enough",
    "leaks_and_waits": f"{CONNECT}; setsid sleep 600 & echo x >footprint; {ANNOUNCE}; sleep 600",
    "settles": (
        "mkfifo /tmp/ended; "
        f"{{ read -r _ </tmp/ended; {CONNECT}; {ANNOUNCE}; sleep 600; }} >/dev/null 2>&1 & "
        "exec 5>/tmp/ended"
    ),
}


def _write_project(project: Path, witness: Witness) -> None:
    project.mkdir(exist_ok=True)
    text = f"[defaults]\nsettle_seconds = 120\nenv.PORT = '{witness.port}'\n"
    text += "limits = { processes = 60, memory = '256M' }\n"
    for name, script in SCRIPTS.items():
        (project / f"{name}.sh").write_text(script)
        text += f"[[scenario]]\nname = '{name}'\nscript = '{name}.sh'\n"
    (project / "meeting.toml").write_text(text)


@pytest.fixture
def witness(site: Site) -> Iterator[Witness]:
    """Yield a listener for scripts of the project and of its neighbour."""
    with Witness() as witness:
        for project in (site.project, site.neighbour):
            _write_project(project, witness)
            site.user.give_ownership(project)
        yield witness


@contextmanager
def _running(site: Site, *arguments: str, working: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run isosmoke during the block, and kill it afterwards."""
    with site.start("run", "--manifest", "meeting.toml", *arguments, working=working) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("moment", ["leaks_and_waits", "settles"])
@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_killed_run_leaves_no_process(name: str, moment: str, site: Site, witness: Witness) -> None:
    """After `kill -9` its processes end by themselves, and a sweep removes only its remains."""
    site.user.require_engine(name)
    files = site.read_files()
    with _running(site, "--engine", name, "waits", working=site.neighbour) as live:
        neighbour = witness.accept()
        with _running(site, "--engine", name, moment, working=site.project) as victim:
            connection = witness.accept()
            assert available.wait_for(lambda: _has_sleeping_process(site.project))
        assert connection.wait_closed()
        assert available.wait_for(lambda: not _list_processes(site.project, except_pid=live.pid))
        swept = site.user.run("sweep", folder=site.own, working=site.folder)
        assert swept.returncode == 0, swept.stderr
        assert not [path for path in _list_scratch(site) if f".{victim.pid}." in path.name], (
            swept.stdout
        )
        assert _find_leased(name, victim.pid) == []
        assert _find_groups(victim.pid) == []
        neighbour.send_line("enough")
        assert live.wait(60) == 0, live.communicate()
    _check_nothing_is_left(name, site, live.pid)
    assert site.read_files() == files


SELF_KILLING = """
import os, signal, sys
import httpx, isosmoke.cli.scenarios.run
import isosmoke.engines.bubblewrap.engine, isosmoke.engines.docker.engine
last, events = int(sys.argv.pop(1)), 0
EXTERNAL = ("os.", "shutil.", "socket.", "subprocess.", "tempfile.", "fcntl.", "open")
def count(event, _):
    global events
    events += event.startswith(EXTERNAL)
    if events == last:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
try:
    isosmoke.cli.cli()
finally:
    print("events", events)
"""
"""An isosmoke that is killed right before its n-th audit event with an external effect."""

MOMENTS = 10


def _write_quick(project: Path, keys: str = "") -> None:
    (project / "leaks.sh").write_text("echo x >footprint; setsid sleep 600 &")
    (project / "passes.sh").write_text(":")
    scenarios = (f"[[scenario]]\nname = '{name}'\nscript = '{name}.sh'\n{keys}" for name in QUICK)
    settings = "[defaults]\nsettle_seconds = 0.1\nlimits = { processes = 60, memory = '256M' }\n"
    (project / "quick.toml").write_text(settings + "".join(scenarios))


QUICK = ("leaks", "passes")


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_run_can_be_killed_at_any_moment(name: str, site: Site, witness: Witness) -> None:
    """A run that is killed at a random moment leaves no process; the next start sweeps."""
    site.user.require_engine(name)
    _write_quick(site.project)
    site.user.give_ownership(site.project)
    with _running(site, "--engine", name, "waits", working=site.neighbour) as live:
        neighbour = witness.accept()
        _count_events(name, site)  # the first run learns about this machine what later ones recall
        events = _count_events(name, site)
        generator = random.Random(f"{name} {site.user.name}")  # noqa: S311 - the same in every run
        moments = sorted(generator.sample(range(1, events), MOMENTS))
        killed = [pid for at in moments for pid in _kill_at(at, name, site, except_pid=live.pid)]
        assert len(killed) >= MOMENTS - 1, "a run may have a few events less than the previous one"
        _count_events(name, site)
        assert not [
            remains for pid in killed for remains in (*_find_leased(name, pid), *_find_groups(pid))
        ]
        assert {path.name.split(".")[1] for path in _list_scratch(site)} == {str(live.pid)}
        neighbour.send_line("enough")
        assert live.wait(60) == 0, live.communicate()
    _check_nothing_is_left(name, site, live.pid)


def test_services_end_with_killed_run(site: Site, tmp_path: Path) -> None:
    """Containers of services end with a killed run, although they are not its processes."""
    for name in ("bubblewrap", "docker"):
        site.user.require_engine(name)
    with docker_images.imported_image(tmp_path) as image:
        _write_quick(site.project, f"services = [{{ name = 'db', image = '{image}' }}]\n")
        site.user.give_ownership(site.project)
        events = _count_events("bubblewrap", site)
        generator = random.Random(site.user.name)  # noqa: S311 - the same in every run
        moments = sorted(generator.sample(range(1, events), MOMENTS // 2))
        killed = [pid for at in moments for pid in _kill_at(at, "bubblewrap", site, except_pid=0)]
        assert available.wait_for(
            lambda: not [pid for pid in killed if _find_running_containers(pid)]
        )
        _count_events("bubblewrap", site)
    assert len(killed) >= len(moments) - 1
    assert not [container for pid in killed for container in _find_leased("docker", pid)]


def _find_running_containers(pid: int) -> list[str]:
    """Return the running containers of a process."""
    return [
        container for container in _find_leased("docker", pid) if container.endswith(" running")
    ]


def _start_self_killing(at: int, name: str, site: Site) -> "subprocess.Popen[str]":
    arguments = ("run", "--manifest", "quick.toml", "--engine", name, "--json", "--jobs", "2")
    command = [*site.user.prefix, site.user.python, "-c", SELF_KILLING, str(at), *arguments]
    return site.start_command(command, site.project)


def _count_events(name: str, site: Site) -> int:
    """Return the number of events in a complete run."""
    with _start_self_killing(0, name, site) as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    return int(output.split()[-1])


def _kill_at(at: int, name: str, site: Site, *, except_pid: int) -> list[int]:
    """Kill a run at a moment and return its pid; return none if it had already ended."""
    with _start_self_killing(at, name, site) as process:
        process.communicate(timeout=120)
    list_living = partial(_list_processes, site.project, except_pid=except_pid)
    assert available.wait_for(lambda: not list_living()), (at, list_living())
    return [process.pid] if process.returncode == -signal.SIGKILL else []


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_sweep_in_other_pid_namespace_spares_live_run(
    name: str, site: Site, witness: Witness
) -> None:
    """A container that shares state and daemon has other pids, but does not sweep a live run."""
    site.user.require_engine(name)
    if os.getuid() != 0:
        pytest.skip("only root can create a PID namespace and remain the same user")
    isolated_user = replace(site.user, prefix=(*NEW_PID_NAMESPACE, *site.user.prefix))
    with _running(site, "--engine", name, "waits", working=site.neighbour) as live:
        connection = witness.accept()
        swept = isolated_user.run("sweep", folder=site.own, working=site.folder)
        assert swept.returncode == 0, swept.stderr
        connection.send_line("enough")
        assert live.wait(60) == 0, live.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_interrupted_run_cleans_up(
    name: str, number: signal.Signals, site: Site, witness: Witness
) -> None:
    """After one signal there are no remains to sweep, and the exit code names the signal."""
    site.user.require_engine(name)
    files = site.read_files()
    with _running(site, "--engine", name, "leaks_and_waits", working=site.project) as process:
        connection = witness.accept()
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert connection.wait_closed()
    _check_nothing_is_left(name, site, process.pid)
    assert site.read_files() == files


def _run_git(directory: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@isosmoke.invalid")
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_git_works_in_worktree(name: str, site: Site) -> None:
    """A commit from a worktree succeeds in the sandbox; worktree and repository are unchanged."""
    site.user.require_engine(name)
    repository, tree = site.folder / "repository", site.folder / "tree"
    repository.mkdir()
    _run_git(repository, "init", "--quiet")
    _run_git(repository, "commit", "--quiet", "--allow-empty", "--message", "the first")
    _run_git(repository, "worktree", "add", "--quiet", str(tree))
    site.user.give_ownership(repository)
    site.user.give_ownership(tree)
    files = site.read_files()
    line = "set -e; echo one >file; git add .; git commit -qm second; git rev-list --count HEAD"
    arguments = ("run", "--engine", name, "--", "bash", "-c", line)
    result = site.user.run(*arguments, folder=site.own, working=tree)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2" in result.stdout.splitlines()
    assert site.read_files() == files
