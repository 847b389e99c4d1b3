"""The Dockerfiles that come with isosmoke: found in a clone and in a wheel, and whole."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from isosmoke.errors import UsageError
from isosmoke.rootfs_images import shipped_dockerfiles
from support.paths import ROOT


def test_every_recipe_stands_on_a_base_that_can_be_chosen() -> None:
    """And no other image: so nothing is fetched that nobody named."""
    assert shipped_dockerfiles.names() == tuple(
        sorted(one.name for one in (ROOT / "images").iterdir())
    )
    for name in shipped_dockerfiles.names():
        text = (shipped_dockerfiles.folder(name) / "Dockerfile").read_text()
        assert [line for line in text.splitlines() if line.startswith("FROM")] == ["FROM ${BASE}"]
        assert f"ARG BASE={shipped_dockerfiles.recipe(name).base}" in text


def test_tag_changes_with_what_is_built() -> None:
    """One tag is the hash of the Dockerfile and its base, the other always the same."""
    plain, other = (
        shipped_dockerfiles.recipe("debian"),
        shipped_dockerfiles.recipe("debian", "mine:1"),
    )
    assert (plain.folder, other.base) == (other.folder, "mine:1")
    assert plain.tags[0] != other.tags[0]
    assert plain.tags[1] == other.tags[1] == "isosmoke/debian:latest"
    assert shipped_dockerfiles.recipe("debian").tags == plain.tags


@pytest.mark.parametrize("name", ["nowhere", "../images/debian", ""])
def test_unknown_name_is_refused_with_those_that_there_are(name: str) -> None:
    """Whatever it is, no path of it is looked for."""
    with pytest.raises(UsageError) as caught:
        shipped_dockerfiles.folder(name)
    assert "there are debian" in caught.value.hint


def test_wheel_has_the_recipes(tmp_path: Path) -> None:
    """An installed isosmoke finds them inside its own package."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert "isosmoke/images/debian/Dockerfile" in packed.namelist()
