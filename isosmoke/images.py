"""What `image` means on this machine: the host's folders, a root filesystem, or an engine's."""

from pathlib import Path, PurePosixPath

from isosmoke import rootfs, tree
from isosmoke.errors import EngineError

ROOTFS = "rootfs:"
"""What the name of an image begins with that is a folder."""

_MADE_ANEW = ("dev", "proc", "run", "sys", "tmp")
"""The folders of a system whose content no sandbox shows."""

_LIKELY = ("usr", "bin", "lib", "etc")


def root(image: str, folder: Path) -> Path | None:
    """The root filesystem that `image` names, None where no folder of this machine is one.

    A relative path lies in `folder`, which is the manifest's. `EngineError` when it is not there.
    """
    if not image.startswith(ROOTFS):
        return None
    named = (folder / Path(image.removeprefix(ROOTFS)).expanduser()).resolve()
    if not any(rootfs.inside(named, PurePosixPath("/", one)) for one in _LIKELY):
        raise EngineError(
            f"image '{image}': no root filesystem in {named}",
            hint="name a folder with the /usr, /bin, /etc of a system, as debootstrap makes one",
        )
    return named


def digest(image: str, folder: Path) -> str:
    """The sha256 of what the root filesystem holds; empty where `root` finds none."""
    found = root(image, folder)
    return tree.digest(tree.listing(found, apart=_MADE_ANEW)) if found else ""
