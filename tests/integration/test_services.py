"""Service containers: reachable when the script starts, and removed in any case."""

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

CLIENT = """
import os, socket, sys
for name in sys.argv[1:]:
    line = socket.create_connection((os.environ[f"{name}_HOST"], int(os.environ[f"{name}_PORT"])))
    print(name, line.recv(100).decode())
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the image of a small server, or skip the test."""
    available.require_engine("docker")
    with docker_images.imported_image(tmp_path_factory.mktemp("companion")) as name:
        yield name


@pytest.fixture
def client() -> Iterator["docker.APIClient"]:
    """Yield a client of the daemon."""
    docker_client = docker.APIClient(version="auto")
    yield docker_client
    docker_client.close()


def scenario_name(directory: Path) -> str:
    """Return a scenario name that is unique across test runs, whatever the directory is called."""
    return f"{directory.name}-{directory.stat().st_ino}"


def create_project(directory: Path, script: str, keys: str) -> Project:
    """Return a project with a scenario of these keys, its script, and a client of services."""
    project = Project.within(
        directory,
        f'[[scenario]]\nname = "{scenario_name(directory)}"\nscript = "scenarios/one.sh"\n{keys}\n',
    )
    project.path("scenarios/one.sh").write_text(script)
    project.path("client.py").write_text(CLIENT)
    return project


def list_resources(client: "docker.APIClient", project: Project) -> list[Mapping[str, str]]:
    """Return the existing containers and networks of a project's services."""
    resources = [
        *client.containers(all=True, filters={"label": create_body.LEASE}),
        *client.networks(filters={"label": create_body.LEASE}),
    ]
    label = f"{scenario_name(project.top.parent)}: service"
    return [
        resource
        for resource in resources
        if resource["Labels"].get(create_body.LABEL, "").startswith(label)
    ]


def run_scenario(project: Project, *args: str, **variables: str) -> dict[str, str]:
    """Run the project; return the recorded outcome and reason, and the log of the last attempt."""
    done = project.run("run", "--json", *args, **variables)
    assert done.stdout, done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    log = scenario["attempts"][-1]["output"]["log"]
    return {
        "outcome": scenario["outcome"],
        "reason": scenario["reason"],
        "log": Path(log).read_text() if log else "",
    }


@pytest.mark.parametrize("engine", ["bubblewrap", "docker"])
def test_services_are_ready_and_reachable(
    tmp_path: Path, image: str, client: "docker.APIClient", engine: str
) -> None:
    """A script reaches each service through its variables, and nothing remains."""
    available.require_engine(engine)
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
    script = 'echo "URL $URL = $DB_PORT"; python3 client.py DB LAZY_ONE'
    project = create_project(tmp_path, script, keys)
    record = run_scenario(project, "--engine", engine, WORD="morning")

    assert record["outcome"] == "PASS", record
    assert re.search(r"DB hello \d+", record["log"])
    assert re.search(r"LAZY_ONE good \[redacted WORD\] \d+", record["log"])
    assert re.search(r"URL tcp://127\.0\.0\.1:(\d+)/\$\{HOME\} = \1\b", record["log"])
    assert list_resources(client, project) == []
    logs = {
        path.name: path.read_text() for path in project.path(".isosmoke").rglob("service-*.log")
    }
    assert sorted(logs) == ["service-db-1.log", "service-lazy-one-1.log"]
    assert logs["service-db-1.log"] == "companion serve as user 0\nready to accept\n"


@pytest.mark.parametrize("wait", ['{ log = "^ready to" }', "{ health = true }", "{ port = 7000 }"])
def test_service_is_awaited_by_condition_of_manifest(tmp_path: Path, image: str, wait: str) -> None:
    """A service that listens late is ready only then, with any condition."""
    keys = f"""services = [{{
        name = "db", image = "{image}", command = ["lazy"], ports = [7000], wait = {wait} }}]"""
    project = create_project(tmp_path, "python3 client.py DB", keys.replace("\n", " "))

    assert run_scenario(project)["outcome"] == "PASS"


@pytest.mark.parametrize(
    ("command", "wait", "reason"),
    [
        ("fail", "port = 7000", "ended with code 3 before it was ready"),
        ("fail", 'log = "never"', "ended with code 3 before it was ready"),
        ("deaf", "port = 7000", "was not ready within 1 s"),
        ("deaf", "health = true", "was not ready within 1 s"),
    ],
)
def test_service_that_does_not_start_is_an_error(
    tmp_path: Path, image: str, *, command: str, wait: str, reason: str
) -> None:
    """The scenario is not run, and the reason ends with the last output of the service."""
    keys = (
        f'services = [{{ name = "db", image = "{image}", command = ["{command}"], ports = [7000], '
        f"wait = {{ {wait} }}, timeout_seconds = 1 }}]"
    )
    record = run_scenario(create_project(tmp_path, "echo ran", keys))
    problem, _, output = record["reason"].partition("; its last output: ")

    assert (record["outcome"], record["log"]) == ("ERROR", "")
    assert problem == f"service 'db' {reason}"
    assert f"companion {command} as user 0" in output.split(" | ")
    assert ("no license" in output.split(" | ")) == (command == "fail")


def test_endless_output_of_service_delays_nothing(
    tmp_path: Path, image: str, client: "docker.APIClient"
) -> None:
    """Its deadline holds, its log is limited, and the daemon stores no output."""
    keys = (
        f'services = [{{ name = "db", image = "{image}", command = ["flood"], '
        'wait = { log = "^never" }, timeout_seconds = 1 }]\nlimits = { output = "100K" }'
    )
    project = create_project(tmp_path, "echo ran", keys)
    with running_isosmoke(project) as running:
        assert available.wait_for(lambda: len(list_pids(client, project)) == 2, 90), read_output(
            project
        )
        log_types = {
            detail["HostConfig"]["LogConfig"]["Type"]
            for detail in inspect_containers(client, project)
        }
        running.wait()

    assert log_types == {"none"}
    assert "service 'db' was not ready within 1 s; its last output: over and over" in read_output(
        project
    )
    (log,) = project.path(".isosmoke").rglob("service-db-1.log")
    assert 100 * 1024 <= log.stat().st_size < 200 * 1024
    assert "bytes left out]" in log.read_text()


def test_service_may_end_after_awaited_line(tmp_path: Path, image: str) -> None:
    """A service that prepares something and ends is ready, even if it is very fast."""
    keys = (
        f'services = [{{ name = "db", image = "{image}", command = ["fail"], '
        'wait = { log = "^no license$" } }]'
    )
    assert run_scenario(create_project(tmp_path, "true", keys))["outcome"] == "PASS"


def test_missing_image_is_a_skip_and_is_not_pulled(tmp_path: Path) -> None:
    """The scenario is skipped with the command that pulls the image."""
    available.require_engine("docker")
    project = create_project(
        tmp_path, "true", 'services = [{ name = "db", image = "isosmoke-tests/no:1" }]'
    )
    record = run_scenario(project)

    assert record["outcome"] == "SKIP"
    assert "service 'db': no image 'isosmoke-tests/no:1' here" in record["reason"]


def test_services_without_daemon_are_a_skip(tmp_path: Path) -> None:
    """Without a container engine, scenarios with services are skipped with the reason."""
    available.require_engine("bubblewrap")
    project = create_project(tmp_path, "true", 'services = [{ name = "db", image = "x" }]')
    record = run_scenario(project, DOCKER_HOST=f"unix://{tmp_path}/none.sock")

    assert record["outcome"] == "SKIP"
    assert record["reason"].startswith("services need a container engine: no daemon at unix://")


def test_services_reach_each_other_by_name(tmp_path: Path, image: str) -> None:
    """A service reaches another by its name and its original port."""
    if not docker_has("isosmoke-ci:debian"):
        available.skip_engine("docker", "no image isosmoke-ci:debian, which has a shell")
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
    assert run_scenario(create_project(tmp_path, "true", keys))["outcome"] == "PASS"


def docker_has(image: str) -> bool:
    """Return whether Docker has an image."""
    return DockerEngine().images.has(image)


def test_every_attempt_has_its_own_services(tmp_path: Path, image: str) -> None:
    """A retry has a new service."""
    keys = f'retries = 2\nservices = [{{ name = "db", image = "{image}", ports = [7000] }}]'
    project = create_project(tmp_path, 'echo "port $DB_PORT"; exit 1', keys)
    project.run("run", "-j", "1")

    logs = sorted(project.path(".isosmoke").rglob("service-db-*.log"))
    assert [log.name for log in logs] == [f"service-db-{number}.log" for number in (1, 2, 3)]


@pytest.mark.parametrize("wait", ["{ port = 7000 }", '{ log = "never" }'])
def test_services_die_with_isosmoke(
    tmp_path: Path, image: str, client: "docker.APIClient", wait: str
) -> None:
    """After `kill -9`, no process of a starting or running service lives for long.

    The next run removes the remains of their containers.
    """
    keys = (
        f'services = [{{ name = "db", image = "{image}", ports = [7000], wait = {wait} }}]\n'
        "timeout_seconds = 900"
    )
    project = create_project(tmp_path, "sleep 600", keys)
    with running_isosmoke(project) as running:
        assert available.wait_for(lambda: len(list_pids(client, project)) == 2, 90), read_output(
            project
        )
        running_pids = list_pids(client, project)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()

    assert available.wait_for(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in running_pids)
    )
    subprocess.run(
        project.command("sweep"),
        cwd=project.top,
        env=project.environment(),
        check=True,
        capture_output=True,
    )
    assert list_resources(client, project) == []


@contextmanager
def running_isosmoke(project: Project) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a run, which is killed at the end of the block."""
    with (
        project.path("output").open("wb") as output,
        subprocess.Popen(
            project.command("run"),
            cwd=project.top,
            env=project.environment(),
            stdout=output,
            stderr=output,
        ) as running,
    ):
        try:
            yield running
        finally:
            running.kill()


def read_output(project: Project) -> str:
    """Return the output of the started run so far."""
    return project.path("output").read_text()


def inspect_containers(client: "docker.APIClient", project: Project) -> list[dict[str, Any]]:
    """Return the daemon's details of each container of the project."""
    details = []
    for resource in list_resources(client, project):
        with suppress(NotFound):  # Docker lists a container before it can be inspected
            details += [client.inspect_container(resource["Id"])] if "Image" in resource else []
    return details


def list_pids(client: "docker.APIClient", project: Project) -> list[int]:
    """Return the host's pid of the first process of each running container of the project."""
    states = [detail["State"] for detail in inspect_containers(client, project)]
    return [state["Pid"] for state in states if state["Running"]]


def test_interrupt_ends_wait_for_service(
    tmp_path: Path, image: str, client: "docker.APIClient"
) -> None:
    """Ctrl-C ends the wait for a service that starts."""
    keys = (
        f'services = [{{ name = "db", image = "{image}", command = ["deaf"], ports = [7000], '
        "timeout_seconds = 600 }]"
    )
    project = create_project(tmp_path, "true", keys)
    with running_isosmoke(project) as running:
        assert available.wait_for(lambda: len(list_pids(client, project)) == 2, 90), read_output(
            project
        )
        running.send_signal(signal.SIGINT)
        running.wait(timeout=60)

    assert running.returncode == 130
    assert "NOT_RUN" in read_output(project)
    assert list_resources(client, project) == []


def test_no_reaper_is_started(tmp_path: Path, image: str, client: "docker.APIClient") -> None:
    """Only isosmoke's own containers are created, with any setting of testcontainers."""
    keys = f'services = [{{ name = "db", image = "{image}", ports = [7000] }}]'
    project = create_project(tmp_path, "true", keys)
    before = {container["Id"] for container in client.containers(all=True)}
    record = run_scenario(project, TESTCONTAINERS_RYUK_DISABLED="false", TC_HOST="192.0.2.1")

    assert record["outcome"] == "PASS"
    reapers = [
        container for container in client.containers(all=True) if "ryuk" in container["Image"]
    ]
    assert [reaper for reaper in reapers if reaper["Id"] not in before] == []


def test_docker_is_not_imported_for_scenarios_without_services() -> None:
    """Importing isosmoke and its test API imports neither docker nor testcontainers."""
    code = (
        "import sys, isosmoke, isosmoke.testing; "
        "from isosmoke.execution import scheduler, session; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'docker', 'testcontainers'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
