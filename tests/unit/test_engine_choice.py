"""Each scenario gets the engine that was asked for, made once and not before it is needed."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from isosmoke.engines import AUTO, ENGINES, EngineChoice, service_engine
from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError, ImageError
from isosmoke.testing import FakeEngine


@dataclass(frozen=True, slots=True)
class InImage:
    """The part of a scenario that decides."""

    image: str
    folder: Path = Path()


def test_engine_is_made_once_and_only_when_it_is_needed() -> None:
    """Twenty scenarios in one image ask one engine, and the others are never made."""
    made: list[str] = []

    def maker() -> Engine:
        made.append("docker")
        return FakeEngine()

    choice = EngineChoice("docker", {"docker": maker})

    assert made == []
    assert choice(InImage("a:1")) is choice(InImage("b:1"))
    assert made == ["docker"]


@pytest.mark.parametrize(("image", "name"), [("host", "bubblewrap"), ("debian:12", "docker")])
def test_auto_goes_by_the_image(image: str, name: str) -> None:
    """The host's directories need no daemon, any other image does."""
    assert EngineChoice(AUTO)(InImage(image)).name == name


def test_unknown_engine_is_named_with_those_that_exist() -> None:
    """A record of another version may name an engine that is not here."""
    with pytest.raises(EngineError, match="no engine 'jail'") as caught:
        EngineChoice("jail")(InImage("host"))
    assert all(name in caught.value.hint for name in ENGINES)


@pytest.mark.parametrize(
    ("name", "runs"), [("bubblewrap", "docker"), ("docker", "docker"), ("podman", "podman")]
)
def test_services_run_on_the_engine_itself_or_on_docker(name: str, runs: str) -> None:
    """A scheduler and a gate that ask for the same scenario get the same kind of engine."""
    assert service_engine(ENGINES[name]()).name == runs
    choice = EngineChoice(name)
    assert choice.for_services(InImage("debian:12")).name == runs


@pytest.mark.parametrize("name", ENGINES)
def test_host_has_no_digest_on_any_engine(name: str) -> None:
    """It is what this machine has today, and no engine has to be asked."""
    assert ENGINES[name]().image_digest("host") == ""


def test_bubblewrap_has_images_that_are_directories_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root filesystem has a digest; the name of another image is an error, not Docker's."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))
    (tmp_path / "system/usr/bin").mkdir(parents=True)
    engine = ENGINES["bubblewrap"]()
    before = engine.image_digest(f"rootfs:{tmp_path}/system")
    (tmp_path / "system/usr/bin/tool").touch()

    assert len(before) == len("ab" * 32)
    assert engine.image_digest(f"rootfs:{tmp_path}/system") != before
    with pytest.raises(ImageError, match="bubblewrap has no image 'debian:12'"):
        engine.image_digest("debian:12")
