"""Podman engine, which uses Podman's Docker-compatible socket, rootless or root's."""

from isosmoke.engines.docker import endpoint
from isosmoke.engines.docker.engine import DockerEngine


class PodmanEngine(DockerEngine):
    """The Docker engine at Podman's own endpoint."""

    name = "podman"

    def __init__(self) -> None:
        super().__init__(endpoint.find_podman)
