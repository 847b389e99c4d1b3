"""An image with one small static server in it, made here: tests of services need no registry."""

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
def image(folder: Path) -> Iterator[str]:
    """The name of the image, which is removed after the block."""
    name = f"isosmoke-tests/companion:{token_hex(4)}"
    client = docker.APIClient(version="auto")
    try:
        archive = _archive(compiled(folder / "companion"))
        repository, tag = name.split(":")
        client.import_image_from_data(archive, repository, tag, changes=list(_CHANGES))
        yield name
        client.remove_image(name, force=True)
    finally:
        client.close()


def compiled(program: Path) -> Path:
    """The program itself, or a loud skip where nothing can make it."""
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
        pytest.skip(f"no static program can be made here: {error}")
    return program


def _archive(program: Path) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        writer.add(program, "companion")
    return archive.getvalue()
