"""The connection to a daemon: its client, its description of itself, and its errors.

A client of docker-py is not thread-safe (docker-py#3229), so every sandbox has its own. docker-py's
time limits only detect a daemon that does not answer.
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
from requests import RequestException, Response, Timeout

from isosmoke.engines.base import START_SECONDS
from isosmoke.engines.docker import create_body, endpoint, nesting
from isosmoke.engines.docker.create_body import Dialect
from isosmoke.engines.docker.endpoint import CallerEnvironment, Endpoint
from isosmoke.errors import EngineError, EngineUnavailableError

ANSWER_SECONDS = 30.0
"""The time limit for a daemon's first answer, in seconds. A busy machine may need more than 5 s."""

CLIENT_ERRORS = (DockerException, RequestException, OSError)
"""The errors that a call of a client can raise."""

_MAX_OPEN_FILES = 524_288
"""The maximum number of open files of a systemd service (systemd.exec(5), `LimitNOFILE`)."""


class Client(APIClient):
    """A client that never waits forever: docker-py forgets its time limit when it attaches.

    `program` is the name of the command that talks to the same daemon.
    """

    def __init__(
        self, endpoint: Endpoint, version: str | None, seconds: float, program: str
    ) -> None:
        self.endpoint, self.program = endpoint, program
        try:
            super().__init__(endpoint.url, version=version, timeout=math.ceil(seconds))
        except CLIENT_ERRORS as error:
            raise EngineUnavailableError(
                f"the daemon at {endpoint} does not state its version: {get_error_text(error)}",
                hint="restart it, or use --engine bubblewrap",
            ) from error
        self.trust_env = False  # it is a socket here, and proxies would be looked up every time

    def request(self, *args: Any, **options: Any) -> Response:
        return super().request(*args, **{"timeout": self.timeout, **options})

    def get_change_time(self, name: str, path: PurePosixPath) -> int:
        """Return when a path in a container last changed, in microseconds since the epoch.

        This requests only the headers of an archive, because the archive itself would lock the
        container.
        """
        url = f"{self.base_url}/v{self.api_version}/containers/{name}/archive"
        response = self.head(url, params={"path": str(path)})
        response.raise_for_status()
        status = decode_json_header(response.headers["X-Docker-Container-Path-Stat"])
        since_epoch = datetime.fromisoformat(status["mtime"]) - datetime.fromtimestamp(0, UTC)
        return since_epoch // timedelta(microseconds=1)


@contextmanager
def docker_errors(client: Client, action: str) -> Iterator[None]:
    """Raise errors of `client` in the block as an `EngineError` that names the action.

    Raises:
        EngineUnavailableError: if the daemon is gone.
    """
    try:
        yield
    except CLIENT_ERRORS as error:
        endpoint.check_connection(client.endpoint, ANSWER_SECONDS)
        text = get_error_text(error)
        message = f"{client.program} could not {action}: {text}"
        raise EngineError(message, hint=find_remedy(text)) from error


def get_error_text(error: Exception) -> str:
    """Return the text of an error: the daemon's own explanation if it gave one."""
    if isinstance(error, Timeout) or isinstance(error.__cause__, Timeout):
        return "it did not answer in time"
    return str((isinstance(error, APIError) and error.explanation) or error)


class Daemon:
    """The daemon at one endpoint; the endpoint and the daemon's version are determined once.

    `find` finds the endpoint; `program` is the name of the engine's own command.
    """

    def __init__(self, find: Callable[[CallerEnvironment], Endpoint], program: str) -> None:
        self._find, self._program = find, program

    @cached_property
    def endpoint(self) -> Endpoint:
        """The endpoint at which the daemon listens."""
        return self._find(CallerEnvironment.current())

    @cached_property
    def server(self) -> dict[str, Any]:
        """The daemon's answer to `version`; a client without a version would ask for it again."""
        endpoint.check_connection(self.endpoint, ANSWER_SECONDS)
        client = Client(self.endpoint, None, ANSWER_SECONDS, self._program)
        with closing(client), docker_errors(client, "state its version"):
            return client.version()

    @property
    def kind(self) -> str:
        """The kind of daemon that answers: Podman may listen on a socket named for Docker."""
        components = [component["Name"] for component in self.server.get("Components", ())]
        return create_body.PODMAN if "Podman Engine" in components else create_body.DOCKER

    @cached_property
    def is_outside(self) -> bool:
        """True if isosmoke is in a container and the daemon is outside it."""
        return nesting.is_nested(self.endpoint.path)

    @cached_property
    def dialect(self) -> Dialect:
        """The dialect in which to ask this daemon for a container."""
        if self.kind == create_body.DOCKER:
            return Dialect(create_body.DOCKER)
        users = create_body.KEEP_ID if is_rootless(self.info()) else "host"
        return Dialect(create_body.PODMAN, users, _get_limits())

    def info(self) -> dict[str, Any]:
        """Return the daemon's answer to `info`."""
        with self.client() as client, docker_errors(client, "describe itself"):
            return client.info()

    def client(self, seconds: float = START_SECONDS) -> "closing[Client]":
        """Return a new client to use in a `with`; `seconds` limits each of its calls."""
        version = self.server["ApiVersion"]
        return closing(Client(self.endpoint, version, seconds, self.kind.lower()))


def is_rootless(info: dict[str, Any]) -> bool:
    """Return whether a daemon runs as an ordinary user, by Podman's field or by Docker's option."""
    return bool(info.get("Rootless")) or "name=rootless" in info.get("SecurityOptions", ())


def find_unlimited(info: dict[str, Any]) -> frozenset[str]:
    """Return the resources that a daemon says it cannot limit, for lack of a controller."""
    names = {"MemoryLimit": "memory", "PidsLimit": "processes"}
    return frozenset(resource for name, resource in names.items() if info.get(name) is False)


def _get_limits() -> dict[str, tuple[int, int]]:
    """Return the caller's own limits, capped at what a service can have.

    Podman's defaults may exceed the limits that its service may set.
    """
    processes = int(Path("/proc/sys/kernel/pid_max").read_text())
    return {
        "nofile": _get_limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
        "nproc": _get_limit(resource.RLIMIT_NPROC, processes),
    }


def _get_limit(limit: int, maximum: int) -> tuple[int, int]:
    soft, hard = (
        maximum if value == resource.RLIM_INFINITY else min(value, maximum)
        for value in resource.getrlimit(limit)
    )
    return soft, hard


_REMEDIES = (
    (
        "cgroups in hybrid mode not supported",
        'set runtime = "runc" in [engine] of /etc/containers/containers.conf, then restart Podman',
    ),
    (
        "error setting rlimit",
        "raise LimitNOFILE and LimitNPROC of podman.service, then restart Podman",
    ),
    ("newuidmap", "sudo apt-get install uidmap, then add a line for your user to /etc/subuid"),
)
"""Known errors of a daemon's runtime, with their remedies."""


def find_remedy(error: str) -> str:
    """Return the remedy for a daemon's error; empty if none is known."""
    return next((remedy for pattern, remedy in _REMEDIES if pattern in error), "")
