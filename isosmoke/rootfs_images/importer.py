"""Root filesystems that are brought here by name, and removed.

Both happen by renaming, and a run holds what it uses (`images.held`): nobody ever sees half of one.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from isosmoke.errors import ImageError, UsageError
from isosmoke.host import files, state
from isosmoke.rootfs_images import store, tree_hash
from isosmoke.rootfs_images.store import ROOTFS, Image
from isosmoke.rootfs_images.unpack import Unpacking
from isosmoke.sandbox.spec import HOST_IMAGE

_NAME_LENGTH = 80  # each character may take three in a file name, which ends with `.json`
_SHOWN = 10
_LAYERED = ("manifest.json", "oci-layout")


def add(source: Path, name: str, *, replace: bool) -> tuple[Image, tuple[str, ...]]:
    """Keep what is in `source` by this name; also tells what differs from what had it before.

    `ImageError` where that is anything and `replace` is not asked for.
    """
    _check(name)
    with state.scratch() as folder:
        unpacked = folder / "rootfs"
        unpacked.mkdir(mode=0o755)
        filled = Unpacking(unpacked)
        filled.take(source)
        _check_kind(unpacked, source)
        store.likely(unpacked, name)
        listed = store.listing(unpacked)
        image = Image(
            name=name,
            digest=tree_hash.digest(listed),
            size=filled.size,
            source=str(source),
            imported_at=datetime.now().astimezone(),
            left_out=tuple(filled.left_out),
        )
        with _locked():
            return image, _place(image, unpacked, listed, replace=replace)


def _check(name: str) -> None:
    taken = name == HOST_IMAGE or name.startswith(ROOTFS)
    if taken or not name.strip() or len(name) > _NAME_LENGTH:
        raise UsageError(f"'{name}' cannot be the name of an image", hint="choose another")


def _check_kind(unpacked: Path, source: Path) -> None:
    if any((unpacked / one).exists() for one in _LAYERED):
        raise ImageError(
            f"{source} holds an image in layers, as docker save writes it",
            hint="docker export $(docker create IMAGE) | isosmoke image import - NAME",
        )


def _place(
    image: Image, unpacked: Path, listed: tree_hash.Listing, *, replace: bool
) -> tuple[str, ...]:
    before = store.named(image.name)
    if before and not before.folder.is_dir():
        before = None
    if before and before.digest == image.digest:
        return ()
    changes = tree_hash.differences(store.listing(before.folder), listed) if before else ()
    if before and not replace:
        raise ImageError(
            f"image '{image.name}' is there already, and differs: {shortly(changes)}",
            hint="--replace, or another name",
        )
    with _alone(before):
        if not image.folder.is_dir():
            unpacked.rename(state.kept("rootfs") / image.digest)
        _write(image)
        _forget(before)
    return changes


def shortly(changes: tuple[str, ...]) -> str:
    """How many entries of an image came (+), went (-) and changed (~), and the first of them."""
    counts = " ".join(f"{sign}{sum(one[0] == sign for one in changes)}" for sign in "+-~")
    return f"{counts}: {', '.join(changes[:_SHOWN])}{', ...' if len(changes) > _SHOWN else ''}"


def _write(image: Image) -> None:
    with state.scratch() as folder:
        record = folder / "record"
        record.write_text(image.model_dump_json(indent=2) + "\n")
        state.kept("images")
        record.rename(store.record(image.name))


def remove(name: str) -> Image:
    """Keep it no more; `ImageError` where there is none, or a run uses it."""
    with _locked():
        image = store.named(name)
        if image is None:
            raise ImageError(f"no image '{name}' was imported", hint="isosmoke image list")
        with _alone(image):
            store.record(name).unlink()
            _forget(image)
    return image


def _forget(image: Image | None) -> None:
    """Remove what an image held, unless a name still stands for it."""
    if image is None or any(one.digest == image.digest for one in store.kept()):
        return
    with state.scratch() as folder, suppress(FileNotFoundError):
        image.folder.rename(folder / "rootfs")


@contextmanager
def _locked() -> Iterator[None]:
    """One import or removal at a time."""
    with files.lock(state.kept("locks") / "images"):
        yield


@contextmanager
def _alone(image: Image | None) -> Iterator[None]:
    """Let no run use it meanwhile, or say that one does."""
    with ExitStack() as stack:
        if image and image.folder.is_dir():
            try:
                folder = store.likely(image.folder, image.name)
                stack.enter_context(files.lock_directory(folder, wait=False))
            except BlockingIOError as error:
                words = f"image '{image.name}' is used by a run"
                raise ImageError(words, hint="wait for that run to end") from error
        yield
