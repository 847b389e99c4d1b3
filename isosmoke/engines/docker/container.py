"""The life of one container, from before its creation until it is proved to be gone."""

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
from isosmoke.engines.docker.attach import AttachChannel, ContainerOutput
from isosmoke.engines.docker.client import (
    ANSWER_SECONDS,
    CLIENT_ERRORS,
    Client,
    docker_errors,
    get_error_text,
)
from isosmoke.errors import EngineUnavailableError, LeftBehindError, raise_left_behind
from isosmoke.host import leases

_ENDING_SECONDS = 20
_RETRY_SECONDS = 0.05


class Container:
    """One container by its name; it may not exist."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self.name = client, name
        self._may_exist = True

    def create(self, image: str, body: create_body.Body) -> None:
        """Create the container; if the daemon is unavailable, there is nothing to remove later."""
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
                images.provide_host_image(self._client, image, error)
                self._create(body)

    def _create(self, body: create_body.Body) -> None:
        self._client.create_container_from_config(body, self.name)  # type: ignore[no-untyped-call]

    def attach(self) -> AttachChannel:
        """Return the channel to the keeper, before the container starts.

        The daemon closes the stdin of a container that no client is attached to.
        """
        return AttachChannel(self._connect("stdin", "stdout", "stderr"), self._explain_ending)

    def output(self) -> ContainerOutput:
        """Return the container's output; after its start, the first bytes would be missing."""
        return ContainerOutput(self._connect("stdout", "stderr"))

    def _connect(self, *streams: str) -> socket.socket:
        parameters = dict.fromkeys((*streams, "stream"), 1)
        with docker_errors(self._client, f"attach to {self.name}"):
            stream = self._client.attach_socket(self.name, parameters)
            connection = socket.socket(fileno=os.dup(stream.fileno()))
            connection.settimeout(None)
            stream._response.close()  # noqa: SLF001 - the only way to release the socket
        return connection

    def start(self) -> None:
        """Start the container, which must have been created and attached to."""
        with docker_errors(self._client, "start the sandbox"):
            self._client.start(self.name)

    def _explain_ending(self) -> str:
        """Return the reason why the container ended; empty if the daemon knows none.

        Raises:
            EngineUnavailableError: if the daemon itself is gone.
        """
        try:
            self._client.wait(self.name, timeout=_ENDING_SECONDS)
            state = self._client.inspect_container(self.name)["State"]
        except CLIENT_ERRORS:
            endpoint.check_connection(self._client.endpoint, ANSWER_SECONDS)
            return ""
        return "the sandbox ran out of memory" if state["OOMKilled"] else str(state["Error"])

    def ran_out_of_memory(self) -> bool:
        """Wait for its end; return whether, as far as is known, memory ran out in it."""
        try:
            self._client.wait(self.name, timeout=_ENDING_SECONDS)
            return bool(self._client.inspect_container(self.name)["State"]["OOMKilled"])
        except (*CLIENT_ERRORS, EngineUnavailableError):
            return False

    def destroy(self) -> list[LeftBehindError]:
        """Remove it, its volumes and its networks by force; return an error if that failed."""
        deadline = monotonic() + DESTROY_SECONDS
        self._client.timeout = math.ceil(DESTROY_SECONDS)
        try:
            while self._may_exist and (obstacle := self._remove()) is not None:
                if monotonic() > deadline:
                    return [self._left_behind(obstacle)]
                sleep(_RETRY_SECONDS)
        except EngineUnavailableError as error:
            return [self._left_behind(str(error))]
        return []

    def _left_behind(self, reason: str) -> LeftBehindError:
        program = self._client.program
        return LeftBehindError(
            f"{program} could not remove sandbox {self.name}: {reason}",
            hint=f"{program} rm --force --volumes {self.name}",
        )

    def _remove(self) -> str | None:
        """Try to remove the container, and return what prevents that; None once it is gone."""
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
            endpoint.check_connection(self._client.endpoint, ANSWER_SECONDS)
            return get_error_text(error)
        return "it still exists"


@contextmanager
def cleanup_failures() -> Iterator[list[LeftBehindError]]:
    """Collect cleanup failures, and raise them at the end as one error.

    Raises:
        LeftBehindError: if there is any failure, even if the block raised another error.
    """
    failures: list[LeftBehindError] = []
    try:
        yield failures
    finally:
        raise_left_behind(failures)


@contextmanager
def new_container(client: Client, failures: list[LeftBehindError]) -> Iterator[Container]:
    """Yield a container that the block may create, and destroy it at the end."""
    container = Container(client, f"{create_body.PREFIX}{token_hex(8)}")
    try:
        yield container
    finally:
        failures += container.destroy()


def labels(name: str, label: str) -> dict[str, str]:
    """Return labels that identify a container's owner, its purpose and its name for a sweep."""
    return {
        create_body.LEASE: str(leases.Lease.current()),
        create_body.LABEL: label,
        create_body.SANDBOX: name,
    }


def find_dead(client: Client) -> tuple[Mapping[str, str], tuple[LeftBehindError, ...]]:
    """Return the containers of dead runs with their labels, and errors for the undecidable ones.

    Docker may list a removed container without a name until the daemon is restarted.
    """
    with docker_errors(client, "list leftover resources"):
        containers = client.containers(all=True, filters={"label": create_body.LEASE})
        resources = [
            *(container for container in containers if container["Names"]),
            *_volumes(client, create_body.LEASE),
            *client.networks(filters={"label": create_body.LEASE}),
        ]
    label_sets = [resource["Labels"] for resource in resources]
    labels_by_name = {labels.get(create_body.SANDBOX, ""): labels for labels in label_sets}
    own_labels = {
        name: labels
        for name, labels in labels_by_name.items()
        if name.startswith(create_body.PREFIX)
    }
    dead, unknown = leases.find_dead(
        (name, leases.Lease.parse(labels[create_body.LEASE])) for name, labels in own_labels.items()
    )
    return {name: own_labels[name].get(create_body.LABEL, "") for name in dead}, unknown


def _volumes(client: Client, label: str) -> list[dict[str, Any]]:
    return client.volumes(filters={"label": label})["Volumes"] or []
