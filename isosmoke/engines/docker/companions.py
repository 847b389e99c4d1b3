"""Containers and networks for scenarios' services and for tests, on the engine's daemon."""

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from isosmoke.engines.base import START_SECONDS
from isosmoke.engines.docker import create_body, endpoint
from isosmoke.engines.docker.attach import AttachChannel, ContainerOutput
from isosmoke.engines.docker.client import Daemon, docker_errors
from isosmoke.engines.docker.container import (
    Container,
    cleanup_failures,
    labels,
    new_container,
)


class DockerCompanions:
    """Containers of one daemon that testcontainers creates and isosmoke removes."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @contextmanager
    def reserved_container(self, label: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield a name and labels for a container, which is gone after the block.

        The labels are those of a sandbox, so that a sweep removes the container of a dead run.
        """
        with (
            self._daemon.client() as client,
            cleanup_failures() as failures,
            new_container(client, failures) as container,
        ):
            yield container.name, labels(container.name, label)

    @contextmanager
    def attached_keeper(self, name: str) -> Iterator[AttachChannel]:
        """Yield the channel of a container whose first process is a keeper, before it starts."""
        with self._daemon.client() as client:
            channel = Container(client, name).attach()
            try:
                yield channel
            finally:
                channel.close()

    @contextmanager
    def attached_output(self, name: str) -> Iterator[ContainerOutput]:
        """Yield the output of a container; enter this before the container starts."""
        with (
            self._daemon.client() as client,
            closing(Container(client, name).output()) as output,
        ):
            yield output

    @contextmanager
    def network(self, label: str) -> Iterator[str]:
        """Yield the name of a new network, which is removed after the block, or by a sweep."""
        with self.reserved_container(label) as (name, own_labels), self._daemon.client() as client:
            with docker_errors(client, "create a network"):
                client.create_network(name, labels=own_labels)
            yield name

    @contextmanager
    def errors(self, action: str) -> Iterator[None]:
        """Raise errors of another client of the daemon in the block as an `EngineError`."""
        with self._daemon.client() as client, docker_errors(client, action):
            yield

    @property
    def for_testcontainers(self) -> dict[str, Any]:
        """The options for a client of testcontainers that talks to the same daemon."""
        return {
            "environment": dict(endpoint.build_testcontainers_environment(self._daemon.endpoint)),
            "version": self._daemon.server["ApiVersion"],
            "timeout": math.ceil(START_SECONDS),
        }

    @property
    def ulimits(self) -> list[create_body.Body]:
        """The limits that must be named for each container."""
        return create_body.build_ulimits(self._daemon.dialect)
