"""The daemon that an engine talks to: its client, its own description, and its errors.

A client of docker-py is not thread-safe (docker-py#3229), so every sandbox has its own. No time
limit of docker-py's decides anything but that the daemon itself does not answer.
"""

import math
import resource
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from docker import APIClient
from docker.errors import APIError, DockerException
from docker.utils import decode_json_header
from requests import RequestException, Response

from isosmoke.engines.base import START_SECONDS
from isosmoke.engines.docker import create_body, endpoint, nesting
from isosmoke.engines.docker.create_body import Dialect
from isosmoke.engines.docker.endpoint import Endpoint, Place
from isosmoke.errors import EngineError, EngineUnavailableError

PING_SECONDS = 5.0
"""How long a daemon may take to say that it is there."""

CLIENT_ERRORS = (DockerException, RequestException, OSError)
"""Everything that a call of a client may raise."""

_MAX_OPEN_FILES = 524_288
"""What systemd lets a service have open at most (systemd.exec(5), `LimitNOFILE`)."""


class Client(APIClient):
    """A client that never waits for ever: docker-py forgets its time limit when it attaches.

    `program` is the name of the command that asks the same daemon.
    """

    def __init__(self, found: Endpoint, version: str | None, seconds: float, program: str) -> None:
        self.endpoint, self.program = found, program
        try:
            super().__init__(found.url, version=version, timeout=math.ceil(seconds))
        except CLIENT_ERRORS as error:
            raise EngineUnavailableError(
                f"the daemon at {found} does not answer: {error_text(error)}",
                hint="restart it, or choose --engine bubblewrap",
            ) from error

    def request(self, *args: Any, **options: Any) -> Response:
        return super().request(*args, **{"timeout": self.timeout, **options})

    def changed_at(self, name: str, path: PurePosixPath) -> int:
        """Return when a path in a container last changed, in microseconds since the epoch.

        It asks for the headers of an archive alone: the archive itself would lock the container.
        """
        url = f"{self.base_url}/v{self.api_version}/containers/{name}/archive"
        answer = self.head(url, params={"path": str(path)})
        answer.raise_for_status()
        found = decode_json_header(answer.headers["X-Docker-Container-Path-Stat"])
        since = datetime.fromisoformat(found["mtime"]) - datetime.fromtimestamp(0, UTC)
        return since // timedelta(microseconds=1)


@contextmanager
def docker_errors(client: Client, action: str) -> Iterator[None]:
    """Raise what a client raises in the block as an `EngineError` that names the action.

    Raises:
        EngineUnavailableError: if the daemon is gone.
    """
    try:
        yield
    except CLIENT_ERRORS as error:
        endpoint.reach(client.endpoint, PING_SECONDS)
        text = error_text(error)
        message = f"{client.program} could not {action}: {text}"
        raise EngineError(message, hint=create_body.remedy(text)) from error


def error_text(error: Exception) -> str:
    """Return the daemon's own explanation of an error where it gave one."""
    return str((isinstance(error, APIError) and error.explanation) or error)


class Daemon:
    """The daemon at one endpoint, looked for and asked about itself once.

    `find` decides which endpoint that is; `program` is the name of the engine's own command.
    """

    def __init__(self, find: Callable[[Place], Endpoint], program: str) -> None:
        self._find, self._program = find, program

    @cached_property
    def endpoint(self) -> Endpoint:
        """Where the daemon listens."""
        return self._find(Place.here())

    @cached_property
    def server(self) -> dict[str, Any]:
        """The daemon's answer to `version`. A client that is given no version asks again."""
        endpoint.reach(self.endpoint, PING_SECONDS)
        client = Client(self.endpoint, None, PING_SECONDS, self._program)
        with closing(client), docker_errors(client, "answer"):
            return client.version()

    @property
    def kind(self) -> str:
        """The kind of daemon that answers: a socket of Docker's name may be Podman's."""
        parts = [one["Name"] for one in self.server.get("Components", ())]
        return create_body.PODMAN if "Podman Engine" in parts else create_body.DOCKER

    @cached_property
    def is_outside(self) -> bool:
        """Whether isosmoke is in a container that the daemon is not in."""
        return nesting.nested(self.endpoint.path)

    @cached_property
    def dialect(self) -> Dialect:
        """How this daemon is asked for a container."""
        if self.kind == create_body.DOCKER:
            return Dialect(create_body.DOCKER)
        users = create_body.KEEP_ID if is_rootless(self.info()) else "host"
        return Dialect(create_body.PODMAN, users, _limits())

    def info(self) -> dict[str, Any]:
        """Return the daemon's answer to `info`."""
        with self.client() as client, docker_errors(client, "describe itself"):
            return client.info()

    def client(self, seconds: float = START_SECONDS) -> "closing[Client]":
        """Return a new client, for a `with`; a call of it may take so many seconds."""
        version = self.server["ApiVersion"]
        return closing(Client(self.endpoint, version, seconds, self.kind.lower()))


def is_rootless(info: dict[str, Any]) -> bool:
    """Whether a daemon runs as an ordinary user, by Podman's field or by Docker's option."""
    return bool(info.get("Rootless")) or "name=rootless" in info.get("SecurityOptions", ())


def _limits() -> dict[str, tuple[int, int]]:
    """Return the caller's own limits as far as a service surely has them.

    Podman's defaults may be beyond what its service may set.
    """
    processes = int(Path("/proc/sys/kernel/pid_max").read_text())
    return {
        "nofile": _limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
        "nproc": _limit(resource.RLIMIT_NPROC, processes),
    }


def _limit(limit: int, maximum: int) -> tuple[int, int]:
    soft, hard = (
        maximum if value == resource.RLIM_INFINITY else min(value, maximum)
        for value in resource.getrlimit(limit)
    )
    return soft, hard
