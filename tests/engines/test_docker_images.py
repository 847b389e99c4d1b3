"""Images that Docker builds: from local images, with the daemon's output."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import pytest
from docker import APIClient

from isosmoke.engines.docker import endpoint
from isosmoke.engines.docker.endpoint import CallerEnvironment
from isosmoke.engines.docker.engine import DockerEngine
from isosmoke.errors import ImageError
from isosmoke.rootfs_images.shipped_dockerfiles import Recipe
from support import available


@pytest.fixture
def docker() -> DockerEngine:
    """Return a working engine; skip the test with the reason if there is none."""
    available.require_engine("docker")
    return DockerEngine()


@pytest.fixture
def base(docker: DockerEngine) -> Iterator[str]:
    """Yield a base image with one file, removed with all images that were built on it."""
    name = f"isosmoke-tests/base:{token_hex(4)}"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        writer.addfile(tarfile.TarInfo("file"))
    with closing(APIClient(endpoint.find_docker(CallerEnvironment.current()).url)) as client:
        client.import_image_from_data(archive.getvalue(), name)
        yield name
        for image in docker.images.built():
            if image.tag.startswith("isosmoke-tests/"):
                client.remove_image(image.tag, force=True)
        client.remove_image(name)


def create_recipe(directory: Path, base: str, text: str) -> Recipe:
    """Create a Dockerfile in a directory and return its recipe."""
    (directory / "Dockerfile").write_text(text)
    (directory / "more").touch()
    name = f"isosmoke-tests/{token_hex(4)}"
    return Recipe(directory, base, (f"{name}:1", f"{name}:latest"))


def test_image_is_built_on_the_named_base(docker: DockerEngine, base: str, tmp_path: Path) -> None:
    """The image has both tags, the output is returned, and the image is listed with its digest."""
    recipe = create_recipe(tmp_path, base, "ARG BASE=nowhere:1\nFROM ${BASE}\nCOPY more /more\n")
    output = "".join(docker.images.build(recipe))
    assert "COPY more /more" in output
    listed = {image.tag: image for image in docker.images.built()}
    assert set(recipe.tags) <= set(listed)
    assert {listed[tag].digest for tag in recipe.tags} == {docker.image_digest(recipe.tags[0])}


def test_missing_base_is_not_fetched(docker: DockerEngine, tmp_path: Path) -> None:
    """The hint says how to get the base image, and nothing is built."""
    recipe = create_recipe(tmp_path, "isosmoke-tests/nowhere:1", "ARG BASE\nFROM ${BASE}\n")
    with pytest.raises(ImageError, match="no base image") as caught:
        list(docker.images.build(recipe))
    assert "docker pull isosmoke-tests/nowhere:1" in caught.value.hint


def test_failed_build_is_reported_and_leaves_no_image(
    docker: DockerEngine, base: str, tmp_path: Path
) -> None:
    """The error contains the daemon's message."""
    recipe = create_recipe(tmp_path, base, "ARG BASE\nFROM ${BASE}\nCOPY nothing /more\n")
    with pytest.raises(ImageError, match=r"could not build isosmoke-tests/\w+:1: .*nothing"):
        list(docker.images.build(recipe))
    assert not {*recipe.tags} & {image.tag for image in docker.images.built()}
