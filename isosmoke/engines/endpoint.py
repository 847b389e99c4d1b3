"""Which Docker daemon a command talks to, and why that one: as the docker command decides it."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from isosmoke.errors import EngineUnavailableError

DEFAULT = "unix:///var/run/docker.sock"

_UNIX = "unix://"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The socket of a daemon on this machine, and what named it."""

    url: str
    reason: str

    @property
    def path(self) -> str:
        return self.url.removeprefix(_UNIX)

    def __str__(self) -> str:
        return f"{self.url} ({self.reason})"


def find(environment: Mapping[str, str], home: Path) -> Endpoint:
    """`DOCKER_HOST`, else the current context, else the default socket."""
    found = _find(environment, home)
    if not found.url.startswith(_UNIX):
        raise EngineUnavailableError(
            f"the Docker daemon {found} is not on a unix socket of this machine",
            hint="unset DOCKER_HOST and DOCKER_CONTEXT, or choose --engine bubblewrap",
        )
    return found


def reach(found: Endpoint, seconds: float) -> None:
    """Return when somebody listens; Docker's own client would say less of what is in the way."""
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(seconds)
        try:
            trial.connect(found.path)
        except OSError as error:
            raise EngineUnavailableError(
                f"no Docker daemon at {found}: {error.strerror or error}", hint=_remedy(error)
            ) from error


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "sudo usermod -aG docker $USER, then log in again"
    return "start Docker (sudo systemctl start docker), or choose --engine bubblewrap"


def _find(environment: Mapping[str, str], home: Path) -> Endpoint:
    host = environment.get("DOCKER_HOST")
    if host:
        return Endpoint(host, "DOCKER_HOST")
    config = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    named = environment.get("DOCKER_CONTEXT")
    name = named or _json(config / "config.json").get("currentContext") or "default"
    if name == "default":
        return Endpoint(DEFAULT, "the default")
    by = "DOCKER_CONTEXT" if named else f"{config}/config.json"
    return Endpoint(_context_host(config, name, by), f"context '{name}' of {by}")


def _context_host(config: Path, name: str, by: str) -> str:
    folder = config / "contexts/meta" / sha256(name.encode()).hexdigest()
    try:
        return str(_json(folder / "meta.json")["Endpoints"]["docker"]["Host"])
    except (KeyError, TypeError) as error:
        raise EngineUnavailableError(
            f"{by} names the Docker context '{name}', which does not exist",
            hint="choose one of `docker context ls` with `docker context use`",
        ) from error


def _json(file: Path) -> dict[str, Any]:
    """What a file of the docker command holds; empty where there is none."""
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise EngineUnavailableError(f"{file} cannot be read: {error}") from error
    return content if isinstance(content, dict) else {}
