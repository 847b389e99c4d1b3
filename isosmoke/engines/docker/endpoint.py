"""Selection of the daemon that a command talks to, by the same rules as the docker command.

isosmoke talks to the daemon that the user's `docker ps` talks to. Other known sockets are tried
only if that is the default socket and it does not exist; the reason then says so.
"""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from grp import getgrgid
from hashlib import sha256
from pathlib import Path
from typing import Any

from isosmoke.dataclass import dataclass
from isosmoke.engines.daemon_options import CONTEXT, HOST, OPTIONS
from isosmoke.errors import EngineUnavailableError

DEFAULT_URL = "unix:///var/run/docker.sock"

_UNIX = "unix://"
_DEFAULT_CONTEXT = "default"
_SYSTEM_PATH = ":/usr/local/sbin:/usr/sbin:/sbin"
_SYSTEMD_DIRECTORY = Path("/run/systemd/system")
"""A directory that exists if systemd runs (sd_booted(3))."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A daemon's socket on this machine, the reason for choosing it, and its remedy if dead."""

    url: str
    reason: str
    remedy: str = ""

    @property
    def path(self) -> str:
        return self.url.removeprefix(_UNIX)

    def __str__(self) -> str:
        return f"{self.url} ({self.reason})"


def is_socket(path: Path) -> bool:
    """Return whether a path is a visible socket; another user's directory is not an error."""
    with suppress(OSError):
        return path.is_socket()
    return False


def is_installed(program: str) -> bool:
    """Return whether a program is installed, including the directories of daemons outside PATH."""
    return (
        shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}{_SYSTEM_PATH}")
        is not None
    )


@dataclass(frozen=True, slots=True)
class CallerEnvironment:
    """The facts that determine the endpoint: the caller's variables, home and UID, and the sockets.

    The remedy for a missing socket depends on the installed programs and on whether systemd runs.
    """

    environment: Mapping[str, str]
    home: Path
    uid: int
    exists: Callable[[Path], bool] = is_socket
    installed: Callable[[str], bool] = is_installed
    systemd: bool = True

    @classmethod
    def current(cls) -> "CallerEnvironment":
        """Return the environment of this process."""
        return cls(os.environ, Path.home(), os.getuid(), systemd=_SYSTEMD_DIRECTORY.is_dir())


@dataclass(frozen=True, slots=True)
class _ManualStart:
    """The commands that start a daemon without systemd and that install its program."""

    program: str
    command: str
    install: str


@dataclass(frozen=True, slots=True)
class _Daemon:
    """A known daemon: its sockets, the likeliest first, and the command that starts it."""

    name: str
    start: str
    sockets: tuple[str, ...]
    manual: _ManualStart | None = None

    def remedy(self, caller: CallerEnvironment) -> str:
        """Return the command that starts the daemon here, or that installs it."""
        if self.manual is None:
            return self.start
        if not caller.installed(self.manual.program):
            return self.manual.install
        return self.start if caller.systemd else self.manual.command

    def paths(self, caller: CallerEnvironment) -> Iterator[Path]:
        """Yield its possible sockets; a variable of the environment that is unset has a default."""
        environment = caller.environment
        directories = {
            "home": str(caller.home),
            "user": f"/run/user/{caller.uid}",
            "runtime": environment.get("XDG_RUNTIME_DIR") or f"/run/user/{caller.uid}",
            "config": environment.get("XDG_CONFIG_HOME") or f"{caller.home}/.config",
        }
        yield from dict.fromkeys(Path(template.format(**directories)) for template in self.sockets)


_DOCKER = _Daemon(
    "Docker",
    "sudo systemctl start docker",
    (DEFAULT_URL.removeprefix(_UNIX),),
    _ManualStart("dockerd", "sudo -b dockerd", "sudo apt-get install docker.io"),
)
_SERVE_COMMAND, _INSTALL_COMMAND = "podman system service --time=0", "sudo apt-get install podman"
_OWN_SOCKET = "unix://$HOME/podman.sock"
"""A socket to name explicitly: without a runtime directory, Podman would listen below /tmp."""

_PODMAN = _Daemon(
    "Podman",
    "sudo systemctl enable --now podman.socket",
    ("/run/podman/podman.sock",),
    _ManualStart("podman", f"sudo -b {_SERVE_COMMAND}", _INSTALL_COMMAND),
)
_ROOTLESS_PODMAN = _Daemon(
    "rootless Podman",
    "systemctl --user enable --now podman.socket",
    ("{runtime}/podman/podman.sock", "{user}/podman/podman.sock"),
    _ManualStart(
        "podman",
        f"{_SERVE_COMMAND} {_OWN_SOCKET} & export CONTAINER_HOST={_OWN_SOCKET}",
        _INSTALL_COMMAND,
    ),
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


def find_docker(caller: CallerEnvironment) -> Endpoint:
    """Return the endpoint of an option, `DOCKER_HOST` or a context, or else a known socket."""
    return _find_named_docker(caller) or _find_first(caller, _DOCKER, _OTHERS)


def find_podman(caller: CallerEnvironment) -> Endpoint:
    """Return the endpoint of `--host` or `CONTAINER_HOST`, or else the caller's own service."""
    usual = _ROOTLESS_PODMAN if caller.uid else _PODMAN
    return _find_named_host(caller, HOST, "CONTAINER_HOST") or _find_first(caller, usual, ())


def build_testcontainers_environment(endpoint: Endpoint) -> Mapping[str, str]:
    """Return variables that make testcontainers and docker-py's `from_env` use the same daemon.

    `tc.host` in `~/.testcontainers.properties` still takes precedence over them.
    """
    return {
        "DOCKER_HOST": endpoint.url,
        "DOCKER_TLS_VERIFY": "",
        "TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE": endpoint.path,
    }


def check_connection(endpoint: Endpoint, seconds: float) -> None:
    """Check that a daemon listens; Docker's own client explains failures less well.

    Raises:
        EngineUnavailableError: if none does.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(seconds)
        try:
            client.connect(endpoint.path)
        except OSError as error:
            raise EngineUnavailableError(
                f"no daemon at {endpoint}: {_describe_failure(error)}",
                hint=_find_remedy(endpoint, error),
            ) from error


def _describe_failure(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "the socket exists, but no process listens on it"
    return error.strerror or str(error)


def _find_remedy(endpoint: Endpoint, error: OSError) -> str:
    if not isinstance(error, PermissionError):
        return endpoint.remedy
    group = _get_group_name(Path(endpoint.path))
    if group == "root":
        return "only root may use it: select another `docker context`, or use --engine bubblewrap"
    return f"sudo usermod -aG {group} $USER, then log in again"


def _get_group_name(path: Path) -> str:
    """Return the group that may use a socket; if it cannot be read, assume Docker's."""
    with suppress(OSError, KeyError):
        return getgrgid(path.stat().st_gid).gr_name
    return "docker"


def _find_first(caller: CallerEnvironment, usual: _Daemon, others: tuple[_Daemon, ...]) -> Endpoint:
    """Return the usual daemon's endpoint, unless only another daemon's socket exists."""
    paths = list(usual.paths(caller))
    existing = next(filter(caller.exists, paths), None)
    if existing is not None:
        return Endpoint(f"{_UNIX}{existing}", "the default", usual.remedy(caller))
    for daemon in others:
        for path in filter(caller.exists, daemon.paths(caller)):
            reason = f"{daemon.name}, because {paths[0]} does not exist"
            return Endpoint(f"{_UNIX}{path}", reason, daemon.remedy(caller))
    return Endpoint(f"{_UNIX}{paths[0]}", "the default", usual.remedy(caller))


def _resolve_host(caller: CallerEnvironment, host: str, source: str, undo: str) -> Endpoint:
    """Return the endpoint for `host`, which must be on this machine.

    `source` is the setting that names it, and `undo` the way to remove that setting.
    """
    if not host.startswith(_UNIX):
        raise EngineUnavailableError(
            f"the daemon {host} ({source}) does not use a Unix socket on this machine",
            hint=undo,
        )
    path = Path(host.removeprefix(_UNIX))
    commands = (
        daemon.remedy(caller) for daemon in (_DOCKER, *_OTHERS) if path in daemon.paths(caller)
    )
    command = next(commands, "start the daemon that listens on it")
    return Endpoint(host, source, f"{command}, or {undo}")


def _find_named_docker(caller: CallerEnvironment) -> Endpoint | None:
    """Return the endpoint in an option, a variable or docker's configuration, if any."""
    asks_for_context = caller.environment.get(CONTEXT, "") not in (
        "",
        _DEFAULT_CONTEXT,
    )
    host = None if asks_for_context else _find_named_host(caller, HOST, "DOCKER_HOST")
    return host or _find_by_context(caller)


def _find_named_host(caller: CallerEnvironment, *variables: str) -> Endpoint | None:
    """Return the endpoint named by the first of `variables` that is set; None if none is."""
    for variable in variables:
        if host := caller.environment.get(variable):
            return _resolve_host(caller, host, *_describe_variable(variable))
    return None


def _describe_variable(variable: str) -> tuple[str, str]:
    """Return the name under which the caller knows a variable, and the way to remove it."""
    option = OPTIONS.get(variable)
    return (option, f"omit {option}") if option else (variable, f"unset {variable}")


def _find_by_context(caller: CallerEnvironment) -> Endpoint | None:
    config = Path(caller.environment.get("DOCKER_CONFIG") or caller.home / ".docker")
    name, source, undo = _find_context(caller, config / "config.json")
    if name == _DEFAULT_CONTEXT:
        return None
    try:
        host = _read_context_host(config, name)
    except (KeyError, TypeError) as error:
        message = f"{source} names the Docker context '{name}', which does not exist"
        raise EngineUnavailableError(message, hint=undo) from error
    return _resolve_host(caller, host, f"context '{name}' of {source}", undo)


def _find_context(caller: CallerEnvironment, file: Path) -> tuple[str, str, str]:
    """Return the name of the context, its source, and the way to remove that setting."""
    for variable in (CONTEXT, "DOCKER_CONTEXT"):
        if name := caller.environment.get(variable):
            return name, *_describe_variable(variable)
    name = _read_json(file).get("currentContext") or _DEFAULT_CONTEXT
    return name, str(file), "docker context use default"


def _read_context_host(config: Path, name: str) -> str:
    directory = config / "contexts/meta" / sha256(name.encode()).hexdigest()
    return str(_read_json(directory / "meta.json")["Endpoints"]["docker"]["Host"])


def _read_json(file: Path) -> dict[str, Any]:
    """Return the content of a configuration file of docker; empty if the file does not exist."""
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        hint = f"correct it, or move it away: it is a configuration of docker: ls -l {file}"
        raise EngineUnavailableError(f"{file} cannot be read: {error}", hint) from error
    return content if isinstance(content, dict) else {}
