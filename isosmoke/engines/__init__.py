"""Engines by name."""

from collections.abc import Callable, Mapping

from isosmoke.engines.base import Engine
from isosmoke.sandbox.spec import HOST_IMAGE


def _bubblewrap() -> Engine:
    from isosmoke.engines.bubblewrap.engine import BubblewrapEngine

    return BubblewrapEngine()


def _docker() -> Engine:
    from isosmoke.engines.docker.engine import DockerEngine

    return DockerEngine()


def _podman() -> Engine:
    from isosmoke.engines.podman import PodmanEngine

    return PodmanEngine()


def image_digest(image: str) -> str:
    """The sha256 of a named image, in hex; empty for the host's own, which has none."""
    if image == HOST_IMAGE:
        return ""
    from isosmoke.engines.docker.engine import DockerEngine

    return DockerEngine().image_digest(image)


ENGINES: Mapping[str, Callable[[], Engine]] = {
    "bubblewrap": _bubblewrap,
    "docker": _docker,
    "podman": _podman,
}
"""Each engine's maker; a new engine is one file and one line here."""
