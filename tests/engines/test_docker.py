"""Docker engine with a daemon: behaviour that is specific to Docker."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import pytest
from docker import APIClient
from docker.errors import NotFound

from isosmoke.engines.docker import endpoint
from isosmoke.engines.docker.create_body import EMPTY_IMAGE, LABEL, LEASE, PREFIX, SANDBOX
from isosmoke.engines.docker.endpoint import CallerEnvironment
from isosmoke.engines.docker.engine import DockerEngine
from isosmoke.errors import EngineError, EngineUnavailableError, LeftBehindError
from isosmoke.host.leases import Lease
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.protocol import VERSION, EventKind, encode_frame
from isosmoke.results.outcome import Broke, Ending, Exited, Signaled
from isosmoke.runner.sandbox_run import start
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, Job, Mount, ReadOnly, ResourceLimits
from isosmoke.testing.bench import HOME, Bench, JobOptions, run, running_job

ORDINARY = 1000
SYSTEM_PYTHON = "/usr/bin/python3"
EMPTY_TAR = bytes(10240)


@pytest.fixture
def docker() -> DockerEngine:
    """Return a working engine; skip the test with the engine's own message if there is none."""
    engine = DockerEngine()
    try:
        engine.preflight()
    except EngineUnavailableError as error:
        pytest.skip(f"{error.message}; {error.hint}")
    return engine


@pytest.fixture
def client(docker: DockerEngine) -> Iterator[APIClient]:
    """Yield a client of the daemon, to inspect it without the engine."""
    assert docker.name == "docker"
    daemon_endpoint = endpoint.find_docker(CallerEnvironment.current())
    with closing(APIClient(daemon_endpoint.url)) as client:
        yield client


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Jobs in a new directory."""
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def no_leftovers(client: APIClient, state_folder: Path) -> Iterator[None]:
    """Check after each test that this process has no container, volume or scratch directory."""
    yield
    own = {"label": f"{LEASE}={Lease.current()}"}
    assert client.containers(all=True, filters=own) == []
    assert not client.volumes(filters=own)["Volumes"]
    assert list(state_folder.glob("scratch/*")) == []


def add_mounts(job: Job, *mounts: Mount) -> Job:
    """Return the job with more mounts."""
    return replace(job, spec=replace(job.spec, mounts=(*job.spec.mounts, *mounts)))


@pytest.mark.parametrize(
    ("line", "ending"),
    [
        ("exit 0", Exited(0)),
        ("exit 77", Exited(77)),
        ("exit 143", Exited(143)),
        ("kill -TERM $$", Signaled(15)),
        ("kill -9 -1; exit 5", Exited(5)),
        ("for number in $(seq 64); do kill -$number 1; done 2>/dev/null; exit 6", Exited(6)),
        ("echo forged >/proc/1/fd/1 || exit 7", Exited(7)),
    ],
)
def test_ending_is_that_of_the_script(
    docker: DockerEngine, bench: Bench, line: str, ending: Ending
) -> None:
    """The ending is the script's own, and a script can neither kill nor forge its keeper."""
    assert run(docker, bench.shell(line)).ending == ending


def test_leaked_process_is_reported_with_its_address(docker: DockerEngine, bench: Bench) -> None:
    """A daemon that left its session and its parents is reported with its address."""
    code = (
        "import os, socket, time\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "os.fork() and os._exit(0)\n"
        "os.setsid()\n"
        "os.fork() and os._exit(0)\n"
        "time.sleep(600)\n"
    )
    result = run(docker, bench.python(code))

    assert result.ending == Exited(0)
    (leak,) = result.survivors
    assert leak.argv[0] == "python3"
    assert leak.listens[0].startswith("tcp 127.0.0.1:")


def test_large_output_is_complete(docker: DockerEngine, bench: Bench) -> None:
    """A hundred megabytes of output arrive without loss."""
    result = run(docker, bench.shell("head -c 100000000 /dev/zero", JobOptions(timeout=120)))

    assert (result.ending, result.size) == (Exited(0), 100_000_000)


def test_sandbox_is_gone_after_its_block(
    docker: DockerEngine, bench: Bench, client: APIClient
) -> None:
    """In the block the container runs with its labels; afterwards Docker does not know it."""
    with docker.sandbox(bench.shell(":").spec) as sandbox:
        details = client.inspect_container(sandbox.name)
        assert details["State"]["Running"]
        assert details["Config"]["Labels"]["isosmoke.label"] == "contract"

    with pytest.raises(NotFound):
        client.inspect_container(sandbox.name)


def test_removed_container_ends_the_channel(
    docker: DockerEngine, bench: Bench, client: APIClient
) -> None:
    """Removing the container from outside ends the channel, and leaving the block works."""
    with docker.sandbox(bench.shell(":").spec) as sandbox:
        first = sandbox.channel.read()
        client.remove_container(sandbox.name, force=True, v=True)
        rest = b"".join(iter(sandbox.channel.read, b""))

    assert first + rest == encode_frame(EventKind.READY, VERSION.encode())


@pytest.mark.parametrize("on_disk", [False, True])
def test_mounts_can_be_nested(docker: DockerEngine, bench: Bench, *, on_disk: bool) -> None:
    """Mounts can be nested in any order, each with its own permissions."""
    outer = HOME / "outer"
    home = outer / "a/home"
    deep = home / ".local/share/deep"
    job = add_mounts(
        bench.shell(
            f"set -e; cd {home}; test -e {deep}/file; ! touch {deep}/new 2>/dev/null; touch new"
            f" .local/new .local/share/new {outer}/a/new; test $(stat -c %a . ) = 700"
            f"; printf '#!/bin/sh\\n' >run; chmod +x run; ./run; cd {bench.workspace}; touch new"
        ),
        ReadOnly(bench.fixed, deep),
        Fresh(home, 0o700, on_disk=on_disk),
        Fresh(outer, 0o755, on_disk=on_disk),
    )

    result = run(docker, job)

    assert (result.ending, result.output) == (Exited(0), b"")


def test_image_digest_depends_on_content(docker: DockerEngine, client: APIClient) -> None:
    """The digest is the daemon's own, and another image of the same name has another digest."""
    with image(client) as name:
        before = docker.image_digest(name)
        (details,) = client.images(name)
        assert f"sha256:{before}" == details["Id"]
    with image(client, "LABEL changed=yes") as name:
        assert docker.image_digest(name) != before


def test_missing_image_has_no_digest(docker: DockerEngine) -> None:
    """A missing image is an error, never an empty digest."""
    with pytest.raises(EngineError, match="no-such-image"):
        docker.image_digest("no-such-image:1")


def test_description_names_the_daemon(docker: DockerEngine) -> None:
    """The description contains the daemon's version, its socket, and the reason for choosing it."""
    assert docker.description.startswith("Docker ")
    assert str(endpoint.find_docker(CallerEnvironment.current())) in docker.description


@pytest.mark.parametrize("name", ["a,b", "a:b c", "a\\b", 'ü"'])
def test_workspace_may_have_any_name(docker: DockerEngine, bench: Bench, name: str) -> None:
    """A directory is copied on write even if its name has a meaning for Docker or overlays."""
    directory = bench.folder / name
    directory.mkdir()
    (directory / "file").write_text("host")
    job = add_mounts(bench.shell('cd "$0" && rm file && touch new'), CopyOnWrite(directory))

    assert run(docker, replace(job, argv=(*job.argv, str(directory)))).ending == Exited(0)
    assert [path.name for path in directory.iterdir()] == ["file"]


def test_state_directory_with_a_comma_is_refused(
    docker: DockerEngine, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an overlay's directories cannot be named, the scenario breaks with the reason."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "a,b"))

    ending = run(docker, bench.shell(":")).ending

    assert isinstance(ending, Broke)
    assert "overlay options" in ending.message


def test_etc_without_a_required_file_is_refused(
    docker: DockerEngine, bench: Bench, tmp_path: Path
) -> None:
    """The error names the missing file, and nothing is created on the host."""
    etc = tmp_path / "etc"
    etc.mkdir()
    job = add_mounts(bench.shell(":"), ReadOnly(etc, PurePosixPath("/etc")))

    with pytest.raises(EngineError, match=f"{etc}/hostname"), docker.sandbox(job.spec):
        pass
    assert list(etc.iterdir()) == []


def test_memory_limit_is_enforced(docker: DockerEngine, bench: Bench) -> None:
    """A process that exceeds the memory limit is killed, and the keeper reports it."""
    job = bench.python("bytearray(256 << 20)", JobOptions(limits=ResourceLimits(memory=64 << 20)))

    assert run(docker, job).ending == Signaled(9)


def test_reached_memory_limit_is_known(docker: DockerEngine, bench: Bench) -> None:
    """The daemon knows that the memory limit killed a process, and only then."""
    job = bench.python("bytearray(256 << 20)", JobOptions(limits=ResourceLimits(memory=64 << 20)))
    reached = []
    for argv in (job.argv, ("true",)):
        with docker.sandbox(job.spec) as sandbox:
            keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
            keeper.wait_until_ready(60)
            start(replace(job, argv=argv), keeper)
            keeper.wait_for_exit(60)
            reached.append(sandbox.find_reached_limits())

    assert reached == [{"memory"}, frozenset()]


def test_out_of_memory_is_reported(docker: DockerEngine, bench: Bench, client: APIClient) -> None:
    """If the keeper is gone after memory ran out, the reader gets that reason."""
    job = bench.python("bytearray(256 << 20)", JobOptions(limits=ResourceLimits(memory=64 << 20)))
    with docker.sandbox(job.spec) as sandbox:
        keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
        keeper.wait_until_ready(60)
        start(job, keeper)
        assert keeper.wait_for_exit(60) == 9
        client.kill(sandbox.name)

        with pytest.raises(EngineError, match="out of memory"):
            keeper.wait_for_exit(60)


def test_unproved_removal_is_an_error(
    docker: DockerEngine, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that still exists at the deadline is reported with the command to remove it."""
    monkeypatch.setattr("isosmoke.engines.docker.container.DESTROY_SECONDS", 1.0)
    monkeypatch.setattr(APIClient, "inspect_container", lambda *_: {})

    with pytest.raises(EngineError, match="could not remove sandbox") as caught:
        create_and_destroy(docker, bench.shell(":"))
    assert caught.value.hint.startswith("docker rm --force --volumes isosmoke-")


def create_and_destroy(docker: DockerEngine, job: Job) -> None:
    """Create a sandbox and destroy it."""
    with docker.sandbox(job.spec):
        pass


@contextmanager
def image(client: APIClient, *changes: str) -> Iterator[str]:
    """Yield a named image without files, into which the host's directories are mounted."""
    name = f"isosmoke-test:{os.getpid()}"
    repository, tag = name.split(":")
    client.import_image_from_data(EMPTY_TAR, repository, tag, list(changes))
    try:
        yield name
    finally:
        client.remove_image(name)


def test_changes_to_a_named_image_are_discarded(
    docker: DockerEngine, bench: Bench, client: APIClient
) -> None:
    """A script may write to the image's own directories, and the next script does not see it."""
    job = bench.shell(f"test ! -e /new{'' if os.getuid() else ' && touch /new'}")
    with image(client) as name:
        job = replace(job, spec=replace(job.spec, image=name))

        assert [run(docker, job).ending for _ in range(2)] == [Exited(0)] * 2


def test_settings_of_a_named_image_have_no_effect(
    docker: DockerEngine, bench: Bench, client: APIClient
) -> None:
    """Its entry point, user, directory, variables, volumes and health check have no effect."""
    changes = (
        'ENTRYPOINT ["/bin/false"]',
        "USER 4321",
        "WORKDIR /elsewhere",
        "ENV OF_THE_IMAGE=1",
        "VOLUME /kept",
        "HEALTHCHECK --interval=100ms CMD sleep 600",
    )
    job = bench.shell(f'test $(id -u) = {os.getuid()} && test -z "$OF_THE_IMAGE" && sleep 0.5')
    with image(client, *changes) as name:
        result = run(docker, replace(job, spec=replace(job.spec, image=name)))

    assert (result.ending, result.survivors) == (Exited(0), ())


def test_missing_image_is_not_pulled(docker: DockerEngine, bench: Bench) -> None:
    """A missing image is an error whose hint says how to get it."""
    spec = replace(bench.shell(":").spec, image="isosmoke-nowhere:1")

    with pytest.raises(EngineError, match="'isosmoke-nowhere:1'") as caught, docker.sandbox(spec):
        pass
    assert "docker pull isosmoke-nowhere:1" in caught.value.hint


def test_concurrent_sandboxes_have_separate_output(bench: Bench, docker: DockerEngine) -> None:
    """The output of concurrent sandboxes of one engine is not mixed."""

    def run_echo(number: int) -> bytes:
        return run(docker, bench.shell(f"echo {number}")).output

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(run_echo, range(10))) == [b"%d\n" % number for number in range(10)]


def test_host_image_is_created_once(
    docker: DockerEngine, bench: Bench, client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the image is missing, concurrent sandboxes create only one."""
    name = f"isosmoke-test/empty:{os.getpid()}"
    monkeypatch.setattr("isosmoke.engines.docker.create_body.EMPTY_IMAGE", name)
    before = client.images(filters={"dangling": True})

    with ThreadPoolExecutor(4) as pool:
        endings = list(pool.map(lambda _: run(docker, bench.shell(":")).ending, range(4)))

    client.remove_image(name)
    assert endings == [Exited(0)] * 4
    assert client.images(filters={"dangling": True}) == before


HOLD = """
import sys
from pathlib import Path
from isosmoke.engines.docker.engine import DockerEngine
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import Conversation
from isosmoke.runner.sandbox_run import start
from isosmoke.testing.bench import Bench
job = Bench(Path(sys.argv[1])).shell("rm file; setsid sleep 600 & sleep 600")
with DockerEngine().sandbox(job.spec) as sandbox:
    keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
    keeper.wait_until_ready(60)
    start(job, keeper)
    print(sandbox.name, flush=True)
    keeper.wait_for_exit(600)
"""


def test_killed_run_stops_its_sandboxes(
    docker: DockerEngine, bench: Bench, client: APIClient
) -> None:
    """After `kill -9` its containers stop at once; a sweep removes them and spares live ones."""
    command = [sys.executable, "-c", HOLD, str(bench.folder)]
    with (
        running_job(docker, bench.shell("sleep 600")) as living,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder,
    ):
        assert holder.stdout
        name = holder.stdout.readline().strip()
        lease = client.inspect_container(name)["Config"]["Labels"][LEASE]
        holder.kill()
        holder.wait()
        client.wait(name, timeout=60)
        removed = docker.sweep()

        assert f"{name} (contract)" in removed
        assert living.wait_for_exit(0.05) is None
    for filters in ({"label": f"{LEASE}={lease}"}, {"label": f"{SANDBOX}={name}"}):
        assert client.containers(all=True, filters=filters) == []
        assert not client.volumes(filters=filters)["Volumes"]


def test_sweep_ignores_removed_but_listed_containers(
    docker: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removed container that is still listed ("Removal In Progress") is not removed again."""
    name = f"{PREFIX}{'0' * 16}"
    listed = {"Names": [], "Labels": {LEASE: "gone-1.1.1", SANDBOX: name, LABEL: "listed"}}
    with monkeypatch.context() as patched:
        patched.setattr(APIClient, "containers", lambda *_, **__: [listed])
        removed = docker.sweep()

    assert f"{name} (listed)" not in removed


def test_sweep_keeps_containers_of_unknown_processes(
    docker: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox is kept and reported if the state of its process cannot be read."""
    name = f"{PREFIX}{'0' * 16}"
    listed = {
        "Names": [name],
        "Labels": {LEASE: str(Lease.current()), SANDBOX: name, LABEL: "busy"},
    }
    hidden = PermissionError(errno.EACCES, "hidden", "/proc/1/stat")

    def raise_hidden(_: Lease) -> bool:
        raise hidden

    with monkeypatch.context() as patched:
        patched.setattr(APIClient, "containers", lambda *_, **__: [listed])
        patched.setattr(Lease, "is_alive", raise_hidden)
        with pytest.raises(LeftBehindError, match=f"{name} is kept because .*/proc/1/stat: hidden"):
            docker.sweep()


def test_sweep_ignores_containers_of_others(docker: DockerEngine, client: APIClient) -> None:
    """A container without isosmoke's labels or name prefix is never touched."""
    config = {"Image": EMPTY_IMAGE, "Entrypoint": ["x"], "Labels": {LEASE: "x", SANDBOX: "theirs"}}
    create = client.create_container_from_config
    container = create(config)["Id"]  # type: ignore[no-untyped-call]
    try:
        docker.sweep()
        assert client.inspect_container(container)["Id"] == container
    finally:
        client.remove_container(container)


AS_ORDINARY_USER = """
import sys
from dataclasses import replace
from pathlib import Path
from isosmoke.engines.docker.engine import DockerEngine
from isosmoke.testing.bench import Bench, run
job = Bench(Path(sys.argv[1])).shell(
    "set -e; echo x >new; rm file; echo y >of-root/mine/file; echo out >/dev/stdout; id -u"
)
seen = run(DockerEngine(), job)
print(seen.ending, seen.words)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="every test here runs as an ordinary user already")
@pytest.mark.usefixtures("docker")
def test_sandbox_of_an_ordinary_user_leaves_no_files() -> None:
    """Files of root that an overlay left in the user's scratch directory are removed."""
    with TemporaryDirectory() as name:
        directory, root_directory = Path(name), Path(name, "workspace/of-root/mine")
        root_directory.mkdir(parents=True)
        (root_directory / "file").write_text("x")
        for path in (directory, directory / "workspace", root_directory, root_directory / "file"):
            os.chown(path, ORDINARY, ORDINARY)
        result = _run_as_ordinary_user(directory)

        assert result.stdout == "Exited(code=0) ['out', '1000']\n", result.stderr
        assert list(directory.glob("state/scratch/*")) == []


def _run_as_ordinary_user(directory: Path) -> "subprocess.CompletedProcess[str]":
    """Run the script with the system's Python, because the current one may belong to root."""
    version = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sys; print(*sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    if version.stdout.split() != [str(part) for part in sys.version_info[:2]]:
        pytest.skip(f"{SYSTEM_PYTHON} is not the version of this Python")
    return subprocess.run(
        [SYSTEM_PYTHON, "-c", AS_ORDINARY_USER, str(directory)],
        env={
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if "pyenv" not in path),
            "HOME": str(directory),
            "ISOSMOKE_STATE": str(directory / "state"),
        },
        user=ORDINARY,
        group=ORDINARY,
        extra_groups=[
            Path(endpoint.find_docker(CallerEnvironment({}, directory, ORDINARY)).path)
            .stat()
            .st_gid
        ],
        capture_output=True,
        text=True,
        check=False,
    )
