"""The images of a daemon: look up, digest, build and list them. No image is ever pulled."""

from collections.abc import Iterator
from contextlib import suppress

from docker.errors import ImageNotFound

from isosmoke.dataclass import dataclass
from isosmoke.engines.docker import create_body
from isosmoke.engines.docker.client import Client, Daemon, docker_errors
from isosmoke.errors import ImageError
from isosmoke.host import files, state
from isosmoke.rootfs_images import image_kinds
from isosmoke.rootfs_images.shipped_dockerfiles import Recipe
from isosmoke.sandbox.spec import HOST_IMAGE

BUILD_SECONDS = 600.0
"""The time for which a step of a build may print nothing, in seconds."""

_EMPTY_TAR = bytes(10240)


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image and one of its tags; `size` in bytes, `created` in seconds since the epoch."""

    tag: str
    digest: str
    size: int
    created: float


class DockerImages:
    """The images of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def has(self, image: str) -> bool:
        """Return whether the daemon has an image."""
        with self._daemon.client() as client, docker_errors(client, f"look up image '{image}'"):
            with suppress(ImageNotFound):
                client.inspect_image(image)  # type: ignore[no-untyped-call]
                return True
            return False

    def digest(self, image: str) -> str:
        """Return the SHA-256 of an image's configuration, which includes the digests of its layers.

        Raises:
            ImageError: if the daemon has no such image.
        """
        with self._daemon.client() as client, docker_errors(client, f"inspect image '{image}'"):
            try:
                details = client.inspect_image(image)  # type: ignore[no-untyped-call]
            except ImageNotFound as error:
                raise _missing_image_error(client, image) from error
            return _strip_algorithm(details["Id"])

    def build(self, recipe: Recipe) -> Iterator[str]:
        """Build an image, and yield the daemon's output during the build.

        Raises:
            ImageError: if the daemon does not have the base image, or if a step fails.
        """
        action = f"build {recipe.tags[0]}"
        with self._daemon.client(BUILD_SECONDS) as client, docker_errors(client, action):
            _require_base(client, recipe.base)
            yield from _run_build(client, recipe)
            for tag in recipe.tags[1:]:
                repository, _, name = tag.partition(":")
                client.tag(recipe.tags[0], repository, name)

    def built(self) -> tuple[BuiltImage, ...]:
        """Return the images that `build` has created and that still exist."""
        with self._daemon.client() as client, docker_errors(client, "list images"):
            images = client.images(filters={"label": create_body.IMAGE})
        rows = ((tag, image) for image in images for tag in image["RepoTags"] or ())
        return tuple(
            BuiltImage(tag, _strip_algorithm(image["Id"]), image["Size"], image["Created"])
            for tag, image in rows
        )


def provide_host_image(client: Client, image: str, error: ImageNotFound) -> None:
    """Create the host's image, which is empty, if the daemon lacks it.

    Raises:
        ImageError: for any other image.
    """
    if image != HOST_IMAGE:
        raise _missing_image_error(client, image) from error
    with files.lock(state.ensure_directory("locks") / "docker-image"):
        if not client.images(create_body.EMPTY_IMAGE):
            client.import_image_from_data(_EMPTY_TAR, create_body.EMPTY_IMAGE)


def _missing_image_error(client: Client, image: str) -> ImageError:
    hint = image_kinds.suggest_commands(image, client.program)
    return ImageError(f"{client.program} has no image '{image}'", hint)


def _strip_algorithm(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _require_base(client: Client, base: str) -> None:
    try:
        client.inspect_image(base)  # type: ignore[no-untyped-call]
    except ImageNotFound as error:
        hint = f"{client.program} pull {base}, or use --base to name a local image"
        raise ImageError(f"{client.program} has no base image '{base}'", hint) from error


def _run_build(client: Client, recipe: Recipe) -> Iterator[str]:
    """Build on the host's network, which sandboxes use too; a failed step leaves no container."""
    steps = client.build(
        path=str(recipe.directory),
        tag=recipe.tags[0],
        buildargs={"BASE": recipe.base},
        labels={create_body.IMAGE: recipe.tags[0]},
        network_mode="host",
        rm=True,
        forcerm=True,
        decode=True,
    )
    for step in steps:
        if "error" in step:
            raise ImageError(f"{client.program} could not build {recipe.tags[0]}: {step['error']}")
        yield str(step.get("stream", ""))
