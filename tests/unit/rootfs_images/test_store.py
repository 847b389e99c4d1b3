"""What an image's name means here, and what a verdict about it is bound to."""

from pathlib import Path

import pytest

from isosmoke.engines import AUTO, EngineChoice
from isosmoke.errors import EngineError
from isosmoke.gate import receipt_inputs
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.rootfs_images import store


def system(folder: Path) -> Path:
    """The least that passes for a root filesystem."""
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "proc").mkdir()
    return folder


def test_folder_is_relative_to_the_manifest(tmp_path: Path) -> None:
    """`rootfs:` and a path from the manifest's folder, or an absolute one."""
    found = system(tmp_path / "systems/one")
    assert store.root("rootfs:../systems/one", tmp_path / "project") == found
    assert store.root(f"rootfs:{found}", tmp_path / "elsewhere") == found


@pytest.mark.parametrize("image", ["host", "debian:12", "isosmoke/debian"])
def test_other_images_are_no_folders(image: str, tmp_path: Path) -> None:
    """The host's own system and what an engine has are not looked for on disk."""
    assert store.root(image, tmp_path) is None
    assert store.digest(image, tmp_path) == ""


def test_folder_that_holds_no_system_is_named(tmp_path: Path) -> None:
    """Whether it is missing or merely something else."""
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(EngineError, match=f"no root filesystem in {folder}"):
            store.root(f"rootfs:{folder}", tmp_path)


def test_verdict_is_bound_to_what_the_folder_holds(tmp_path: Path) -> None:
    """A changed file of the system changes the receipt's input; what is made anew does not."""
    found = system(tmp_path / "system")
    (tmp_path / "one.sh").touch()
    (tmp_path / "manifest.toml").touch()

    def bound() -> str:
        scenario = Scenario.model_validate(
            {"name": "one", "script": "one.sh", "image": "rootfs:system"}, context=tmp_path
        )
        loaded = Manifest(path=tmp_path / "manifest.toml", scenarios=(scenario,))
        inputs = receipt_inputs.inputs(loaded, loaded.scenarios, EngineChoice(AUTO))
        return next(one.sha256 for one in inputs if one.name == "image rootfs:system")

    before = bound()
    (found / "proc/1").touch()
    assert bound() == before
    (found / "usr/bin/tool").touch()
    assert bound() != before
