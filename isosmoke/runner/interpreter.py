"""What runs a scenario's script: the bash of its image, found independently of any PATH.

What runs is a copy that its hash names, mounted at the place of the original: what was hashed is
what ran. Of an image that only an engine has, the image's digest binds it, and the keeper looks for
it in fixed directories.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path, PurePosixPath

from isosmoke.errors import EngineError
from isosmoke.host import files, system_programs
from isosmoke.host.system_programs import DIRECTORIES
from isosmoke.rootfs_images import store
from isosmoke.sandbox import rootfs_mounts, user_files
from isosmoke.sandbox.interpreter import Interpreter
from isosmoke.sandbox.spec import HOST_IMAGE

NAME = "bash"

_MADE_ANEW = tuple(PurePosixPath(one) for one in ("/dev", "/proc", "/run", "/sys", "/tmp"))  # noqa: S108
"""What every sandbox has fresh: nothing that an image has there can be run."""


def find(image: str, folder: Path, hidden: Collection[PurePosixPath] = ()) -> Interpreter:
    """Return what runs the scripts of an image; a relative image path starts from `folder`.

    What lies beneath one of `hidden` does not count: the sandbox shows something else there.

    Raises:
        EngineError: if the image has no bash in a directory of the system.
    """
    if image == HOST_IMAGE:
        return _of_host(hidden)
    root = store.root(image, folder)
    if root is not None:
        return _of_root(image, root, hidden)
    searched = (one for one in DIRECTORIES if not _is_hidden(PurePosixPath(one), hidden))
    return Interpreter(image, NAME, search=":".join(searched))


def _of_host(hidden: Collection[PurePosixPath]) -> Interpreter:
    found = system_programs.find(NAME, apart=map(Path, hidden))
    if found is None:
        raise _missing(HOST_IMAGE, "and nobody but the administrator can change")
    real = found.resolve()
    return _hashed(HOST_IMAGE, PurePosixPath(real), real)


def _of_root(image: str, root: Path, hidden: Collection[PurePosixPath]) -> Interpreter:
    hidden = (*hidden, *_MADE_ANEW)
    for directory in DIRECTORIES:
        file = rootfs_mounts.which(root, NAME, directory)
        inside = file and PurePosixPath("/", file.relative_to(root))
        if file and inside and not _is_hidden(inside, hidden):
            return _hashed(image, inside, file)
    raise _missing(image, "and the sandbox shows as it is in the image")


def taken(found: Interpreter) -> Interpreter:
    """Return the same with a copy in the state folder, and the hash of that copy.

    Raises:
        EngineError: if it cannot be copied.
    """
    if found.source is None:
        return found
    try:
        copy = user_files.placed(found.source)
    except OSError as error:
        raise _unreadable(found.source, error) from error
    return replace(found, sha256=copy.name, copy=copy)


def _hashed(image: str, path: PurePosixPath, file: Path) -> Interpreter:
    try:
        return Interpreter(image, str(path), sha256=files.sha256(file), source=file)
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> EngineError:
    return EngineError(
        f"{file}, which runs the scripts, cannot be read or copied: {error.strerror or error}",
        hint="make it readable, and see that the state folder has room (isosmoke doctor names it)",
    )


def _is_hidden(path: PurePosixPath, hidden: Collection[PurePosixPath]) -> bool:
    return any(path.is_relative_to(one) for one in hidden)


def _missing(image: str, which: str) -> EngineError:
    where = ":".join(DIRECTORIES)
    return EngineError(
        f"image '{image}' has no bash to run scripts with that lies in {where} {which}",
        hint=f"install bash in the system of '{image}', or choose another image",
    )
