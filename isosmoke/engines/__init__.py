"""Engines by name, and the choice of one for each scenario."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError
from isosmoke.sandbox.spec import HOST_IMAGE

if TYPE_CHECKING:
    from isosmoke.engines.docker.engine import DockerEngine


def _bubblewrap() -> Engine:
    from isosmoke.engines.bubblewrap.engine import BubblewrapEngine

    return BubblewrapEngine()


def _docker() -> Engine:
    from isosmoke.engines.docker.engine import DockerEngine

    return DockerEngine()


def _podman() -> Engine:
    from isosmoke.engines.podman import PodmanEngine

    return PodmanEngine()


ENGINES: Mapping[str, Callable[[], Engine]] = {
    "bubblewrap": _bubblewrap,
    "docker": _docker,
    "podman": _podman,
}
"""Each engine's maker; a new engine is one file and one line here."""

AUTO = "auto"
"""The request that leaves the choice of an engine to `engine_name`."""


def engine_name(requested: str, image: str, directory: Path) -> str:
    """Return the name of the engine that runs scenarios in `image`.

    For `AUTO` that is docker for an image that is no directory of this machine. A relative path in
    `image` is resolved against `directory`, the manifest's.
    """
    if requested != AUTO:
        return requested
    from isosmoke.rootfs_images import store

    is_here = image == HOST_IMAGE or store.root(image, directory) is not None
    return "bubblewrap" if is_here else "docker"


def service_engine(engine: Engine) -> "DockerEngine":
    """Return the engine that runs the services of scenarios on `engine`.

    That is the engine itself where it runs containers, else Docker.
    """
    from isosmoke.engines.docker.engine import DockerEngine

    return engine if isinstance(engine, DockerEngine) else DockerEngine()


class InImage(Protocol):
    """The part of a scenario that decides which engine runs it."""

    @property
    def image(self) -> str: ...

    @property
    def folder(self) -> Path: ...


class EngineChoice:
    """The engines of one run, each made when a scenario first needs it and never used before.

    Raises:
        EngineError: if a scenario needs an engine that is not registered.
    """

    def __init__(
        self, requested: str, engines: Mapping[str, Callable[[], Engine]] = ENGINES
    ) -> None:
        self._requested, self._engines = requested, engines
        self._made: dict[str, Engine] = {}
        self._service_engines: dict[str, Engine] = {}

    def __call__(self, scenario: InImage) -> Engine:
        """Return the engine that makes the sandbox of `scenario`."""
        name = engine_name(self._requested, scenario.image, scenario.folder)
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def for_services(self, scenario: InImage) -> Engine:
        """Return the engine that runs the services of `scenario`."""
        engine = self(scenario)
        if engine.name not in self._service_engines:
            self._service_engines[engine.name] = service_engine(engine)
        return self._service_engines[engine.name]

    def _make(self, name: str) -> Engine:
        if name not in self._engines:
            known = ", ".join(self._engines)
            raise EngineError(f"no engine '{name}' in this isosmoke", hint=f"it has: {known}")
        return self._engines[name]()
