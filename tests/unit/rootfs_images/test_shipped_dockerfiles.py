"""The Dockerfiles of a clone and of a wheel."""

import pytest

from isosmoke.errors import UsageError
from isosmoke.rootfs_images import shipped_dockerfiles
from support.paths import ROOT


def test_every_dockerfile_has_one_configurable_base() -> None:
    """Each Dockerfile has one configurable base image, so no other image is fetched."""
    assert shipped_dockerfiles.list_names() == tuple(
        sorted(directory.name for directory in (ROOT / "images").iterdir())
    )
    for name in shipped_dockerfiles.list_names():
        text = (shipped_dockerfiles.find_directory(name) / "Dockerfile").read_text()
        assert [line for line in text.splitlines() if line.startswith("FROM")] == ["FROM ${BASE}"]
        assert f"ARG BASE={shipped_dockerfiles.get_recipe(name).base}" in text


def test_first_tag_depends_on_dockerfile_and_base() -> None:
    """One tag is the hash of the Dockerfile and its base, the other is constant."""
    default, rebased = (
        shipped_dockerfiles.get_recipe("debian"),
        shipped_dockerfiles.get_recipe("debian", "mine:1"),
    )
    assert (default.directory, rebased.base) == (rebased.directory, "mine:1")
    assert default.tags[0] != rebased.tags[0]
    assert default.tags[1] == rebased.tags[1] == "isosmoke/debian:latest"
    assert shipped_dockerfiles.get_recipe("debian").tags == default.tags


@pytest.mark.parametrize("name", ["nowhere", "../images/debian", ""])
def test_unknown_name_is_refused_with_known_names(name: str) -> None:
    """An unknown name is never used as a path."""
    with pytest.raises(UsageError) as caught:
        shipped_dockerfiles.find_directory(name)
    assert "choose one of: debian" in caught.value.hint
