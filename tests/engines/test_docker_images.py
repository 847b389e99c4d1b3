"""Images that Docker builds: from what is here, and told as it happens."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import pytest
from docker import APIClient

from isosmoke.engines.docker import endpoint
from isosmoke.engines.docker.endpoint import Place
from isosmoke.engines.docker.engine import DockerEngine
from isosmoke.errors import ImageError
from isosmoke.rootfs_images.shipped_dockerfiles import Recipe
from support import available


@pytest.fixture
def docker() -> DockerEngine:
    """An engine that works, or a loud skip."""
    available.engine("docker")
    return DockerEngine()


@pytest.fixture
def base(docker: DockerEngine) -> Iterator[str]:
    """An image with one file, that is gone afterwards with all that was built on it."""
    name = f"isosmoke-tests/base:{token_hex(4)}"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        writer.addfile(tarfile.TarInfo("file"))
    with closing(APIClient(endpoint.docker(Place.here()).url)) as client:
        client.import_image_from_data(archive.getvalue(), name)
        yield name
        for one in docker.images.built():
            if one.tag.startswith("isosmoke-tests/"):
                client.remove_image(one.tag, force=True)
        client.remove_image(name)


def recipe(folder: Path, base: str, text: str) -> Recipe:
    """A Dockerfile in a folder."""
    (folder / "Dockerfile").write_text(text)
    (folder / "more").touch()
    name = f"isosmoke-tests/{token_hex(4)}"
    return Recipe(folder, base, (f"{name}:1", f"{name}:latest"))


def test_image_is_built_on_the_named_base(docker: DockerEngine, base: str, tmp_path: Path) -> None:
    """It has both tags, what was printed is told, and it is listed with its size and digest."""
    made = recipe(tmp_path, base, "ARG BASE=nowhere:1\nFROM ${BASE}\nCOPY more /more\n")
    said = "".join(docker.images.build(made))
    assert "COPY more /more" in said
    listed = {one.tag: one for one in docker.images.built()}
    assert set(made.tags) <= set(listed)
    assert {listed[one].digest for one in made.tags} == {docker.image_digest(made.tags[0])}


def test_missing_base_is_not_fetched(docker: DockerEngine, tmp_path: Path) -> None:
    """It is said how to get it, before anything is sent."""
    made = recipe(tmp_path, "isosmoke-tests/nowhere:1", "ARG BASE\nFROM ${BASE}\n")
    with pytest.raises(ImageError, match="to build on") as caught:
        list(docker.images.build(made))
    assert "docker pull isosmoke-tests/nowhere:1" in caught.value.hint


def test_failed_build_is_told_and_leaves_no_image(
    docker: DockerEngine, base: str, tmp_path: Path
) -> None:
    """In the daemon's words."""
    made = recipe(tmp_path, base, "ARG BASE\nFROM ${BASE}\nCOPY nothing /more\n")
    with pytest.raises(ImageError, match=r"could not build isosmoke-tests/\w+:1: .*nothing"):
        list(docker.images.build(made))
    assert not {*made.tags} & {one.tag for one in docker.images.built()}
