"""A verdict is bound to the image that the run's own engine has, for scenarios and for services."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from isosmoke.engines import AUTO, EngineChoice
from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError, ImageError
from isosmoke.gate import receipt, receipt_inputs
from isosmoke.gate.receipt import Circumstances, Statement
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.manifest.parser import parse
from isosmoke.results.outcome import Outcome
from isosmoke.testing import FakeEngine

IMAGE = "debian:12"
DOCKERS, PODMANS = "d0" * 32, "b0" * 32
SCENARIO = f'[[scenario]]\nname = "one"\nscript = "one.sh"\nimage = "{IMAGE}"\n'
SERVICE = f'[[scenario.services]]\nname = "db"\nimage = "{IMAGE}"\n'


class Fakes:
    """Fake engines under the names of real ones; each runs its own services."""

    def __init__(self, requested: str, images: Mapping[str, Mapping[str, str]]) -> None:
        self.engines = {name: FakeEngine(images=one) for name, one in images.items()}
        makers = {name: lambda one=engine: one for name, engine in self.engines.items()}
        self._choice = EngineChoice(requested, makers)

    def __call__(self, scenario: Scenario) -> Engine:
        """Return the scenario's engine."""
        return self._choice(scenario)

    def for_services(self, scenario: Scenario) -> Engine:
        """Return the same engine."""
        return self._choice(scenario)


def both(requested: str) -> Fakes:
    """Return engines of which two have different images of one name."""
    images = {"bubblewrap": {}, "docker": {IMAGE: DOCKERS}, "podman": {IMAGE: PODMANS}}
    return Fakes(requested, images)


def manifest(directory: Path, text: str) -> Manifest:
    """Return a manifest of this text whose script exists."""
    (directory / "one.sh").touch()
    (directory / "manifest.toml").write_text(text)
    return parse(text, directory / "manifest.toml")


def digests(loaded: Manifest, engines: receipt_inputs.Engines) -> dict[str, str]:
    """Return the digest of each image that a verdict is bound to."""
    inputs = receipt_inputs.inputs(loaded, loaded.scenarios, engines)
    return {one.name: one.sha256 for one in inputs if one.name.startswith(("image ", "service "))}


@pytest.mark.parametrize(
    ("requested", "digest"), [("docker", DOCKERS), ("podman", PODMANS), (AUTO, DOCKERS)]
)
def test_image_is_bound_as_its_own_engine_has_it(
    requested: str, digest: str, tmp_path: Path
) -> None:
    """Two engines with one name for different images give different receipts."""
    loaded = manifest(tmp_path, SCENARIO + SERVICE)

    found = digests(loaded, both(requested))

    assert found == {f"image {IMAGE}": digest, f"service {IMAGE}": digest}


def test_gate_on_one_engine_asks_no_other(tmp_path: Path) -> None:
    """A machine that has Podman alone can open the gate."""
    podman_alone = Fakes("podman", {"podman": {IMAGE: PODMANS}})

    assert digests(manifest(tmp_path, SCENARIO), podman_alone) == {f"image {IMAGE}": PODMANS}


def test_image_that_the_engine_lacks_shuts_the_gate(tmp_path: Path) -> None:
    """Another engine's image of that name is no substitute, and the error names the image."""
    engines = Fakes("podman", {"docker": {IMAGE: DOCKERS}, "podman": {}})

    with pytest.raises(ImageError, match=IMAGE):
        digests(manifest(tmp_path, SCENARIO), engines)


def test_service_image_that_the_engine_lacks_is_bound_by_name(tmp_path: Path) -> None:
    """Its scenario is skipped, so the receipt has its name and no digest."""
    host = SCENARIO.replace(IMAGE, "host")
    engines = Fakes("podman", {"docker": {IMAGE: DOCKERS}, "podman": {}})

    assert digests(manifest(tmp_path, host + SERVICE), engines) == {
        "image host": "",
        f"service {IMAGE}": "",
    }


def written(directory: Path, engine: str) -> Statement:
    """Return the receipt of an open gate whose run had `engine`."""
    circumstances = Circumstances(
        task="a",
        open=True,
        tested_at="2026-11-22T20:00:00.000Z",
        manifest=str(directory / "manifest.toml"),
        outcomes={"one": Outcome.PASS},
        engine=engine,
    )
    return receipt.statement(circumstances, receipt.hashed("binary", "wg", DOCKERS), ())


@pytest.mark.parametrize(
    ("named", "image", "engine"),
    [
        ("podman", IMAGE, "podman"),
        ("docker", IMAGE, "docker"),
        ("bubblewrap", "host", "bubblewrap"),
        ("bubblewrap+docker", IMAGE, "docker"),
        ("bubblewrap+docker", "host", "bubblewrap"),
        ("docker+bubblewrap", "host", "bubblewrap"),
    ],
)
def test_receipt_is_compared_on_the_engine_that_it_names(
    named: str, image: str, engine: str, tmp_path: Path
) -> None:
    """Several names can only come from a run that left the choice to isosmoke."""
    (scenario,) = manifest(tmp_path, SCENARIO.replace(IMAGE, image)).scenarios

    assert receipt_inputs.engines_of(written(tmp_path, named))(scenario).name == engine


def test_receipt_of_an_unknown_engine_is_no_success(tmp_path: Path) -> None:
    """An image that cannot be compared is an error that names the engine."""
    manifest(tmp_path, SCENARIO)

    with pytest.raises(EngineError, match="unknown engine 'jail'") as caught:
        receipt_inputs.changed_inputs(written(tmp_path, "jail"), tmp_path / "manifest.toml")
    assert "podman" in caught.value.hint


def test_image_that_is_gone_breaks_a_receipt_by_name(tmp_path: Path) -> None:
    """An engine that works and has no such image is a difference, not a failure to compare."""
    manifest(tmp_path, SCENARIO)

    broken = receipt_inputs.changed_inputs(
        written(tmp_path, "bubblewrap"), tmp_path / "manifest.toml"
    )

    assert broken == (f"bubblewrap has no image '{IMAGE}'",)
