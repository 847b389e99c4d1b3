"""The engine registry, and the choice of an engine for each scenario."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError
from isosmoke.sandbox.spec import HOST_IMAGE

if TYPE_CHECKING:
    from isosmoke.engines.docker.engine import DockerEngine


def _create_bubblewrap() -> Engine:
    from isosmoke.engines.bubblewrap.engine import BubblewrapEngine

    return BubblewrapEngine()


def _create_docker() -> Engine:
    from isosmoke.engines.docker.engine import DockerEngine

    return DockerEngine()


def _create_podman() -> Engine:
    from isosmoke.engines.podman import PodmanEngine

    return PodmanEngine()


ENGINES: Mapping[str, Callable[[], Engine]] = {
    "bubblewrap": _create_bubblewrap,
    "docker": _create_docker,
    "podman": _create_podman,
}
"""The factory of each engine by its name; a new engine is one package and one line here."""

AUTO = "auto"
"""The value of `--engine` that leaves the choice to `select_engine_name`."""


def select_engine_name(requested: str, image: str, directory: Path) -> str:
    """Return the name of the engine that runs scenarios in `image`.

    `AUTO` selects Bubblewrap for the host's image and for root filesystems on this machine, and
    Docker for any other image. A relative path in `image` is resolved against `directory`, the
    manifest's directory.
    """
    if requested != AUTO:
        return requested
    from isosmoke.rootfs_images import image_kinds

    is_local = image == HOST_IMAGE or image_kinds.find_root(image, directory) is not None
    return "bubblewrap" if is_local else "docker"


def select_service_engine(engine: Engine) -> "DockerEngine":
    """Return the engine that runs the services of scenarios that use `engine`.

    This is `engine` itself if it runs containers, otherwise Docker.
    """
    from isosmoke.engines.docker.engine import DockerEngine

    return engine if isinstance(engine, DockerEngine) else DockerEngine()


class HasImage(Protocol):
    """The part of a scenario that determines its engine."""

    @property
    def image(self) -> str: ...

    @property
    def folder(self) -> Path: ...


class EngineChoice:
    """The engines of one run, each created when a scenario first needs it.

    Raises:
        EngineError: if a scenario needs an engine that is not registered.
    """

    def __init__(
        self, requested: str, engines: Mapping[str, Callable[[], Engine]] = ENGINES
    ) -> None:
        self._requested, self._engines = requested, engines
        self._created: dict[str, Engine] = {}
        self._service_engines: dict[str, Engine] = {}

    def __call__(self, scenario: HasImage) -> Engine:
        """Return the engine that creates the sandbox of `scenario`."""
        name = select_engine_name(self._requested, scenario.image, scenario.folder)
        if name not in self._created:
            self._created[name] = self._create(name)
        return self._created[name]

    def select_service_engine(self, scenario: HasImage) -> Engine:
        """Return the engine that runs the services of `scenario`."""
        engine = self(scenario)
        if engine.name not in self._service_engines:
            self._service_engines[engine.name] = select_service_engine(engine)
        return self._service_engines[engine.name]

    def _create(self, name: str) -> Engine:
        if name not in self._engines:
            known = ", ".join(self._engines)
            raise EngineError(f"unknown engine '{name}'", hint=f"choose one of: {known}")
        return self._engines[name]()
