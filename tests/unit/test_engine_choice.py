"""The engine of each scenario, which is created once and only if needed."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from isosmoke.engines import AUTO, ENGINES, EngineChoice, select_service_engine
from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError, ImageError
from isosmoke.testing import FakeEngine


@dataclass(frozen=True, slots=True)
class ImageUser:
    """The part of a scenario that determines its engine."""

    image: str
    folder: Path = Path()


def test_engine_is_created_once_when_first_needed() -> None:
    """Scenarios in different images share one engine, and unused engines are not created."""
    created: list[str] = []

    def create_engine() -> Engine:
        created.append("docker")
        return FakeEngine()

    choice = EngineChoice("docker", {"docker": create_engine})

    assert created == []
    assert choice(ImageUser("a:1")) is choice(ImageUser("b:1"))
    assert created == ["docker"]


@pytest.mark.parametrize(("image", "name"), [("host", "bubblewrap"), ("debian:12", "docker")])
def test_auto_depends_on_the_image(image: str, name: str) -> None:
    """The host's image needs no daemon, but an engine's image does."""
    assert EngineChoice(AUTO)(ImageUser(image)).name == name


def test_unknown_engine_is_refused_with_known_names() -> None:
    """A record of another version may name an engine that this version does not have."""
    with pytest.raises(EngineError, match="unknown engine 'jail'") as caught:
        EngineChoice("jail")(ImageUser("host"))
    assert all(name in caught.value.hint for name in ENGINES)


@pytest.mark.parametrize(
    ("name", "expected"), [("bubblewrap", "docker"), ("docker", "docker"), ("podman", "podman")]
)
def test_services_run_on_a_container_engine(name: str, expected: str) -> None:
    """`select_service_engine` and `EngineChoice` select the same kind of engine for services."""
    assert select_service_engine(ENGINES[name]()).name == expected
    choice = EngineChoice(name)
    assert choice.select_service_engine(ImageUser("debian:12")).name == expected


@pytest.mark.parametrize("name", ENGINES)
def test_host_image_has_no_digest(name: str) -> None:
    """The host's image has no fixed content, and no daemon is asked for it."""
    assert ENGINES[name]().image_digest("host") == ""


def test_bubblewrap_images_are_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root filesystem has a digest; the name of any other image is an error."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))
    (tmp_path / "system/usr/bin").mkdir(parents=True)
    engine = ENGINES["bubblewrap"]()
    before = engine.image_digest(f"rootfs:{tmp_path}/system")
    (tmp_path / "system/usr/bin/tool").touch()

    assert len(before) == len("ab" * 32)
    assert engine.image_digest(f"rootfs:{tmp_path}/system") != before
    with pytest.raises(ImageError, match="bubblewrap has no image 'debian:12'"):
        engine.image_digest("debian:12")
