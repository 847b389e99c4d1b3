"""A local image with one small static server, so that tests of services need no registry."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import docker
import pytest

_SOURCE = Path(__file__).with_name("companion.c")
_CHANGES = (
    'ENTRYPOINT ["/companion"]',
    'CMD ["serve", "7000"]',
    'HEALTHCHECK --interval=1s CMD ["/companion", "check"]',
)


@contextmanager
def imported_image(directory: Path) -> Iterator[str]:
    """Yield the name of the image, and remove the image after the block."""
    name = f"isosmoke-tests/companion:{token_hex(4)}"
    client = docker.APIClient(version="auto")
    try:
        archive = _create_archive(compile_companion(directory / "companion"))
        repository, tag = name.split(":")
        client.import_image_from_data(archive, repository, tag, changes=list(_CHANGES))
        yield name
        client.remove_image(name, force=True)
    finally:
        client.close()


def compile_companion(program: Path) -> Path:
    """Compile the program and return its path, or skip where that is impossible."""
    command = [
        "cc",
        "-static",
        "-Os",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        str(program),
        str(_SOURCE),
    ]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot compile a static program: {error}")
    return program


def _create_archive(program: Path) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        writer.add(program, "companion")
    return archive.getvalue()
