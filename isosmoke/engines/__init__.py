"""Engines by name."""

from collections.abc import Callable, Mapping

from isosmoke.engines.base import Engine


def _bubblewrap() -> Engine:
    from isosmoke.engines.bubblewrap import BubblewrapEngine

    return BubblewrapEngine()


def _docker() -> Engine:
    from isosmoke.engines.docker import DockerEngine

    return DockerEngine()


ENGINES: Mapping[str, Callable[[], Engine]] = {"bubblewrap": _bubblewrap, "docker": _docker}
"""Each engine's maker; a new engine is one file and one line here."""
