"""Companion containers: there when the script starts, told where, and gone whatever ends it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import NotFound

from isosmoke.engines.docker import create_body
from isosmoke.engines.docker.engine import DockerEngine
from support import available, docker_images
from support.project import Project

ASKS = """
import os, socket, sys
for name in sys.argv[1:]:
    line = socket.create_connection((os.environ[f"{name}_HOST"], int(os.environ[f"{name}_PORT"])))
    print(name, line.recv(100).decode())
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image of a small server, or a loud skip."""
    available.engine("docker")
    with docker_images.image(tmp_path_factory.mktemp("companion")) as name:
        yield name


@pytest.fixture
def client() -> Iterator["docker.APIClient"]:
    """What the tests ask the daemon with."""
    made = docker.APIClient(version="auto")
    yield made
    made.close()


def named(folder: Path) -> str:
    """A scenario's name that no test of another run has, however the folders are called."""
    return f"{folder.name}-{folder.stat().st_ino}"


def project(folder: Path, script: str, keys: str) -> Project:
    """A project with one scenario: these keys, this script, and a program that asks services."""
    made = Project.within(
        folder, f'[[scenario]]\nname = "{named(folder)}"\nscript = "scenarios/one.sh"\n{keys}\n'
    )
    made.path("scenarios/one.sh").write_text(script)
    made.path("asks.py").write_text(ASKS)
    return made


def ours(client: "docker.APIClient", project: Project) -> list[Mapping[str, str]]:
    """The containers of a project's services that are there, running or not, and their networks."""
    found = [
        *client.containers(all=True, filters={"label": create_body.LEASE}),
        *client.networks(filters={"label": create_body.LEASE}),
    ]
    label = f"{named(project.top.parent)}: service"
    return [one for one in found if one["Labels"][create_body.LABEL].startswith(label)]


def told(project: Project, *words: str, **more: str) -> dict[str, str]:
    """What a run's record says of the scenario, with the log of its last attempt."""
    done = project.run("run", "--json", *words, **more)
    assert done.stdout, done.stderr
    (one,) = json.loads(done.stdout)["scenarios"]
    log = one["attempts"][-1]["output"]["log"]
    return {
        "outcome": one["outcome"],
        "reason": one["reason"],
        "log": Path(log).read_text() if log else "",
    }


@pytest.mark.parametrize("engine", ["bubblewrap", "docker"])
def test_services_are_ready_and_the_scenario_knows_where(
    tmp_path: Path, image: str, client: "docker.APIClient", engine: str
) -> None:
    """A script reaches each service by its variables, also in its own, and nothing stays."""
    available.engine(engine)
    keys = f"""
    env = {{ URL = "tcp://${{DB_HOST}}:${{DB_PORT_7000}}/${{HOME}}" }}
    pass_env = ["WORD"]
    [[scenario.services]]
    name = "db"
    image = "{image}"
    ports = [7000]
    [[scenario.services]]
    name = "lazy-one"
    image = "{image}"
    command = ["lazy", "7001"]
    ports = [7001]
    env = {{ GREETING = "good ${{WORD}}" }}
    """
    script = 'echo "URL $URL = $DB_PORT"; python3 asks.py DB LAZY_ONE'
    made = project(tmp_path, script, keys)
    seen = told(made, "--engine", engine, WORD="morning")

    assert seen["outcome"] == "PASS", seen
    assert re.search(r"DB hello \d+", seen["log"])
    assert re.search(r"LAZY_ONE good \[redacted WORD\] \d+", seen["log"])
    assert re.search(r"URL tcp://127\.0\.0\.1:(\d+)/\$\{HOME\} = \1\b", seen["log"])
    assert ours(client, made) == []
    kept = {one.name: one.read_text() for one in made.path(".isosmoke").rglob("service-*.log")}
    assert sorted(kept) == ["service-db-1.log", "service-lazy-one-1.log"]
    assert kept["service-db-1.log"] == "companion serve as user 0\nready to accept\n"


@pytest.mark.parametrize("wait", ['{ log = "^ready to" }', "{ health = true }", "{ port = 7000 }"])
def test_a_service_is_waited_for_as_the_manifest_says(
    tmp_path: Path, image: str, wait: str
) -> None:
    """A service that listens late is not there too early, whatever shows that it is ready."""
    keys = f"""services = [{{
        name = "db", image = "{image}", command = ["lazy"], ports = [7000], wait = {wait} }}]"""
    made = project(tmp_path, "python3 asks.py DB", keys.replace("\n", " "))

    assert told(made)["outcome"] == "PASS"


@pytest.mark.parametrize(
    ("command", "wait", "why"),
    [
        ("fail", "port = 7000", "ended with code 3 before it was ready"),
        ("fail", 'log = "never"', "ended with code 3 before it was ready"),
        ("deaf", "port = 7000", "was not ready within 1 s"),
        ("deaf", "health = true", "was not ready within 1 s"),
    ],
)
def test_a_service_that_does_not_start_is_an_error_in_its_own_words(
    tmp_path: Path, image: str, *, command: str, wait: str, why: str
) -> None:
    """The scenario is not run, and the reason ends with what the service printed last."""
    keys = (
        f'services = [{{ name = "db", image = "{image}", command = ["{command}"], ports = [7000], '
        f"wait = {{ {wait} }}, timeout_seconds = 1 }}]"
    )
    seen = told(project(tmp_path, "echo ran", keys))
    begin, _, printed = seen["reason"].partition("; it printed last: ")

    assert (seen["outcome"], seen["log"]) == ("ERROR", "")
    assert begin == f"service 'db' {why}"
    assert f"companion {command} as user 0" in printed.split(" | ")
    assert ("no license" in printed.split(" | ")) == (command == "fail")


def test_a_service_that_prints_without_end_delays_nothing(
    tmp_path: Path, image: str, client: "docker.APIClient"
) -> None:
    """Its deadline holds, its log has its limit, and the daemon piles up nothing."""
    keys = (
        f'services = [{{ name = "db", image = "{image}", command = ["flood"], '
        'wait = { log = "^never" }, timeout_seconds = 1 }]\nlimits = { output = "100K" }'
    )
    made = project(tmp_path, "echo ran", keys)
    with begun(made) as running:
        assert available.eventually(lambda: len(pids(client, made)) == 2, 90), said(made)
        kept = {one["HostConfig"]["LogConfig"]["Type"] for one in details(client, made)}
        running.wait()

    assert kept == {"none"}
    assert "service 'db' was not ready within 1 s; it printed last: over and over" in said(made)
    (log,) = made.path(".isosmoke").rglob("service-db-1.log")
    assert 100 * 1024 <= log.stat().st_size < 200 * 1024
    assert "bytes left out]" in log.read_text()


def test_a_service_may_end_once_it_has_said_what_is_awaited(tmp_path: Path, image: str) -> None:
    """One that prepares something and ends is ready then, however fast it was."""
    keys = (
        f'services = [{{ name = "db", image = "{image}", command = ["fail"], '
        'wait = { log = "^no license$" } }]'
    )
    assert told(project(tmp_path, "true", keys))["outcome"] == "PASS"


def test_an_image_that_is_not_here_is_a_skip_and_is_not_pulled(tmp_path: Path) -> None:
    """Nothing is fetched for a service: the scenario is skipped with what would bring it."""
    available.engine("docker")
    made = project(tmp_path, "true", 'services = [{ name = "db", image = "isosmoke-tests/no:1" }]')
    seen = told(made)

    assert seen["outcome"] == "SKIP"
    assert "service 'db': no image 'isosmoke-tests/no:1' here" in seen["reason"]


def test_without_a_daemon_services_are_a_skip(tmp_path: Path) -> None:
    """A machine without a container engine skips what needs one, and says why."""
    available.engine("bubblewrap")
    made = project(tmp_path, "true", 'services = [{ name = "db", image = "x" }]')
    seen = told(made, DOCKER_HOST=f"unix://{tmp_path}/none.sock")

    assert seen["outcome"] == "SKIP"
    assert seen["reason"].startswith("services need a container engine: no daemon at unix://")


def test_services_know_each_other_by_name(tmp_path: Path, image: str) -> None:
    """One service reaches another by its name, on the port that it has there."""
    if not docker_has("isosmoke-ci:debian"):
        available.cannot("docker", "no image isosmoke-ci:debian, which has a shell")
    keys = f"""
    [[scenario.services]]
    name = "db"
    image = "{image}"
    ports = [7000]
    [[scenario.services]]
    name = "app"
    image = "isosmoke-ci:debian"
    command = ["bash", "-c", "exec 3<>/dev/tcp/db/7000; cat <&3; sleep 600"]
    wait = {{ log = "^hello" }}
    """
    assert told(project(tmp_path, "true", keys))["outcome"] == "PASS"


def docker_has(image: str) -> bool:
    """Whether an image is here."""
    return DockerEngine().images.has(image)


def test_every_attempt_has_services_of_its_own(tmp_path: Path, image: str) -> None:
    """A retry finds a service that nobody has used before."""
    keys = f'retries = 2\nservices = [{{ name = "db", image = "{image}", ports = [7000] }}]'
    made = project(tmp_path, 'echo "port $DB_PORT"; exit 1', keys)
    made.run("run", "-j", "1")

    logs = sorted(made.path(".isosmoke").rglob("service-db-*.log"))
    assert [one.name for one in logs] == [f"service-db-{number}.log" for number in (1, 2, 3)]


@pytest.mark.parametrize("wait", ["{ port = 7000 }", '{ log = "never" }'])
def test_services_die_with_isosmoke(
    tmp_path: Path, image: str, client: "docker.APIClient", wait: str
) -> None:
    """After `kill -9`, while a service starts or serves, none of its processes lives for long.

    What is left of their containers is swept by the next run.
    """
    keys = (
        f'services = [{{ name = "db", image = "{image}", ports = [7000], wait = {wait} }}]\n'
        "timeout_seconds = 60"
    )
    made = project(tmp_path, "sleep 60", keys)
    with begun(made) as running:
        assert available.eventually(lambda: len(pids(client, made)) == 2, 90), said(made)
        living = pids(client, made)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()

    assert available.eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in living), 5)
    subprocess.run(
        made.command("sweep"), cwd=made.top, env=made.environment(), check=True, capture_output=True
    )
    assert ours(client, made) == []


@contextmanager
def begun(project: Project) -> Iterator["subprocess.Popen[bytes]"]:
    """A run that has begun; it is ended with the block at the latest."""
    with (
        project.path("said").open("wb") as said,
        subprocess.Popen(
            project.command("run"),
            cwd=project.top,
            env=project.environment(),
            stdout=said,
            stderr=said,
        ) as running,
    ):
        try:
            yield running
        finally:
            running.kill()


def said(project: Project) -> str:
    """What the run that has begun said so far."""
    return project.path("said").read_text()


def details(client: "docker.APIClient", project: Project) -> list[dict[str, Any]]:
    """What the daemon knows of each container of the project."""
    found = []
    for one in ours(client, project):
        with suppress(NotFound):  # Docker lists a container before it lets anybody look at it
            found += [client.inspect_container(one["Id"])] if "Image" in one else []
    return found


def pids(client: "docker.APIClient", project: Project) -> list[int]:
    """The first process of each running container of the project, as the host counts."""
    states = [one["State"] for one in details(client, project)]
    return [one["Pid"] for one in states if one["Running"]]


def test_an_interrupt_ends_the_waiting(
    tmp_path: Path, image: str, client: "docker.APIClient"
) -> None:
    """Who presses Ctrl-C while a service starts does not wait for it."""
    keys = (
        f'services = [{{ name = "db", image = "{image}", command = ["deaf"], ports = [7000], '
        "timeout_seconds = 600 }]"
    )
    made = project(tmp_path, "true", keys)
    with begun(made) as running:
        assert available.eventually(lambda: len(pids(client, made)) == 2, 90), said(made)
        running.send_signal(signal.SIGINT)
        running.wait(timeout=60)

    assert running.returncode == 130
    assert "NOT_RUN" in said(made)
    assert ours(client, made) == []


def test_no_reaper_is_started(tmp_path: Path, image: str, client: "docker.APIClient") -> None:
    """Whatever the user has set for testcontainers, nothing but our own containers is made."""
    keys = f'services = [{{ name = "db", image = "{image}", ports = [7000] }}]'
    made = project(tmp_path, "true", keys)
    before = {one["Id"] for one in client.containers(all=True)}
    seen = told(made, TESTCONTAINERS_RYUK_DISABLED="false", TC_HOST="192.0.2.1")

    assert seen["outcome"] == "PASS"
    reapers = [one for one in client.containers(all=True) if "ryuk" in one["Image"]]
    assert [one for one in reapers if one["Id"] not in before] == []


def test_docker_is_not_imported_for_scenarios_without_services() -> None:
    """Neither isosmoke nor what tests import of it brings docker or testcontainers along."""
    code = (
        "import sys, isosmoke, isosmoke.testing; "
        "from isosmoke.execution import scheduler, session; "
        "print(sorted({one.split('.')[0] for one in sys.modules} & {'docker', 'testcontainers'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
