"""Import and removal of named root filesystems.

Both take effect by renaming, and a run locks the images that it uses (`store.held`), so no process
ever sees an incomplete image.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from isosmoke.errors import ImageError, LeftBehindError, UsageError
from isosmoke.host import files, state
from isosmoke.rootfs_images import image_kinds, tree_hash
from isosmoke.rootfs_images.archives.limits import DEFAULT_MAX_SIZE, Budget
from isosmoke.rootfs_images.archives.unpack import Unpacker
from isosmoke.rootfs_images.image_kinds import ROOTFS_PREFIX, Image
from isosmoke.sandbox.spec import HOST_IMAGE

_MAX_NAME_LENGTH = 80  # a character may become three in the file name, which ends with `.json`
_MAX_SHOWN = 10
_LAYERED_MARKERS = ("manifest.json", "oci-layout")


def add(
    source: Path,
    name: str,
    *,
    replace: bool,
    max_size: int = DEFAULT_MAX_SIZE,
    guard: AbstractContextManager[None] | None = None,
) -> tuple[Image, tuple[str, ...]]:
    """Import the content of `source` under a name; also return the changes from the previous image.

    What killed processes left is removed first. `max_size` is in GiB. `guard` is entered while the
    content is unpacked, and may raise an exception at any time: everything is removed then.

    Raises:
        ImageError: if the name has other content and `replace` is false, or if a limit is exceeded.
    """
    _check_name(name)
    with suppress(LeftBehindError):  # `isosmoke sweep` reports it
        state.sweep_scratch()
    with state.scratch() as directory:
        unpacked = directory / "rootfs"
        unpacked.mkdir(mode=0o755)
        with guard or nullcontext():
            unpacker = Unpacker(unpacked, Budget(source, max_size))
            unpacker.unpack(source)
            _check_kind(unpacked, source)
            image_kinds.require_rootfs(unpacked, name)
            listing = image_kinds.list_entries(unpacked)
        image = Image(
            name=name,
            digest=tree_hash.compute_digest(listing),
            size=unpacker.size,
            source=str(source),
            imported_at=datetime.now().astimezone(),
            left_out=tuple(unpacker.left_out),
        )
        with _locked():
            return image, _install(image, unpacked, listing, replace=replace)


def _check_name(name: str) -> None:
    is_reserved = name == HOST_IMAGE or name.startswith(ROOTFS_PREFIX)
    if is_reserved or not name.strip() or len(name) > _MAX_NAME_LENGTH:
        raise UsageError(f"'{name}' cannot be used as an image name", hint="choose another name")


def _check_kind(unpacked: Path, source: Path) -> None:
    if any((unpacked / marker).exists() for marker in _LAYERED_MARKERS):
        raise ImageError(
            f"{source} contains an image in layers, as written by docker save",
            hint="docker export $(docker create IMAGE) | isosmoke image import - NAME",
        )


def _install(
    image: Image, unpacked: Path, listing: tree_hash.Listing, *, replace: bool
) -> tuple[str, ...]:
    previous = image_kinds.find_image(image.name)
    if previous and not previous.folder.is_dir():
        previous = None
    if previous and previous.digest == image.digest:
        return ()
    changes = (
        tree_hash.compare_listings(image_kinds.list_entries(previous.folder), listing)
        if previous
        else ()
    )
    if previous and not replace:
        raise ImageError(
            f"image '{image.name}' already exists with other content: {summarize_changes(changes)}",
            hint="pass --replace, or choose another name",
        )
    with _exclusive_use(previous):
        if not image.folder.is_dir():
            unpacked.rename(state.ensure_directory("rootfs") / image.digest)
        _write_record(image)
        _remove_unreferenced(previous)
    return changes


def summarize_changes(changes: tuple[str, ...]) -> str:
    """Return the numbers of new (+), removed (-) and changed (~) entries, and the first entries."""
    counts = " ".join(f"{sign}{sum(change[0] == sign for change in changes)}" for sign in "+-~")
    return (
        f"{counts}: {', '.join(changes[:_MAX_SHOWN])}{', ...' if len(changes) > _MAX_SHOWN else ''}"
    )


def _write_record(image: Image) -> None:
    with state.scratch() as directory:
        record = directory / "record"
        record.write_bytes(TypeAdapter(Image).dump_json(image, indent=2) + b"\n")
        state.ensure_directory("images")
        record.rename(image_kinds.get_record_path(image.name))


def remove(name: str) -> Image:
    """Remove an imported image and return it.

    Raises:
        ImageError: if there is none of this name, or if a run uses it.
    """
    with _locked():
        image = image_kinds.find_image(name)
        if image is None:
            raise ImageError(f"no imported image '{name}'", hint="isosmoke image list")
        with _exclusive_use(image):
            image_kinds.get_record_path(name).unlink()
            _remove_unreferenced(image)
    return image


def _remove_unreferenced(image: Image | None) -> None:
    """Remove the content of an image, unless another name refers to it."""
    if image is None or any(other.digest == image.digest for other in image_kinds.list_images()):
        return
    with state.scratch() as directory, suppress(FileNotFoundError):
        image.folder.rename(directory / "rootfs")


@contextmanager
def _locked() -> Iterator[None]:
    """Allow one import or removal at a time."""
    with files.lock(state.ensure_directory("locks") / "images"):
        yield


@contextmanager
def _exclusive_use(image: Image | None) -> Iterator[None]:
    """Prevent runs from using an image; raise `ImageError` if one already does."""
    with ExitStack() as stack:
        if image and image.folder.is_dir():
            try:
                directory = image_kinds.require_rootfs(image.folder, image.name)
                stack.enter_context(files.lock_directory(directory, wait=False))
            except BlockingIOError as error:
                message = f"image '{image.name}' is in use by a run"
                raise ImageError(message, hint="wait for the run to end") from error
        yield
