"""Selection of a daemon, with simulated home directories, variables and sockets."""

import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from isosmoke.engines.daemon_options import build_arguments, build_variables
from isosmoke.engines.docker import client, endpoint
from isosmoke.engines.docker.endpoint import CallerEnvironment, Endpoint
from isosmoke.engines.docker.engine import DockerEngine
from isosmoke.errors import EngineUnavailableError, UsageError
from support.fixture_types import Ordinary

UID = 1000
SERVE = "podman system service --time=0"
OWN_SERVICE = f"{SERVE} unix://$HOME/podman.sock & export CONTAINER_HOST=unix://$HOME/podman.sock"
DEFAULT = "/var/run/docker.sock"
NO_DEFAULT = f"because {DEFAULT} does not exist"


def create_caller(
    home: Path, environment: Mapping[str, str], *sockets: str, uid: int = UID, current: str = ""
) -> CallerEnvironment:
    """Return a caller with several contexts, of which `current` is the current one."""
    for name in ("colima", "orb"):
        _create_context(home, name, f"unix:///{name}.sock")
    _create_context(home, "far", "ssh://me@box")
    if current:
        (home / ".docker/config.json").write_text(json.dumps({"currentContext": current}))
    existing = {Path(template.format(home=home)) for template in sockets}
    return CallerEnvironment(environment, home, uid, existing.__contains__, bool)


def _create_context(home: Path, name: str, host: str) -> None:
    directory = home / ".docker/contexts/meta" / sha256(name.encode()).hexdigest()
    directory.mkdir(parents=True)
    meta = {"Name": name, "Endpoints": {"docker": {"Host": host}}}
    (directory / "meta.json").write_text(json.dumps(meta))


HOST = build_variables("unix:///o", None)
CONTEXT = build_variables(None, "colima")
DEFAULT_CONTEXT = build_variables(None, "default")
OF_OPTION = "context 'colima' of --context)"
SOURCES = [
    ({}, "", f"unix://{DEFAULT} (the default)"),
    ({}, "colima", "unix:///colima.sock (context 'colima' of {home}/.docker/config.json)"),
    ({"DOCKER_CONTEXT": "orb"}, "colima", "unix:///orb.sock (context 'orb' of DOCKER_CONTEXT)"),
    ({"DOCKER_CONTEXT": "default"}, "colima", f"unix://{DEFAULT} (the default)"),
    ({"DOCKER_HOST": "unix:///h", "DOCKER_CONTEXT": "orb"}, "", "unix:///h (DOCKER_HOST)"),
    ({"DOCKER_HOST": "unix:///h", "DOCKER_CONTEXT": "nope"}, "", "unix:///h (DOCKER_HOST)"),
    ({"DOCKER_HOST": "", "DOCKER_CONTEXT": ""}, "", f"unix://{DEFAULT} (the default)"),
    ({"CONTAINER_HOST": "unix:///p"}, "", f"unix://{DEFAULT} (the default)"),
    ({**HOST, "DOCKER_HOST": "unix:///h"}, "orb", "unix:///o (--host)"),
    ({**CONTEXT, "DOCKER_HOST": "unix:///h"}, "orb", "unix:///colima.sock (" + OF_OPTION),
    ({**CONTEXT, "DOCKER_CONTEXT": "orb"}, "", "unix:///colima.sock (" + OF_OPTION),
    ({**DEFAULT_CONTEXT, "DOCKER_CONTEXT": "orb"}, "orb", f"unix://{DEFAULT} (the default)"),
    ({**DEFAULT_CONTEXT, "DOCKER_HOST": "unix:///h"}, "orb", "unix:///h (DOCKER_HOST)"),
]


@pytest.mark.parametrize("sockets", [(), (DEFAULT, "{home}/.orbstack/run/docker.sock")])
@pytest.mark.parametrize(("environment", "current", "expected"), SOURCES)
def test_endpoint_follows_the_docker_command(
    environment: Mapping[str, str],
    current: str,
    expected: str,
    *,
    sockets: tuple[str, ...],
    tmp_path: Path,
) -> None:
    """An option, DOCKER_HOST, the context or the default selects it, and the reason says which."""
    daemon_endpoint = endpoint.find_docker(
        create_caller(tmp_path, environment, *sockets, current=current)
    )

    assert str(daemon_endpoint) == expected.format(home=tmp_path)


@dataclass(frozen=True, slots=True)
class SocketCase:
    """Existing sockets, and the expected socket, daemon and start command."""

    sockets: tuple[str, ...]
    path: str
    daemon: str
    start: str
    environment: Mapping[str, str]


RUNTIME = {"XDG_RUNTIME_DIR": "/runtime"}
PODMAN_SOCKET = "/run/podman/podman.sock"
SOCKET_CASES = [
    SocketCase(("/runtime/docker.sock",), "", "rootless Docker", "systemctl --user", RUNTIME),
    SocketCase(("/run/user/1000/docker.sock",), "", "rootless Docker", "systemctl --user", {}),
    SocketCase(("/run/user/1000/docker.sock",), "", "rootless Docker", "systemctl --user", RUNTIME),
    SocketCase(("{home}/.docker/desktop/docker.sock",), "", "Docker Desktop", "docker-desktop", {}),
    SocketCase(("{home}/.docker/run/docker.sock",), "", "Docker Desktop", "docker-desktop", {}),
    SocketCase(("{home}/.colima/default/docker.sock",), "", "Colima", "colima start", {}),
    SocketCase(("{home}/.config/colima/default/docker.sock",), "", "Colima", "colima start", {}),
    SocketCase(
        ("/c/colima/default/docker.sock",), "", "Colima", "colima", {"XDG_CONFIG_HOME": "/c"}
    ),
    SocketCase(("{home}/.orbstack/run/docker.sock",), "", "OrbStack", "orb start", {}),
    SocketCase(("/runtime/podman/podman.sock",), "", "rootless Podman", "--user", RUNTIME),
    SocketCase((PODMAN_SOCKET,), "", "Podman", "sudo systemctl enable", {}),
    SocketCase(
        (PODMAN_SOCKET, "{home}/.orbstack/run/docker.sock", "/run/user/1000/docker.sock"),
        "/run/user/1000/docker.sock",
        "rootless Docker",
        "systemctl --user start docker",
        {},
    ),
]


@pytest.mark.parametrize("case", SOCKET_CASES, ids=lambda case: case.sockets[0])
def test_known_socket_replaces_a_missing_default(case: SocketCase, tmp_path: Path) -> None:
    """Another socket is used only if the default does not exist, and the reason says so."""
    daemon_endpoint = endpoint.find_docker(create_caller(tmp_path, case.environment, *case.sockets))

    expected_path = (case.path or case.sockets[0]).format(home=tmp_path)
    assert str(daemon_endpoint) == f"unix://{expected_path} ({case.daemon}, {NO_DEFAULT})"
    assert case.start in daemon_endpoint.remedy


OWN = f"/run/user/{UID}/podman/podman.sock"
PODMAN_SOURCES = [
    (UID, {}, (OWN, PODMAN_SOCKET), f"unix://{OWN} (the default)"),
    (UID, {}, (), f"unix://{OWN} (the default)"),
    (UID, {}, (PODMAN_SOCKET,), f"unix://{OWN} (the default)"),
    (UID, RUNTIME, (), "unix:///runtime/podman/podman.sock (the default)"),
    (UID, RUNTIME, (OWN,), f"unix://{OWN} (the default)"),
    (0, {}, (OWN, PODMAN_SOCKET), f"unix://{PODMAN_SOCKET} (the default)"),
    (0, {}, ("/run/user/0/podman/podman.sock",), f"unix://{PODMAN_SOCKET} (the default)"),
    (UID, {"CONTAINER_HOST": "unix:///p"}, (OWN,), "unix:///p (CONTAINER_HOST)"),
    (UID, {"DOCKER_HOST": "unix:///d"}, (OWN,), f"unix://{OWN} (the default)"),
    (UID, {**HOST, "CONTAINER_HOST": "unix:///p"}, (OWN,), "unix:///o (--host)"),
    (UID, CONTEXT, (OWN,), f"unix://{OWN} (the default)"),
]


@pytest.mark.parametrize(("uid", "environment", "sockets", "expected"), PODMAN_SOURCES)
def test_podman_belongs_to_the_caller(
    uid: int,
    environment: Mapping[str, str],
    *,
    sockets: tuple[str, ...],
    expected: str,
    tmp_path: Path,
) -> None:
    """An option or CONTAINER_HOST selects it, else it is the caller's own service."""
    assert (
        str(endpoint.find_podman(create_caller(tmp_path, environment, *sockets, uid=uid)))
        == expected
    )


@pytest.mark.parametrize(
    ("find", "uid", "others", "remedy"),
    [
        (endpoint.find_docker, UID, {}, "sudo systemctl start docker"),
        (endpoint.find_docker, UID, {"systemd": False}, "sudo -b dockerd"),
        (
            endpoint.find_docker,
            UID,
            {"installed": "podman".__eq__},
            "sudo apt-get install docker.io",
        ),
        (endpoint.find_podman, UID, {}, "systemctl --user enable --now podman.socket"),
        (endpoint.find_podman, UID, {"systemd": False}, OWN_SERVICE),
        (endpoint.find_podman, UID, {"installed": "dockerd".__eq__}, "sudo apt-get install podman"),
        (endpoint.find_podman, 0, {}, "sudo systemctl enable --now podman.socket"),
        (endpoint.find_podman, 0, {"systemd": False}, f"sudo -b {SERVE}"),
    ],
)
def test_missing_daemon_has_a_remedy(
    find: Callable[[CallerEnvironment], Endpoint],
    uid: int,
    others: Mapping[str, Any],
    *,
    remedy: str,
    tmp_path: Path,
) -> None:
    """The command depends on whether systemd runs and the program is installed."""
    assert find(replace(create_caller(tmp_path, {}, uid=uid), **others)).remedy == remedy


@pytest.mark.parametrize(
    ("environment", "named", "remedy"),
    [
        ({"DOCKER_HOST": f"{far}"}, f"{far} (DOCKER_HOST)", "unset DOCKER_HOST")
        for far in ("ssh://me@box", "tcp://127.0.0.1:2375", "npipe:////./pipe/x")
    ]
    + [
        (
            {"DOCKER_CONTEXT": "far"},
            "ssh://me@box (context 'far' of DOCKER_CONTEXT)",
            "unset DOCKER_CONTEXT",
        ),
        (
            build_variables(None, "far"),
            "ssh://me@box (context 'far' of --context)",
            "omit --context",
        ),
        (
            build_variables("tcp://box:1", None),
            "tcp://box:1 (--host)",
            "omit --host",
        ),
    ],
)
def test_endpoint_without_a_unix_socket_is_refused(
    environment: Mapping[str, str], named: str, remedy: str, tmp_path: Path
) -> None:
    """A remote daemon is refused in one line with its URL and the setting that names it."""
    with pytest.raises(EngineUnavailableError) as caught:
        endpoint.find_docker(create_caller(tmp_path, environment))

    assert named in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint == remedy


def test_remote_podman_is_refused(tmp_path: Path) -> None:
    """A remote Podman is refused in the same way as a remote Docker."""
    with pytest.raises(EngineUnavailableError, match=r"ssh://box \(CONTAINER_HOST\)"):
        endpoint.find_podman(create_caller(tmp_path, {"CONTAINER_HOST": "ssh://box"}))


@pytest.mark.parametrize(
    ("environment", "by", "remedy"),
    [
        (build_variables(None, "nope"), "--context", "omit --context"),
        ({"DOCKER_CONTEXT": "nope"}, "DOCKER_CONTEXT", "unset DOCKER_CONTEXT"),
        ({}, "{home}/.docker/config.json", "docker context use default"),
    ],
)
def test_unknown_context_is_refused(
    environment: Mapping[str, str], by: str, remedy: str, tmp_path: Path
) -> None:
    """The error names the source of a missing context, and no other daemon is used."""
    with pytest.raises(EngineUnavailableError) as caught:
        endpoint.find_docker(create_caller(tmp_path, environment, DEFAULT, current="nope"))

    named = by.format(home=tmp_path)
    assert caught.value.message.startswith(f"{named} names the Docker context 'nope', which")
    assert caught.value.hint == remedy


def test_host_and_context_together_are_refused() -> None:
    """As in the docker command, the two options cannot be combined."""
    with pytest.raises(UsageError, match="--host and --context"):
        build_variables("unix:///h", "colima")


@pytest.mark.parametrize(
    ("environment", "arguments"),
    [
        (HOST, ("--host", "unix:///o")),
        (CONTEXT, ("--context", "colima")),
        ({"DOCKER_HOST": "unix:///h"}, ()),
    ],
)
def test_options_are_repeated(environment: Mapping[str, str], arguments: tuple[str, ...]) -> None:
    """Options are repeated as options, and variables are not repeated."""
    assert build_arguments(environment) == arguments


def test_unreadable_configuration_is_refused(tmp_path: Path) -> None:
    """The error names a configuration file that is not JSON."""
    (tmp_path / "config.json").write_text("{")

    with pytest.raises(EngineUnavailableError, match=r"config\.json cannot be read"):
        endpoint.find_docker(CallerEnvironment({"DOCKER_CONFIG": str(tmp_path)}, tmp_path, UID))


def test_testcontainers_get_the_same_daemon(tmp_path: Path) -> None:
    """The variables override earlier settings of docker-py, including TLS."""
    daemon_endpoint = endpoint.find_docker(
        create_caller(tmp_path, {"DOCKER_HOST": f"unix://{tmp_path}/x.sock"})
    )
    earlier = {"DOCKER_HOST": "tcp://elsewhere:1", "DOCKER_TLS_VERIFY": "1"}

    environment = {**earlier, **endpoint.build_testcontainers_environment(daemon_endpoint)}

    assert environment == {
        "DOCKER_HOST": daemon_endpoint.url,
        "DOCKER_TLS_VERIFY": "",
        "TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE": f"{tmp_path}/x.sock",
    }


def connection_error(daemon_endpoint: Endpoint) -> EngineUnavailableError:
    """Return the error of an endpoint that cannot be reached."""
    with pytest.raises(EngineUnavailableError) as caught:
        endpoint.check_connection(daemon_endpoint, 1.0)
    assert "\n" not in f"{caught.value.message}{caught.value.hint}"
    return caught.value


def test_dead_socket_is_reported(tmp_path: Path) -> None:
    """The leftover socket of a dead daemon is distinguished from a missing one."""
    path = tmp_path / ".colima/default/docker.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    error = connection_error(
        endpoint.find_docker(CallerEnvironment({"DOCKER_HOST": f"unix://{path}"}, tmp_path, UID))
    )

    assert "no process listens" in error.message
    assert error.hint == "colima start, or unset DOCKER_HOST"


def test_missing_socket_of_a_context_is_reported(tmp_path: Path) -> None:
    """The error names the context of a missing daemon, and the hint restores the default."""
    error = connection_error(endpoint.find_docker(create_caller(tmp_path, {}, current="colima")))

    assert "context 'colima'" in error.message
    assert "No such file" in error.message
    assert "docker context use default" in error.hint


@pytest.mark.parametrize(("group", "remedy"), [(0, "only root"), (1, "usermod -aG daemon")])
def test_forbidden_socket_names_its_group(
    group: int, remedy: str, tmp_path: Path, ordinary: Ordinary
) -> None:
    """The hint names the group to join, unless that is root's."""
    if os.getuid() != 0:
        pytest.skip("only root can give a socket away")
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(path))
        os.chown(path, 0, group)
        path.chmod(0)
        output = ordinary(_CONNECT, path)

    assert output.startswith("Permission denied / ")
    assert remedy in output


_CONNECT = """
import sys
from isosmoke.engines.docker import endpoint
from isosmoke.errors import EngineUnavailableError
socket_endpoint = endpoint.Endpoint(f"unix://{sys.argv[1]}", "the default", "start it")
try:
    endpoint.check_connection(socket_endpoint, 1.0)
except EngineUnavailableError as error:
    print(error.message.rpartition(": ")[2], "/", error.hint)
"""


def test_preflight_names_the_silent_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that accepts connections and never answers is an error without a library's text."""
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        daemon_endpoint = Endpoint(f"unix://{tmp_path}/s", "the default", "start it")

        with pytest.raises(EngineUnavailableError) as caught:
            DockerEngine(lambda _: daemon_endpoint).preflight()

    assert caught.value.message == (
        f"the daemon at {daemon_endpoint} does not state its version: it did not answer in time"
    )
    assert "restart it" in caught.value.hint


def test_preflight_names_the_missing_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names an unreachable daemon and the setting that names it."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(EngineUnavailableError) as caught:
        DockerEngine().preflight()

    assert f"unix://{tmp_path}/none.sock (DOCKER_HOST)" in caught.value.message
    assert "unset DOCKER_HOST" in caught.value.hint


_EXISTS = """
import sys
from pathlib import Path
from isosmoke.engines.docker.endpoint import is_socket
print(is_socket(Path(sys.argv[1])))
"""


def test_invisible_socket_counts_as_missing(tmp_path: Path, ordinary: Ordinary) -> None:
    """A socket in an inaccessible directory counts as missing."""
    directory = tmp_path / "closed"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(directory / "s"))
        before = ordinary(_EXISTS, directory / "s")
        directory.chmod(0)
        after = ordinary(_EXISTS, directory / "s")
    directory.chmod(0o700)

    assert (before, after) == ("True", "False")
