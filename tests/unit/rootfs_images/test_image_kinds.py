"""The meaning of an image name, and the input to which a verdict is bound."""

from pathlib import Path

import pytest

from isosmoke.engines import AUTO, EngineChoice
from isosmoke.errors import EngineError
from isosmoke.gate import receipt_inputs
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.rootfs_images import image_kinds


def create_system(directory: Path) -> Path:
    """Create a minimal root filesystem in `directory`."""
    (directory / "usr/bin").mkdir(parents=True)
    (directory / "proc").mkdir()
    return directory


def test_directory_is_relative_to_the_manifest(tmp_path: Path) -> None:
    """`rootfs:` takes a path relative to the manifest's directory, or an absolute one."""
    root = create_system(tmp_path / "systems/one")
    assert image_kinds.find_root("rootfs:../systems/one", tmp_path / "project") == root
    assert image_kinds.find_root(f"rootfs:{root}", tmp_path / "elsewhere") == root


@pytest.mark.parametrize("image", ["host", "debian:12", "isosmoke/debian"])
def test_other_images_are_not_directories(image: str, tmp_path: Path) -> None:
    """The host's image and an engine's images are not looked up on disk."""
    assert image_kinds.find_root(image, tmp_path) is None
    assert image_kinds.digest(image, tmp_path) == ""


def test_directory_without_a_system_is_refused(tmp_path: Path) -> None:
    """A missing directory and a directory without a system are refused alike."""
    for directory in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(EngineError, match=f"no root filesystem in {directory}"):
            image_kinds.find_root(f"rootfs:{directory}", tmp_path)


def test_verdict_is_bound_to_directory_content(tmp_path: Path) -> None:
    """A changed file of the system changes the receipt's input; a file in /proc does not."""
    root = create_system(tmp_path / "system")
    (tmp_path / "one.sh").touch()
    (tmp_path / "manifest.toml").touch()

    def compute_input() -> str:
        scenario = Scenario.validate(
            {"name": "one", "script": "one.sh", "image": "rootfs:system"}
        ).place(tmp_path)
        loaded = Manifest(path=tmp_path / "manifest.toml", scenarios=(scenario,))
        inputs = receipt_inputs.collect_inputs(loaded, loaded.scenarios, EngineChoice(AUTO))
        return next(entry.sha256 for entry in inputs if entry.name == "image rootfs:system")

    before = compute_input()
    (root / "proc/1").touch()
    assert compute_input() == before
    (root / "usr/bin/tool").touch()
    assert compute_input() != before
