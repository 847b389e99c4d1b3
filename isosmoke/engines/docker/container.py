"""The life of one container, from before it exists until it is proved to be gone."""

import math
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from secrets import token_hex
from time import monotonic, sleep
from typing import Any

from docker.errors import ImageNotFound, NotFound

from isosmoke.engines.base import DESTROY_SECONDS
from isosmoke.engines.docker import create_body, endpoint, images
from isosmoke.engines.docker.attach import AttachChannel, Printed
from isosmoke.engines.docker.client import (
    CLIENT_ERRORS,
    PING_SECONDS,
    Client,
    docker_errors,
    error_text,
)
from isosmoke.errors import EngineUnavailableError, LeftBehindError, raise_left_behind
from isosmoke.host import leases

_ENDING_SECONDS = 5
_RETRY_SECONDS = 0.05


class Container:
    """One container by its name, be it there or not."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self.name = client, name
        self._may_exist = True

    def create(self, image: str, body: create_body.Body) -> None:
        """Create it; without a daemon there is none, and nothing to remove later."""
        try:
            self._create_from(image, body)
        except EngineUnavailableError:
            self._may_exist = False
            raise

    def _create_from(self, image: str, body: create_body.Body) -> None:
        with docker_errors(self._client, f"create a sandbox from image '{image}'"):
            try:
                self._create(body)
            except ImageNotFound as error:
                images.provide(self._client, image, error)
                self._create(body)

    def _create(self, body: create_body.Body) -> None:
        self._client.create_container_from_config(body, self.name)  # type: ignore[no-untyped-call]

    def attach(self) -> AttachChannel:
        """Return its keeper's channel, before it starts.

        The daemon closes the stdin of a container that no client is attached to.
        """
        return AttachChannel(self._connection("stdin", "stdout", "stderr"), self._ending)

    def output(self) -> Printed:
        """Return what it prints; asked for before it starts, or the first bytes are missing."""
        return Printed(self._connection("stdout", "stderr"))

    def _connection(self, *streams: str) -> socket.socket:
        wanted = dict.fromkeys((*streams, "stream"), 1)
        with docker_errors(self._client, f"attach to {self.name}"):
            answer = self._client.attach_socket(self.name, wanted)
            connection = socket.socket(fileno=os.dup(answer.fileno()))
            connection.settimeout(None)
            answer._response.close()  # noqa: SLF001 - nothing else ends its hold on the socket
        return connection

    def start(self) -> None:
        """Start it, once it is created and attached to."""
        with docker_errors(self._client, "start the sandbox"):
            self._client.start(self.name)

    def _ending(self) -> str:
        """Return why it ended; empty where the daemon knows no reason.

        Raises:
            EngineUnavailableError: if the daemon itself is gone.
        """
        try:
            self._client.wait(self.name, timeout=_ENDING_SECONDS)
            found = self._client.inspect_container(self.name)["State"]
        except CLIENT_ERRORS:
            endpoint.reach(self._client.endpoint, PING_SECONDS)
            return ""
        return "the sandbox ran out of memory" if found["OOMKilled"] else str(found["Error"])

    def destroy(self) -> list[LeftBehindError]:
        """Remove it with volumes and networks, by force, and return what could not be removed."""
        deadline = monotonic() + DESTROY_SECONDS
        self._client.timeout = math.ceil(DESTROY_SECONDS)
        try:
            while self._may_exist and (obstacle := self._remove()) is not None:
                if monotonic() > deadline:
                    return [self._left_behind(obstacle)]
                sleep(_RETRY_SECONDS)
        except EngineUnavailableError as gone:
            return [self._left_behind(str(gone))]
        return []

    def _left_behind(self, reason: str) -> LeftBehindError:
        program = self._client.program
        return LeftBehindError(
            f"{program} could not remove sandbox {self.name}: {reason}",
            hint=f"{program} rm --force --volumes {self.name}",
        )

    def _remove(self) -> str | None:
        """Try to remove it, and return what prevents that; None once it is gone."""
        try:
            with suppress(NotFound):
                self._client.remove_container(self.name, v=True, force=True)
            label = f"{create_body.SANDBOX}={self.name}"
            for volume in _volumes(self._client, label):
                with suppress(NotFound):
                    self._client.remove_volume(volume["Name"])
            for network in self._client.networks(filters={"label": label}):
                with suppress(NotFound):
                    self._client.remove_network(network["Id"])
            self._client.inspect_container(self.name)
        except NotFound:
            return None
        except CLIENT_ERRORS as error:
            endpoint.reach(self._client.endpoint, PING_SECONDS)
            return error_text(error)
        return "it is still there"


@contextmanager
def cleanup_failures() -> Iterator[list[LeftBehindError]]:
    """Collect what could not be proved to be gone, and raise it at the end as one error.

    Raises:
        LeftBehindError: if there is any, over whatever else the block raised.
    """
    failures: list[LeftBehindError] = []
    try:
        yield failures
    finally:
        raise_left_behind(failures)


@contextmanager
def new_container(client: Client, failures: list[LeftBehindError]) -> Iterator[Container]:
    """Name a container that is created in the block, and destroy it at the end."""
    container = Container(client, f"{create_body.PREFIX}{token_hex(8)}")
    try:
        yield container
    finally:
        failures += container.destroy()


def labels(name: str, label: str) -> dict[str, str]:
    """Return the labels by which a sweep knows whose container it is, and for what."""
    return {
        create_body.LEASE: str(leases.Lease.mine()),
        create_body.LABEL: label,
        create_body.SANDBOX: name,
    }


def find_dead(client: Client) -> tuple[Mapping[str, str], tuple[LeftBehindError, ...]]:
    """Return the containers of dead runs with their labels, and errors that name doubtful ones.

    Docker may go on listing a container after its removal, until it is restarted: without a name.
    """
    with docker_errors(client, "list what is left"):
        containers = client.containers(all=True, filters={"label": create_body.LEASE})
        resources = [
            *(container for container in containers if container["Names"]),
            *_volumes(client, create_body.LEASE),
            *client.networks(filters={"label": create_body.LEASE}),
        ]
    found = [resource["Labels"] for resource in resources]
    named = {labels.get(create_body.SANDBOX, ""): labels for labels in found}
    ours = {name: one for name, one in named.items() if name.startswith(create_body.PREFIX)}
    dead, unknown = leases.find_dead(
        (name, leases.Lease.parse(labels[create_body.LEASE])) for name, labels in ours.items()
    )
    return {name: ours[name].get(create_body.LABEL, "") for name in dead}, unknown


def _volumes(client: Client, label: str) -> list[dict[str, Any]]:
    return client.volumes(filters={"label": label})["Volumes"] or []
