"""The meaning of `image` on this machine: the host, a root filesystem, or an engine's image.

A root filesystem that `isosmoke.rootfs_images.importer` imported has a name. A small record
describes it, and a directory named after its digest holds its content.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote

from isosmoke.dataclass import dataclass
from isosmoke.errors import ImageError, suggest_remedy
from isosmoke.host import files, state
from isosmoke.rootfs_images import tree_hash
from isosmoke.rootfs_images.archives.limits import Budget
from isosmoke.rootfs_images.shipped_dockerfiles import BUILT_PREFIX
from isosmoke.sandbox import rootfs_mounts
from isosmoke.sandbox.spec import HOST_IMAGE

ROOTFS_PREFIX = "rootfs:"
"""The prefix of an image name that is the path of a directory."""

RECREATED = ("dev", "proc", "run", "sys", "tmp")
"""The system directories whose content no sandbox shows."""

_SMALLER = "name a directory with a system only, or import it with isosmoke image import"

_SYSTEM_DIRECTORIES = ("usr", "bin", "lib")


@dataclass(frozen=True, kw_only=True)
class Image:
    """An imported root filesystem; `size` in bytes, `left_out` names entries not imported."""

    schema_version: Literal[1] = 1
    name: str
    digest: str
    size: int
    source: str
    imported_at: datetime
    left_out: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return state.get_state_directory() / "rootfs" / self.digest


def find_root(image: str, directory: Path) -> Path | None:
    """Return the root filesystem that `image` names, None if it is not a directory on this machine.

    A relative path is resolved against `directory`, the manifest's directory.

    Raises:
        ImageError: if the directory has no root filesystem.
    """
    if image.startswith(ROOTFS_PREFIX):
        return require_rootfs(
            (directory / Path(image.removeprefix(ROOTFS_PREFIX)).expanduser()).resolve(), image
        )
    imported = None if image == HOST_IMAGE else find_image(image)
    return None if imported is None else require_rootfs(imported.folder, image)


def require_rootfs(directory: Path, image: str) -> Path:
    """Return `directory` if it contains the root filesystem for `image`.

    Raises:
        ImageError: if it does not.
    """
    if not any(
        rootfs_mounts.resolve_inside(directory, PurePosixPath("/", name))
        for name in _SYSTEM_DIRECTORIES
    ):
        raise ImageError(
            f"image '{image}': no root filesystem in {directory}",
            hint="name a directory with a system's /usr, /bin and /lib, as created by debootstrap",
        )
    return directory


def digest(image: str, directory: Path) -> str:
    """Return the SHA-256 of a root filesystem's content; empty if `find_root` returns None.

    Raises:
        ImageError: if a directory that was not imported is too large to be read for each run.
    """
    rootfs = find_root(image, directory)
    if rootfs is None:
        return ""
    imported = None if image.startswith(ROOTFS_PREFIX) else find_image(image)
    if imported:
        return imported.digest
    budget = Budget(f"image '{image}'", size_hint=_SMALLER, entries_hint=_SMALLER)
    return tree_hash.compute_digest(list_entries(rootfs, budget))


def list_entries(directory: Path, budget: Budget | None = None) -> tree_hash.Listing:
    """Return the entries of a root filesystem that count for its digest; see `tree_hash`."""
    return tree_hash.list_entries(directory, excluded=RECREATED, budget=budget)


def suggest_commands(image: str, program: str = "docker") -> str:
    """Return commands that provide a missing image; `program` has the daemon that lacks it."""
    if image.startswith(BUILT_PREFIX):
        return f"isosmoke image build {image.removeprefix(BUILT_PREFIX).partition(':')[0]}"
    return f"{program} pull {image}, or isosmoke image import ARCHIVE|DIRECTORY {image}"


def find_image(name: str) -> Image | None:
    """Return the imported image of this name, None if there is none."""
    with suppress(FileNotFoundError):
        return _read_record(get_record_path(name))
    return None


def list_images() -> tuple[Image, ...]:
    """Return all imported images, sorted by name."""
    records = state.ensure_directory("images").iterdir()  # unlike glob, it raises errors
    images = (_read_record(path) for path in records if path.suffix == ".json")
    return tuple(sorted(images, key=lambda image: image.name))


def get_record_path(name: str) -> Path:
    """Return the path of the record of a name."""
    return state.get_state_directory() / "images" / f"{quote(name, safe='')}.json"


def _read_record(path: Path) -> Image:
    try:
        return _parse_record(path, files.read(path, follow=False))
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}", suggest_remedy(error)) from error
    except OSError as error:
        raise _describe_damage(path, f": {error.strerror}") from error


def _parse_record(path: Path, content: bytes) -> Image:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Image).validate_json(content)
    except ValidationError as error:
        raise _describe_damage(path) from error


def _describe_damage(path: Path, reason: str = "") -> ImageError:
    return ImageError(f"{path} is damaged{reason}", f"rm -r {path}, then import it again")


@contextmanager
def images_in_use(names: Iterable[str]) -> Iterator[None]:
    """Prevent the removal of these images during the block, as far as they are imported."""
    images = (find_image(name) for name in dict.fromkeys(names) if name != HOST_IMAGE)
    with ExitStack() as stack:
        for image in filter(None, images):
            directory = require_rootfs(image.folder, image.name)
            stack.enter_context(files.lock_directory(directory, shared=True))
            require_rootfs(image.folder, image.name)
        yield
