"""Binding of verdicts to the images of the run's own engine, for scenarios and services."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from isosmoke.engines import AUTO, EngineChoice
from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError, ImageError
from isosmoke.gate import in_toto, receipt, receipt_inputs
from isosmoke.gate.receipt import Circumstances, Statement
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.manifest.parser import parse
from isosmoke.results.outcome import Outcome
from isosmoke.testing import FakeEngine

IMAGE = "debian:12"
DOCKERS, PODMANS = "d0" * 32, "b0" * 32
SCENARIO = f'[[scenario]]\nname = "one"\nscript = "one.sh"\nimage = "{IMAGE}"\n'
SERVICE = f'[[scenario.services]]\nname = "db"\nimage = "{IMAGE}"\n'


class FakeEngines:
    """Fake engines under the names of real ones; each runs its own services."""

    def __init__(self, requested: str, images: Mapping[str, Mapping[str, str]]) -> None:
        self.engines = {name: FakeEngine(images=image) for name, image in images.items()}
        makers = {name: lambda engine=engine: engine for name, engine in self.engines.items()}
        self._choice = EngineChoice(requested, makers)

    def __call__(self, scenario: Scenario) -> Engine:
        """Return the scenario's engine."""
        return self._choice(scenario)

    def select_service_engine(self, scenario: Scenario) -> Engine:
        """Return the same engine."""
        return self._choice(scenario)


def create_engines(requested: str) -> FakeEngines:
    """Return engines, two of which have different images under one name."""
    images = {"bubblewrap": {}, "docker": {IMAGE: DOCKERS}, "podman": {IMAGE: PODMANS}}
    return FakeEngines(requested, images)


def write_manifest(directory: Path, text: str) -> Manifest:
    """Return a manifest with this text and an existing script."""
    (directory / "one.sh").touch()
    (directory / "manifest.toml").write_text(text)
    return parse(text, directory / "manifest.toml")


def find_digests(loaded: Manifest, engines: receipt_inputs.Engines) -> dict[str, str]:
    """Return the digest of each image that a verdict is bound to."""
    inputs = receipt_inputs.collect_inputs(loaded, loaded.scenarios, engines)
    return {
        resource.name: resource.sha256
        for resource in inputs
        if resource.name.startswith(("image ", "service "))
    }


@pytest.mark.parametrize(
    ("requested", "digest"), [("docker", DOCKERS), ("podman", PODMANS), (AUTO, DOCKERS)]
)
def test_image_is_bound_as_in_its_own_engine(requested: str, digest: str, tmp_path: Path) -> None:
    """Two engines with different images under one name give different receipts."""
    loaded = write_manifest(tmp_path, SCENARIO + SERVICE)

    sha256s = find_digests(loaded, create_engines(requested))

    assert sha256s == {f"image {IMAGE}": digest, f"service {IMAGE}": digest}


def test_gate_on_one_engine_asks_no_other(tmp_path: Path) -> None:
    """A machine that has only Podman can open the gate."""
    podman_alone = FakeEngines("podman", {"podman": {IMAGE: PODMANS}})

    assert find_digests(write_manifest(tmp_path, SCENARIO), podman_alone) == {
        f"image {IMAGE}": PODMANS
    }


def test_missing_image_is_an_error(tmp_path: Path) -> None:
    """Another engine's image of that name is no substitute, and the error names the image."""
    engines = FakeEngines("podman", {"docker": {IMAGE: DOCKERS}, "podman": {}})

    with pytest.raises(ImageError, match=IMAGE):
        find_digests(write_manifest(tmp_path, SCENARIO), engines)


def test_missing_service_image_is_bound_by_name(tmp_path: Path) -> None:
    """The scenario is skipped, so the receipt contains the name without a digest."""
    host = SCENARIO.replace(IMAGE, "host")
    engines = FakeEngines("podman", {"docker": {IMAGE: DOCKERS}, "podman": {}})

    assert find_digests(write_manifest(tmp_path, host + SERVICE), engines) == {
        "image host": "",
        f"service {IMAGE}": "",
    }


def create_receipt(directory: Path, engine: str) -> Statement:
    """Return the receipt of an open gate whose run used `engine`."""
    circumstances = Circumstances(
        task="a",
        open=True,
        tested_at="2026-11-22T20:00:00.000Z",
        manifest=str(directory / "manifest.toml"),
        outcomes={"one": Outcome.PASS},
        engine=engine,
    )
    return receipt.create_statement(
        circumstances, in_toto.create_hashed_resource("binary", "wg", DOCKERS), ()
    )


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
def test_receipt_is_compared_on_its_engine(
    named: str, image: str, engine: str, tmp_path: Path
) -> None:
    """Several names mean that the run let isosmoke choose the engine."""
    (scenario,) = write_manifest(tmp_path, SCENARIO.replace(IMAGE, image)).scenarios

    assert receipt_inputs.select_engines(create_receipt(tmp_path, named))(scenario).name == engine


def test_receipt_of_unknown_engine_is_an_error(tmp_path: Path) -> None:
    """The error names the unknown engine and suggests a known one."""
    write_manifest(tmp_path, SCENARIO)

    with pytest.raises(EngineError, match="unknown engine 'jail'") as caught:
        receipt_inputs.find_changed_inputs(
            create_receipt(tmp_path, "jail"), tmp_path / "manifest.toml"
        )
    assert "podman" in caught.value.hint


def test_removed_image_invalidates_receipt(tmp_path: Path) -> None:
    """A missing image is a difference, not a failed comparison."""
    write_manifest(tmp_path, SCENARIO)

    broken = receipt_inputs.find_changed_inputs(
        create_receipt(tmp_path, "bubblewrap"), tmp_path / "manifest.toml"
    )

    assert broken == (f"bubblewrap has no image '{IMAGE}'",)
