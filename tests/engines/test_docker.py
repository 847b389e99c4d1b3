"""The Docker engine with a daemon: what only Docker could get wrong."""

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
from time import monotonic

import pytest
from docker import APIClient
from docker.errors import NotFound

from isosmoke.engines.docker import endpoint
from isosmoke.engines.docker.create_body import EMPTY_IMAGE, LABEL, LEASE, PREFIX, SANDBOX
from isosmoke.engines.docker.endpoint import Place
from isosmoke.engines.docker.engine import DockerEngine
from isosmoke.errors import EngineError, EngineUnavailableError, LeftBehindError
from isosmoke.host.leases import Lease
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.protocol import VERSION, EventKind, frame
from isosmoke.results.outcome import Broke, Ending, Exited, Signaled
from isosmoke.runner.sandbox_run import start
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, Job, Limits, Mount, ReadOnly
from isosmoke.testing.bench import HOME, Bench, Terms, going, run

ORDINARY = 1000
SYSTEM_PYTHON = "/usr/bin/python3"
EMPTY_TAR = bytes(10240)


@pytest.fixture
def docker() -> DockerEngine:
    """An engine that works, or a skip in the engine's own words."""
    engine = DockerEngine()
    try:
        engine.preflight()
    except EngineUnavailableError as error:
        pytest.skip(f"{error.message}; {error.hint}")
    return engine


@pytest.fixture
def client(docker: DockerEngine) -> Iterator[APIClient]:
    """The daemon, for a look at it past the engine."""
    assert docker.name == "docker"
    found = endpoint.docker(Place.here())
    with closing(APIClient(found.url)) as client:
        yield client


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Jobs over a fresh folder."""
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def nothing_left(client: APIClient, state_folder: Path) -> Iterator[None]:
    """After each test this process has no container, volume or scratch folder."""
    yield
    mine = {"label": f"{LEASE}={Lease.mine()}"}
    assert client.containers(all=True, filters=mine) == []
    assert not client.volumes(filters=mine)["Volumes"]
    assert list(state_folder.glob("scratch/*")) == []


def with_mounts(job: Job, *mounts: Mount) -> Job:
    """The job with more mounts."""
    return replace(job, spec=replace(job.spec, mounts=(*job.spec.mounts, *mounts)))


@pytest.mark.parametrize(
    ("line", "ending"),
    [
        ("exit 0", Exited(0)),
        ("exit 77", Exited(77)),
        ("exit 143", Exited(143)),
        ("kill -TERM $$", Signaled(15)),
        ("kill -9 -1; exit 5", Exited(5)),
        ("for one in $(seq 64); do kill -$one 1; done 2>/dev/null; exit 6", Exited(6)),
        ("echo forged >/proc/1/fd/1 || exit 7", Exited(7)),
    ],
)
def test_ending_is_the_scripts(
    docker: DockerEngine, bench: Bench, line: str, ending: Ending
) -> None:
    """A script ends as it ended, and can neither end nor forge its keeper."""
    assert run(docker, bench.shell(line)).ending == ending


def test_leak_is_seen_with_what_it_listens_on(docker: DockerEngine, bench: Bench) -> None:
    """A daemon that left its session and its parents is named with its address."""
    code = (
        "import os, socket, time\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "os.fork() and os._exit(0)\n"
        "os.setsid()\n"
        "os.fork() and os._exit(0)\n"
        "time.sleep(600)\n"
    )
    seen = run(docker, bench.python(code))

    assert seen.ending == Exited(0)
    (leak,) = seen.survivors
    assert leak.argv[0] == "python3"
    assert leak.listens[0].startswith("tcp 127.0.0.1:")


def test_flood_is_read_to_the_byte(docker: DockerEngine, bench: Bench) -> None:
    """A hundred megabytes of output arrive whole."""
    seen = run(docker, bench.shell("head -c 100000000 /dev/zero", Terms(timeout=120)))

    assert (seen.ending, seen.size) == (Exited(0), 100_000_000)


def test_sandbox_is_gone_after_its_block(
    docker: DockerEngine, bench: Bench, client: APIClient
) -> None:
    """Within the block the container runs under its labels; after it Docker knows it no more."""
    with docker.sandbox(bench.shell(":").spec) as sandbox:
        found = client.inspect_container(sandbox.name)
        assert found["State"]["Running"]
        assert found["Config"]["Labels"]["isosmoke.label"] == "contract"

    with pytest.raises(NotFound):
        client.inspect_container(sandbox.name)


def test_sandbox_that_dies_is_no_verdict(
    docker: DockerEngine, bench: Bench, client: APIClient
) -> None:
    """A container that somebody removes from outside ends the channel, and leaving is harmless."""
    with docker.sandbox(bench.shell(":").spec) as sandbox:
        first = sandbox.channel.read()
        client.remove_container(sandbox.name, force=True, v=True)
        rest = b"".join(iter(sandbox.channel.read, b""))

    assert first + rest == frame(EventKind.READY, VERSION.encode())


@pytest.mark.parametrize("on_disk", [False, True])
def test_mounts_nest(docker: DockerEngine, bench: Bench, *, on_disk: bool) -> None:
    """A mount lies in a mount in a mount, each with its own rights, whatever their order."""
    outer = HOME / "outer"
    home = outer / "a/home"
    deep = home / ".local/share/deep"
    job = with_mounts(
        bench.shell(
            f"set -e; cd {home}; test -e {deep}/file; ! touch {deep}/new 2>/dev/null; touch new"
            f" .local/new .local/share/new {outer}/a/new; test $(stat -c %a . ) = 700"
            f"; printf '#!/bin/sh\\n' >run; chmod +x run; ./run; cd {bench.workspace}; touch new"
        ),
        ReadOnly(bench.fixed, deep),
        Fresh(home, 0o700, on_disk=on_disk),
        Fresh(outer, 0o755, on_disk=on_disk),
    )

    seen = run(docker, job)

    assert (seen.ending, seen.output) == (Exited(0), b"")


def test_image_is_known_by_its_content(docker: DockerEngine, client: APIClient) -> None:
    """The digest is the daemon's own; another image under the same name has another."""
    with image(client) as name:
        before = docker.image_digest(name)
        (found,) = client.images(name)
        assert f"sha256:{before}" == found["Id"]
    with image(client, "LABEL changed=yes") as name:
        assert docker.image_digest(name) != before


def test_image_that_is_not_there_has_no_digest(docker: DockerEngine) -> None:
    """What cannot be looked at is an error, never an empty digest."""
    with pytest.raises(EngineError, match="no-such-image"):
        docker.image_digest("no-such-image:1")


def test_description_names_the_daemon(docker: DockerEngine) -> None:
    """The description has the daemon's version, its socket, and what named that."""
    assert docker.description.startswith("Docker ")
    assert str(endpoint.docker(Place.here())) in docker.description


@pytest.mark.parametrize("name", ["a,b", "a:b c", "a\\b", 'ü"'])
def test_workspace_may_have_any_name(docker: DockerEngine, bench: Bench, name: str) -> None:
    """A folder whose name means something to Docker or to overlays is copied on write like any."""
    folder = bench.folder / name
    folder.mkdir()
    (folder / "file").write_text("host")
    job = with_mounts(bench.shell('cd "$0" && rm file && touch new'), CopyOnWrite(folder))

    assert run(docker, replace(job, argv=(*job.argv, str(folder)))).ending == Exited(0)
    assert [one.name for one in folder.iterdir()] == ["file"]


def test_state_folder_with_a_comma_is_refused(
    docker: DockerEngine, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an overlay's own folders cannot be named, the scenario breaks with the reason."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "a,b"))

    ending = run(docker, bench.shell(":")).ending

    assert isinstance(ending, Broke)
    assert "overlay options" in ending.message


def test_etc_without_a_file_that_docker_needs_is_refused(
    docker: DockerEngine, bench: Bench, tmp_path: Path
) -> None:
    """A host that lacks one is told which file, and nothing is made on the host."""
    etc = tmp_path / "etc"
    etc.mkdir()
    job = with_mounts(bench.shell(":"), ReadOnly(etc, PurePosixPath("/etc")))

    with pytest.raises(EngineError, match=f"{etc}/hostname"), docker.sandbox(job.spec):
        pass
    assert list(etc.iterdir()) == []


def test_memory_has_a_limit(docker: DockerEngine, bench: Bench) -> None:
    """What takes more than its memory is killed, and the keeper lives to say so."""
    job = bench.python("bytearray(256 << 20)", Terms(limits=Limits(memory=64 << 20)))

    assert run(docker, job).ending == Signaled(9)


def test_death_by_memory_is_told(docker: DockerEngine, bench: Bench, client: APIClient) -> None:
    """Where the keeper is gone and memory had run out, that is what the reader is told."""
    job = bench.python("bytearray(256 << 20)", Terms(limits=Limits(memory=64 << 20)))
    with docker.sandbox(job.spec) as sandbox:
        keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
        keeper.ready(60)
        start(job, keeper)
        assert keeper.exited(60) == 9
        client.kill(sandbox.name)

        with pytest.raises(EngineError, match="out of memory"):
            keeper.exited(60)


def test_removal_that_cannot_be_proved_is_an_error(
    docker: DockerEngine, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that is still known at the deadline is named, with the command against it."""
    monkeypatch.setattr("isosmoke.engines.docker.container.DESTROY_SECONDS", 1.0)
    monkeypatch.setattr(APIClient, "inspect_container", lambda *_: {})

    with pytest.raises(EngineError, match="could not remove sandbox") as caught:
        run_to_the_end(docker, bench.shell(":"))
    assert caught.value.hint.startswith("docker rm --force --volumes isosmoke-")


def run_to_the_end(docker: DockerEngine, job: Job) -> None:
    """Make a sandbox and leave it."""
    with docker.sandbox(job.spec):
        pass


@contextmanager
def image(client: APIClient, *changes: str) -> Iterator[str]:
    """A named image without a file, to which the host's folders are mounted."""
    name = f"isosmoke-test:{os.getpid()}"
    repository, tag = name.split(":")
    client.import_image_from_data(EMPTY_TAR, repository, tag, list(changes))
    try:
        yield name
    finally:
        client.remove_image(name)


def test_named_image_is_writable_and_thrown_away(
    docker: DockerEngine, bench: Bench, client: APIClient
) -> None:
    """A script may write into the image's own folders, and the next one finds nothing of it."""
    job = bench.shell(f"test ! -e /new{'' if os.getuid() else ' && touch /new'}")
    with image(client) as name:
        job = replace(job, spec=replace(job.spec, image=name))

        assert [run(docker, job).ending for _ in range(2)] == [Exited(0)] * 2


def test_named_image_runs_nothing_of_its_own(
    docker: DockerEngine, bench: Bench, client: APIClient
) -> None:
    """Its entry point, user, folder, variables, volumes and health check have no effect."""
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
        seen = run(docker, replace(job, spec=replace(job.spec, image=name)))

    assert (seen.ending, seen.survivors) == (Exited(0), ())


def test_missing_image_is_not_pulled(docker: DockerEngine, bench: Bench) -> None:
    """An image that is not here is an error that says how to get it."""
    wanted = replace(bench.shell(":").spec, image="isosmoke-nowhere:1")

    with pytest.raises(EngineError, match="'isosmoke-nowhere:1'") as caught, docker.sandbox(wanted):
        pass
    assert "docker pull isosmoke-nowhere:1" in caught.value.hint


def test_ten_at_once_are_ten(bench: Bench, docker: DockerEngine) -> None:
    """Sandboxes made from many threads by one engine keep apart what they print."""

    def word(number: int) -> bytes:
        return run(docker, bench.shell(f"echo {number}")).output

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(word, range(10))) == [b"%d\n" % number for number in range(10)]


def test_image_of_the_hosts_sandboxes_is_made_once(
    docker: DockerEngine, bench: Bench, client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is missing all threads can go on, and one image is made."""
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
from isosmoke.engines.docker.endpoint import Place
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.client import Conversation
from isosmoke.runner.sandbox_run import start
from isosmoke.testing.bench import Bench
job = Bench(Path(sys.argv[1])).shell("rm file; setsid sleep 600 & sleep 600")
with DockerEngine().sandbox(job.spec) as sandbox:
    keeper = Conversation(sandbox.channel, sink=lambda _: None, interrupt=Interrupt())
    keeper.ready(60)
    start(job, keeper)
    print(sandbox.name, flush=True)
    keeper.exited(600)
"""


def test_killed_run_takes_its_sandboxes_with_it(
    docker: DockerEngine, bench: Bench, client: APIClient
) -> None:
    """After `kill -9` its containers stop at once; a sweep removes them and spares the living."""
    command = [sys.executable, "-c", HOLD, str(bench.folder)]
    with (
        going(docker, bench.shell("sleep 600")) as living,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder,
    ):
        assert holder.stdout
        name = holder.stdout.readline().strip()
        lease = client.inspect_container(name)["Config"]["Labels"][LEASE]
        begun = monotonic()
        holder.kill()
        holder.wait()
        client.wait(name, timeout=20)
        took = monotonic() - begun
        swept = docker.sweep()

        assert took < 5
        assert f"{name} (contract)" in swept
        assert living.exited(0.05) is None
    for filters in ({"label": f"{LEASE}={lease}"}, {"label": f"{SANDBOX}={name}"}):
        assert client.containers(all=True, filters=filters) == []
        assert not client.volumes(filters=filters)["Volumes"]


def test_sweep_does_not_tell_what_docker_only_lists(
    docker: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that is gone and still listed, as "Removal In Progress", is not removed again."""
    name = f"{PREFIX}{'0' * 16}"
    listed = {"Names": [], "Labels": {LEASE: "gone-1.1.1", SANDBOX: name, LABEL: "listed"}}
    with monkeypatch.context() as patched:
        patched.setattr(APIClient, "containers", lambda *_, **__: [listed])
        swept = docker.sweep()

    assert f"{name} (listed)" not in swept


def test_sweep_keeps_and_names_what_it_cannot_look_at(
    docker: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while looking at the process of a sandbox does not mean that it has ended."""
    name = f"{PREFIX}{'0' * 16}"
    listed = {"Names": [name], "Labels": {LEASE: str(Lease.mine()), SANDBOX: name, LABEL: "busy"}}
    hidden = PermissionError(errno.EACCES, "hidden", "/proc/1/stat")

    def cannot_tell(_: Lease) -> bool:
        raise hidden

    with monkeypatch.context() as patched:
        patched.setattr(APIClient, "containers", lambda *_, **__: [listed])
        patched.setattr(Lease, "is_alive", cannot_tell)
        with pytest.raises(LeftBehindError, match=f"{name} is kept, .*/proc/1/stat: hidden"):
            docker.sweep()


def test_sweep_leaves_what_is_not_ours(docker: DockerEngine, client: APIClient) -> None:
    """A container without our labels, or with the name of another, is never touched."""
    config = {"Image": EMPTY_IMAGE, "Entrypoint": ["x"], "Labels": {LEASE: "x", SANDBOX: "theirs"}}
    create = client.create_container_from_config
    made = create(config)["Id"]  # type: ignore[no-untyped-call]
    try:
        docker.sweep()
        assert client.inspect_container(made)["Id"] == made
    finally:
        client.remove_container(made)


AS_ORDINARY_USER = """
import sys
from dataclasses import replace
from pathlib import Path
from isosmoke.engines.docker.engine import DockerEngine
from isosmoke.engines.docker.endpoint import Place
from isosmoke.testing.bench import Bench, run
job = Bench(Path(sys.argv[1])).shell(
    "set -e; echo x >new; rm file; echo y >of-root/mine/file; echo out >/dev/stdout; id -u"
)
seen = run(DockerEngine(), job)
print(seen.ending, seen.words)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="every test here runs as an ordinary user already")
@pytest.mark.usefixtures("docker")
def test_ordinary_user_leaves_nothing() -> None:
    """What the overlay's root made in the user's scratch folder goes too."""
    with TemporaryDirectory() as name:
        folder, kept = Path(name), Path(name, "workspace/of-root/mine")
        kept.mkdir(parents=True)
        (kept / "file").write_text("x")
        for one in (folder, folder / "workspace", kept, kept / "file"):
            os.chown(one, ORDINARY, ORDINARY)
        done = _as_ordinary_user(folder)

        assert done.stdout == "Exited(code=0) ['out', '1000']\n", done.stderr
        assert list(folder.glob("state/scratch/*")) == []


def _as_ordinary_user(folder: Path) -> "subprocess.CompletedProcess[str]":
    """By the system's Python where this one is root's own."""
    program = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sys; print(*sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    if program.stdout.split() != [str(part) for part in sys.version_info[:2]]:
        pytest.skip(f"{SYSTEM_PYTHON} is not the version of this Python")
    return subprocess.run(
        [SYSTEM_PYTHON, "-c", AS_ORDINARY_USER, str(folder)],
        env={
            "PYTHONPATH": os.pathsep.join(one for one in sys.path if "pyenv" not in one),
            "HOME": str(folder),
            "ISOSMOKE_STATE": str(folder / "state"),
        },
        user=ORDINARY,
        group=ORDINARY,
        extra_groups=[Path(endpoint.docker(Place({}, folder, ORDINARY)).path).stat().st_gid],
        capture_output=True,
        text=True,
        check=False,
    )
