"""What `image` means on this machine: the host's folders, a root filesystem, or an engine's.

A root filesystem that `isosmoke.rootfs_images.importer` brought has a name. What the name stands
for is a small record; what it holds lies in a folder that its digest names.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from isosmoke.errors import ImageError
from isosmoke.host import files, state
from isosmoke.rootfs_images import tree_hash
from isosmoke.rootfs_images.shipped_dockerfiles import BUILT
from isosmoke.sandbox import rootfs_mounts
from isosmoke.sandbox.spec import HOST_IMAGE

ROOTFS = "rootfs:"
"""What the name of an image begins with that is a folder."""

_MADE_ANEW = ("dev", "proc", "run", "sys", "tmp")
"""The folders of a system whose content no sandbox shows."""

_LIKELY = ("usr", "bin", "lib")


class Image(BaseModel):
    """A root filesystem that is kept here; `size` in bytes, `left_out` what was not brought."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[1] = 1
    name: str
    digest: str
    size: int
    source: str
    imported_at: datetime
    left_out: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return state.state_folder() / "rootfs" / self.digest


def root(image: str, folder: Path) -> Path | None:
    """The root filesystem that `image` names, None where no folder of this machine is one.

    A relative path lies in `folder`, which is the manifest's. `ImageError` when it is not there.
    """
    if image.startswith(ROOTFS):
        return likely((folder / Path(image.removeprefix(ROOTFS)).expanduser()).resolve(), image)
    found = None if image == HOST_IMAGE else named(image)
    return None if found is None else likely(found.folder, image)


def likely(folder: Path, image: str) -> Path:
    """The folder, where it holds the root filesystem that `image` should be."""
    if not any(rootfs_mounts.inside(folder, PurePosixPath("/", one)) for one in _LIKELY):
        raise ImageError(
            f"image '{image}': no root filesystem in {folder}",
            hint="name what has the /usr, /bin, /lib of a system, as debootstrap makes them",
        )
    return folder


def digest(image: str, folder: Path) -> str:
    """The sha256 of what the root filesystem holds; empty where `root` finds none."""
    found = root(image, folder)
    if found is None:
        return ""
    image_here = None if image.startswith(ROOTFS) else named(image)
    return image_here.digest if image_here else tree_hash.digest(listing(found))


def listing(folder: Path) -> tree_hash.Listing:
    """What of a root filesystem counts."""
    return tree_hash.listing(folder, apart=_MADE_ANEW)


def how_to_get(image: str, program: str = "docker") -> str:
    """What would bring an image that is not here; `program` has the daemon that lacks it."""
    if image.startswith(BUILT):
        return f"isosmoke image build {image.removeprefix(BUILT).partition(':')[0]}"
    return f"{program} pull {image}, or isosmoke image import ARCHIVE|FOLDER {image}"


def named(name: str) -> Image | None:
    """The image that is kept here by this name."""
    with suppress(FileNotFoundError):
        return _read(record(name))
    return None


def kept() -> tuple[Image, ...]:
    """All that are kept here, by name."""
    found = (_read(one) for one in state.kept("images").glob("*.json"))
    return tuple(sorted(found, key=lambda one: one.name))


def record(name: str) -> Path:
    """Where it is written down what a name stands for."""
    return state.state_folder() / "images" / f"{quote(name, safe='')}.json"


def _read(path: Path) -> Image:
    try:
        return Image.model_validate_json(path.read_text())
    except ValidationError as error:
        raise ImageError(f"{path} is damaged", hint=f"rm {path}, then import it again") from error


@contextmanager
def held(names: Iterable[str]) -> Iterator[None]:
    """Keep those of these images that are kept here from being removed, until the block ends."""
    found = (named(one) for one in dict.fromkeys(names) if one != HOST_IMAGE)
    with ExitStack() as stack:
        for image in filter(None, found):
            folder = likely(image.folder, image.name)
            stack.enter_context(files.lock_directory(folder, shared=True))
            likely(image.folder, image.name)
        yield
