"""Which daemon a command talks to, and why that one: as the docker command decides it.

What a person's `docker ps` talks to is what isosmoke talks to. Only where that is the default
socket and does not exist are other known sockets looked for, and the reason says so.
"""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from grp import getgrgid
from hashlib import sha256
from pathlib import Path
from typing import Any

from isosmoke.errors import EngineUnavailableError, UsageError

DEFAULT = "unix:///var/run/docker.sock"

_UNIX = "unix://"
_HOST, _CONTEXT = "ISOSMOKE_HOST", "ISOSMOKE_CONTEXT"
_OPTIONS = {_HOST: "--host", _CONTEXT: "--context"}
_USUAL = "default"
_SYSTEM = ":/usr/local/sbin:/usr/sbin:/sbin"
_BOOTED = Path("/run/systemd/system")
"""Is there where systemd runs (sd_booted(3))."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The socket of a daemon on this machine, what named it, and what mends it if it is dead."""

    url: str
    reason: str
    remedy: str = ""

    @property
    def path(self) -> str:
        return self.url.removeprefix(_UNIX)

    def __str__(self) -> str:
        return f"{self.url} ({self.reason})"


def _is_socket(path: Path) -> bool:
    """Whether there is one that can be seen: another user's folder is no error."""
    with suppress(OSError):
        return path.is_socket()
    return False


def _is_installed(program: str) -> bool:
    """Also where a daemon's program lies, which is not on everybody's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}{_SYSTEM}") is not None


@dataclass(frozen=True, slots=True)
class Place:
    """What decides over the endpoint: a caller's variables, home and uid, and which sockets are.

    What mends a missing one depends on which programs are there, and on whether systemd runs.
    """

    environment: Mapping[str, str]
    home: Path
    uid: int
    exists: Callable[[Path], bool] = _is_socket
    installed: Callable[[str], bool] = _is_installed
    systemd: bool = True

    @classmethod
    def here(cls) -> "Place":
        """That of this process."""
        return cls(os.environ, Path.home(), os.getuid(), systemd=_BOOTED.is_dir())


@dataclass(frozen=True, slots=True)
class _Start:
    """How a daemon is started where there is no systemd, and how its program is got."""

    program: str
    by_hand: str
    install: str


@dataclass(frozen=True, slots=True)
class _Daemon:
    """A known daemon: where it listens, the likeliest first, and the command that starts it."""

    name: str
    start: str
    sockets: tuple[str, ...]
    otherwise: _Start | None = None

    def remedy(self, place: Place) -> str:
        """The command that starts it here, or that gets it."""
        if self.otherwise is None:
            return self.start
        if not place.installed(self.otherwise.program):
            return self.otherwise.install
        return self.start if place.systemd else self.otherwise.by_hand

    def paths(self, place: Place) -> Iterator[Path]:
        """Where it listens here; what the environment must name and does not is left out."""
        given = place.environment
        folders = {
            "home": str(place.home),
            "user": f"/run/user/{place.uid}",
            "runtime": given.get("XDG_RUNTIME_DIR") or f"/run/user/{place.uid}",
            "config": given.get("XDG_CONFIG_HOME") or f"{place.home}/.config",
        }
        yield from dict.fromkeys(Path(one.format(**folders)) for one in self.sockets)


_DOCKER = _Daemon(
    "Docker",
    "sudo systemctl start docker",
    (DEFAULT.removeprefix(_UNIX),),
    _Start("dockerd", "sudo -b dockerd", "sudo apt-get install docker.io"),
)
_SERVE, _GET = "podman system service --time=0", "sudo apt-get install podman"
_OWN = "unix://$HOME/podman.sock"
"""Named, for where nobody has a runtime folder, Podman would listen below /tmp."""

_PODMAN = _Daemon(
    "Podman",
    "sudo systemctl enable --now podman.socket",
    ("/run/podman/podman.sock",),
    _Start("podman", f"sudo -b {_SERVE}", _GET),
)
_ROOTLESS_PODMAN = _Daemon(
    "rootless Podman",
    "systemctl --user enable --now podman.socket",
    ("{runtime}/podman/podman.sock", "{user}/podman/podman.sock"),
    _Start("podman", f"{_SERVE} {_OWN} & export CONTAINER_HOST={_OWN}", _GET),
)
_OTHERS = (
    _Daemon(
        "rootless Docker",
        "systemctl --user start docker",
        ("{runtime}/docker.sock", "{user}/docker.sock"),
    ),
    _Daemon(
        "Docker Desktop",
        "systemctl --user start docker-desktop",
        ("{home}/.docker/desktop/docker.sock", "{home}/.docker/run/docker.sock"),
    ),
    _Daemon(
        "Colima",
        "colima start",
        ("{home}/.colima/default/docker.sock", "{config}/colima/default/docker.sock"),
    ),
    _Daemon("OrbStack", "orb start", ("{home}/.orbstack/run/docker.sock",)),
    _ROOTLESS_PODMAN,
    _PODMAN,
)


def docker(place: Place) -> Endpoint:
    """By option, `DOCKER_HOST` or context, else the default socket, else another that is there."""
    return _named_docker(place) or _first(place, _DOCKER, _OTHERS)


def podman(place: Place) -> Endpoint:
    """`--host`, `CONTAINER_HOST`, else the caller's own: rootless for anybody but root."""
    usual = _ROOTLESS_PODMAN if place.uid else _PODMAN
    return _named_host(place, _HOST, "CONTAINER_HOST") or _first(place, usual, ())


def asked(host: str | None, context: str | None) -> Mapping[str, str]:
    """The variables by which these options hold for a whole process, and for its children."""
    if host and context:
        raise UsageError("--host and --context each name a daemon", hint="leave one of them out")
    return {_HOST: host or "", _CONTEXT: context or ""}


def options(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The words by which a command line asks for the same daemon again."""
    given = ((option, environment.get(name)) for name, option in _OPTIONS.items())
    return tuple(word for option, value in given if value for word in (option, value))


def testcontainers(found: Endpoint) -> Mapping[str, str]:
    """The variables by which testcontainers, and docker-py's `from_env`, talk to `found` too.

    `tc.host` of `~/.testcontainers.properties` would still win over them.
    """
    return {
        "DOCKER_HOST": found.url,
        "DOCKER_TLS_VERIFY": "",
        "TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE": found.path,
    }


def reach(found: Endpoint, seconds: float) -> None:
    """Return when somebody listens; Docker's own client would say less of what is in the way."""
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(seconds)
        try:
            trial.connect(found.path)
        except OSError as error:
            raise EngineUnavailableError(
                f"no daemon at {found}: {_why(error)}", hint=_mending(found, error)
            ) from error


def _why(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "the socket is there, but nobody listens"
    return error.strerror or str(error)


def _mending(found: Endpoint, error: OSError) -> str:
    if not isinstance(error, PermissionError):
        return found.remedy
    group = _group(Path(found.path))
    if group == "root":
        return "it is root's alone: `docker context use` another, or choose --engine bubblewrap"
    return f"sudo usermod -aG {group} $USER, then log in again"


def _group(path: Path) -> str:
    """The group that may use a socket; Docker's, where nobody may look."""
    with suppress(OSError, KeyError):
        return getgrgid(path.stat().st_gid).gr_name
    return "docker"


def _first(place: Place, usual: _Daemon, others: tuple[_Daemon, ...]) -> Endpoint:
    """The usual one, unless it is not there and another is."""
    paths = list(usual.paths(place))
    there = next(filter(place.exists, paths), None)
    if there is not None:
        return Endpoint(f"{_UNIX}{there}", "the default", usual.remedy(place))
    for daemon in others:
        for path in filter(place.exists, daemon.paths(place)):
            why = f"{daemon.name}'s, for there is no {paths[0]}"
            return Endpoint(f"{_UNIX}{path}", why, daemon.remedy(place))
    return Endpoint(f"{_UNIX}{paths[0]}", "the default", usual.remedy(place))


def _chosen(place: Place, host: str, by: str, otherwise: str) -> Endpoint:
    """What somebody named `by` a setting, on this machine; `otherwise` is how to unname it."""
    if not host.startswith(_UNIX):
        raise EngineUnavailableError(
            f"the daemon {host} ({by}) is not on a unix socket of this machine, as it must be",
            hint=otherwise,
        )
    path = Path(host.removeprefix(_UNIX))
    known = (one.remedy(place) for one in (_DOCKER, *_OTHERS) if path in one.paths(place))
    start = next(known, "start the daemon that listens there")
    return Endpoint(host, by, f"{start}, or {otherwise}")


def _named_docker(place: Place) -> Endpoint | None:
    """What an option, a variable or docker's configuration names; None for docker's default."""
    asks_for_context = place.environment.get(_CONTEXT, "") not in ("", _USUAL)
    host = None if asks_for_context else _named_host(place, _HOST, "DOCKER_HOST")
    return host or _of_context(place)


def _named_host(place: Place, *variables: str) -> Endpoint | None:
    """What the first of them that is set names."""
    for variable in variables:
        if host := place.environment.get(variable):
            return _chosen(place, host, *_spoken(variable))
    return None


def _spoken(variable: str) -> tuple[str, str]:
    """What the caller knows it by, and how to be without it."""
    option = _OPTIONS.get(variable)
    return (option, f"leave {option} out") if option else (variable, f"unset {variable}")


def _of_context(place: Place) -> Endpoint | None:
    config = Path(place.environment.get("DOCKER_CONFIG") or place.home / ".docker")
    name, by, otherwise = _context(place, config / "config.json")
    if name == _USUAL:
        return None
    try:
        host = _context_host(config, name)
    except (KeyError, TypeError) as error:
        message = f"{by} names the Docker context '{name}', which does not exist"
        raise EngineUnavailableError(message, hint=otherwise) from error
    return _chosen(place, host, f"context '{name}' of {by}", otherwise)


def _context(place: Place, file: Path) -> tuple[str, str, str]:
    """Its name, what names it, and how to be without it."""
    for variable in (_CONTEXT, "DOCKER_CONTEXT"):
        if name := place.environment.get(variable):
            return name, *_spoken(variable)
    name = _json(file).get("currentContext") or _USUAL
    return name, str(file), "docker context use default"


def _context_host(config: Path, name: str) -> str:
    folder = config / "contexts/meta" / sha256(name.encode()).hexdigest()
    return str(_json(folder / "meta.json")["Endpoints"]["docker"]["Host"])


def _json(file: Path) -> dict[str, Any]:
    """What a file of the docker command holds; empty where there is none."""
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise EngineUnavailableError(f"{file} cannot be read: {error}") from error
    return content if isinstance(content, dict) else {}
