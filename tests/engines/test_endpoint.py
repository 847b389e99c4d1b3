"""Which daemon is talked to: over faked homes, variables and sockets."""

import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from isosmoke.engines.docker import endpoint
from isosmoke.engines.docker.endpoint import Endpoint, Place
from isosmoke.engines.docker.engine import DockerEngine
from isosmoke.errors import EngineUnavailableError, UsageError
from support.fixture_types import Ordinary

UID = 1000
SERVE = "podman system service --time=0"
OWN_SERVICE = f"{SERVE} unix://$HOME/podman.sock & export CONTAINER_HOST=unix://$HOME/podman.sock"
DEFAULT = "/var/run/docker.sock"
NONE = f"for there is no {DEFAULT}"


def place(
    home: Path, environment: Mapping[str, str], *sockets: str, uid: int = UID, current: str = ""
) -> Place:
    """A caller with two contexts, of which `current` may be the current one."""
    for name in ("colima", "orb"):
        _context(home, name, f"unix:///{name}.sock")
    _context(home, "far", "ssh://me@box")
    if current:
        (home / ".docker/config.json").write_text(json.dumps({"currentContext": current}))
    there = {Path(one.format(home=home)) for one in sockets}
    return Place(environment, home, uid, there.__contains__, bool)


def _context(home: Path, name: str, host: str) -> None:
    folder = home / ".docker/contexts/meta" / sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": name, "Endpoints": {"docker": {"Host": host}}}
    (folder / "meta.json").write_text(json.dumps(meta))


HOST = endpoint.asked("unix:///o", None)
CONTEXT = endpoint.asked(None, "colima")
USUAL = endpoint.asked(None, "default")
OF_OPTION = "context 'colima' of --context)"
NAMED = [
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
    ({**USUAL, "DOCKER_CONTEXT": "orb"}, "orb", f"unix://{DEFAULT} (the default)"),
    ({**USUAL, "DOCKER_HOST": "unix:///h"}, "orb", "unix:///h (DOCKER_HOST)"),
]


@pytest.mark.parametrize("there", [(), (DEFAULT, "{home}/.orbstack/run/docker.sock")])
@pytest.mark.parametrize(("environment", "current", "expected"), NAMED)
def test_endpoint_is_the_one_the_docker_command_uses(
    environment: Mapping[str, str],
    current: str,
    expected: str,
    *,
    there: tuple[str, ...],
    tmp_path: Path,
) -> None:
    """It comes from an option, DOCKER_HOST, the context or the default, and says from which."""
    found = endpoint.docker(place(tmp_path, environment, *there, current=current))

    assert str(found) == expected.format(home=tmp_path)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Sockets that are there, and which of them is taken, whose, and started how."""

    sockets: tuple[str, ...]
    path: str
    whose: str
    start: str
    environment: Mapping[str, str]


RUNTIME = {"XDG_RUNTIME_DIR": "/runtime"}
PODMAN_SOCKET = "/run/podman/podman.sock"
ELSEWHERE = [
    Elsewhere(("/runtime/docker.sock",), "", "rootless Docker", "systemctl --user", RUNTIME),
    Elsewhere(("/run/user/1000/docker.sock",), "", "rootless Docker", "systemctl --user", {}),
    Elsewhere(("/run/user/1000/docker.sock",), "", "rootless Docker", "systemctl --user", RUNTIME),
    Elsewhere(("{home}/.docker/desktop/docker.sock",), "", "Docker Desktop", "docker-desktop", {}),
    Elsewhere(("{home}/.docker/run/docker.sock",), "", "Docker Desktop", "docker-desktop", {}),
    Elsewhere(("{home}/.colima/default/docker.sock",), "", "Colima", "colima start", {}),
    Elsewhere(("{home}/.config/colima/default/docker.sock",), "", "Colima", "colima start", {}),
    Elsewhere(
        ("/c/colima/default/docker.sock",), "", "Colima", "colima", {"XDG_CONFIG_HOME": "/c"}
    ),
    Elsewhere(("{home}/.orbstack/run/docker.sock",), "", "OrbStack", "orb start", {}),
    Elsewhere(("/runtime/podman/podman.sock",), "", "rootless Podman", "--user", RUNTIME),
    Elsewhere((PODMAN_SOCKET,), "", "Podman", "sudo systemctl enable", {}),
    Elsewhere(
        (PODMAN_SOCKET, "{home}/.orbstack/run/docker.sock", "/run/user/1000/docker.sock"),
        "/run/user/1000/docker.sock",
        "rootless Docker",
        "systemctl --user start docker",
        {},
    ),
]


@pytest.mark.parametrize("one", ELSEWHERE, ids=lambda one: one.sockets[0])
def test_another_known_socket_stands_in_for_a_missing_default(
    one: Elsewhere, tmp_path: Path
) -> None:
    """It is taken only where the default is not there, and the reason says whose it is and why."""
    found = endpoint.docker(place(tmp_path, one.environment, *one.sockets))

    wanted = (one.path or one.sockets[0]).format(home=tmp_path)
    assert str(found) == f"unix://{wanted} ({one.whose}'s, {NONE})"
    assert one.start in found.remedy


OWN = f"/run/user/{UID}/podman/podman.sock"
PODMANS = [
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


@pytest.mark.parametrize(("uid", "environment", "sockets", "expected"), PODMANS)
def test_podman_is_the_callers_own(
    uid: int,
    environment: Mapping[str, str],
    *,
    sockets: tuple[str, ...],
    expected: str,
    tmp_path: Path,
) -> None:
    """The option, CONTAINER_HOST, else the caller's own service, never another's."""
    assert str(endpoint.podman(place(tmp_path, environment, *sockets, uid=uid))) == expected


@pytest.mark.parametrize(
    ("find", "uid", "others", "remedy"),
    [
        (endpoint.docker, UID, {}, "sudo systemctl start docker"),
        (endpoint.docker, UID, {"systemd": False}, "sudo -b dockerd"),
        (endpoint.docker, UID, {"installed": "podman".__eq__}, "sudo apt-get install docker.io"),
        (endpoint.podman, UID, {}, "systemctl --user enable --now podman.socket"),
        (endpoint.podman, UID, {"systemd": False}, OWN_SERVICE),
        (endpoint.podman, UID, {"installed": "dockerd".__eq__}, "sudo apt-get install podman"),
        (endpoint.podman, 0, {}, "sudo systemctl enable --now podman.socket"),
        (endpoint.podman, 0, {"systemd": False}, f"sudo -b {SERVE}"),
    ],
)
def test_a_daemon_that_is_not_there_has_its_remedy(
    find: Callable[[Place], Endpoint],
    uid: int,
    others: Mapping[str, Any],
    *,
    remedy: str,
    tmp_path: Path,
) -> None:
    """It is the command for this machine: with systemd or without, or what gets the program."""
    assert find(replace(place(tmp_path, {}, uid=uid), **others)).remedy == remedy


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
            endpoint.asked(None, "far"),
            "ssh://me@box (context 'far' of --context)",
            "leave --context out",
        ),
        (endpoint.asked("tcp://box:1", None), "tcp://box:1 (--host)", "leave --host out"),
    ],
)
def test_endpoint_that_is_no_unix_socket_is_refused(
    environment: Mapping[str, str], named: str, remedy: str, tmp_path: Path
) -> None:
    """A daemon elsewhere is refused in one line that names it and what named it."""
    with pytest.raises(EngineUnavailableError) as caught:
        endpoint.docker(place(tmp_path, environment))

    assert named in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint == remedy


def test_remote_podman_is_refused(tmp_path: Path) -> None:
    """A Podman elsewhere is refused as a Docker elsewhere is."""
    with pytest.raises(EngineUnavailableError, match=r"ssh://box \(CONTAINER_HOST\)"):
        endpoint.podman(place(tmp_path, {"CONTAINER_HOST": "ssh://box"}))


@pytest.mark.parametrize(
    ("environment", "by", "remedy"),
    [
        (endpoint.asked(None, "nope"), "--context", "leave --context out"),
        ({"DOCKER_CONTEXT": "nope"}, "DOCKER_CONTEXT", "unset DOCKER_CONTEXT"),
        ({}, "{home}/.docker/config.json", "docker context use default"),
    ],
)
def test_unknown_context_is_refused(
    environment: Mapping[str, str], by: str, remedy: str, tmp_path: Path
) -> None:
    """A context that does not exist is an error that says who named it, never another daemon."""
    with pytest.raises(EngineUnavailableError) as caught:
        endpoint.docker(place(tmp_path, environment, DEFAULT, current="nope"))

    named = by.format(home=tmp_path)
    assert caught.value.message.startswith(f"{named} names the Docker context 'nope', which")
    assert caught.value.hint == remedy


def test_host_and_context_together_are_refused() -> None:
    """Two options that each name a daemon are a mistake, as they are to docker."""
    with pytest.raises(UsageError, match="--host and --context"):
        endpoint.asked("unix:///h", "colima")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (HOST, ("--host", "unix:///o")),
        (CONTEXT, ("--context", "colima")),
        ({"DOCKER_HOST": "unix:///h"}, ()),
    ],
)
def test_options_are_said_again_as_they_were_given(
    environment: Mapping[str, str], words: tuple[str, ...]
) -> None:
    """What an option named is named by it again; what a variable named is not."""
    assert endpoint.options(environment) == words


def test_unreadable_configuration_is_refused(tmp_path: Path) -> None:
    """A configuration that is no JSON is an error that names the file."""
    (tmp_path / "config.json").write_text("{")

    with pytest.raises(EngineUnavailableError, match=r"config\.json cannot be read"):
        endpoint.docker(Place({"DOCKER_CONFIG": str(tmp_path)}, tmp_path, UID))


def test_testcontainers_get_the_same_daemon(tmp_path: Path) -> None:
    """By those variables alone docker-py finds the endpoint, whatever TLS was asked for before."""
    found = endpoint.docker(place(tmp_path, {"DOCKER_HOST": f"unix://{tmp_path}/x.sock"}))
    before = {"DOCKER_HOST": "tcp://elsewhere:1", "DOCKER_TLS_VERIFY": "1"}

    given = {**before, **endpoint.testcontainers(found)}

    assert given == {
        "DOCKER_HOST": found.url,
        "DOCKER_TLS_VERIFY": "",
        "TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE": f"{tmp_path}/x.sock",
    }


def refusal(found: Endpoint) -> EngineUnavailableError:
    """Why an endpoint cannot be reached."""
    with pytest.raises(EngineUnavailableError) as caught:
        endpoint.reach(found, 1.0)
    assert "\n" not in f"{caught.value.message}{caught.value.hint}"
    return caught.value


def test_socket_that_nobody_listens_on_is_told(tmp_path: Path) -> None:
    """What a dead daemon left is not taken for a missing one, and what starts it is said."""
    path = tmp_path / ".colima/default/docker.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    told = refusal(endpoint.docker(Place({"DOCKER_HOST": f"unix://{path}"}, tmp_path, UID)))

    assert "nobody listens" in told.message
    assert told.hint == "colima start, or unset DOCKER_HOST"


def test_socket_of_a_context_that_is_gone_is_told(tmp_path: Path) -> None:
    """A context whose daemon is gone says which context, and how to have the default again."""
    told = refusal(endpoint.docker(place(tmp_path, {}, current="colima")))

    assert "context 'colima'" in told.message
    assert "No such file" in told.message
    assert "docker context use default" in told.hint


@pytest.mark.parametrize(("group", "remedy"), [(0, "root's alone"), (1, "usermod -aG daemon")])
def test_socket_that_may_not_be_used_names_its_group(
    group: int, remedy: str, tmp_path: Path, ordinary: Ordinary
) -> None:
    """Who is not allowed is told the group to join, unless that is root's."""
    if os.getuid() != 0:
        pytest.skip("only root can give a socket away")
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(path))
        os.chown(path, 0, group)
        path.chmod(0)
        told = ordinary(_REACH, path)

    assert told.startswith("Permission denied / ")
    assert remedy in told


_REACH = """
import sys
from isosmoke.engines.docker import endpoint
from isosmoke.errors import EngineUnavailableError
try:
    endpoint.reach(endpoint.Endpoint(f"unix://{sys.argv[1]}", "the default", "start it"), 1.0)
except EngineUnavailableError as error:
    print(error.message.rpartition(": ")[2], "/", error.hint)
"""


def test_preflight_says_which_daemon_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreachable daemon is named, with what named it and what to do."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(EngineUnavailableError) as caught:
        DockerEngine().preflight()

    assert f"unix://{tmp_path}/none.sock (DOCKER_HOST)" in caught.value.message
    assert "unset DOCKER_HOST" in caught.value.hint


_EXISTS = """
import sys
from pathlib import Path
from isosmoke.engines.docker.endpoint import Place
print(Place.here().exists(Path(sys.argv[1])))
"""


def test_socket_that_cannot_be_looked_at_is_none(tmp_path: Path, ordinary: Ordinary) -> None:
    """A socket in a folder that nobody may enter is as good as none, and no error."""
    folder = tmp_path / "closed"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(folder / "s"))
        there = ordinary(_EXISTS, folder / "s")
        folder.chmod(0)
        closed = ordinary(_EXISTS, folder / "s")
    folder.chmod(0o700)

    assert (there, closed) == ("True", "False")
