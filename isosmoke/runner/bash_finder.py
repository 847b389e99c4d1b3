"""The interpreter of a scenario's script: the bash of its image, independent of any PATH.

A copy of it, named by its hash, is mounted at the path of the original, so the file that was
hashed is the file that runs. If only an engine has the image, the image's digest identifies the
interpreter, and the keeper searches fixed directories.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path, PurePosixPath

from isosmoke.errors import EngineError
from isosmoke.host import files, system_programs
from isosmoke.host.system_programs import DIRECTORIES
from isosmoke.rootfs_images import image_kinds
from isosmoke.sandbox import rootfs_mounts
from isosmoke.sandbox.added import user_files
from isosmoke.sandbox.script_interpreter import Interpreter
from isosmoke.sandbox.spec import HOST_IMAGE

NAME = "bash"

_FRESH = tuple(map(PurePosixPath, ("/dev", "/proc", "/run", "/sys", "/tmp")))  # noqa: S108
"""Directories that every sandbox replaces: no program of an image can be run from them."""


def find(image: str, directory: Path, hidden: Collection[PurePosixPath] = ()) -> Interpreter:
    """Return the interpreter of an image; a relative image path starts from `directory`.

    Programs below one of `hidden` are ignored, because the sandbox has other files there.

    Raises:
        EngineError: if the image has no bash in a system directory.
    """
    if image == HOST_IMAGE:
        return _find_on_host(hidden)
    root = image_kinds.find_root(image, directory)
    if root is not None:
        return _find_in_root(image, root, hidden)
    visible = (path for path in DIRECTORIES if not _is_hidden(PurePosixPath(path), hidden))
    return Interpreter(image, NAME, search=":".join(visible))


def _find_on_host(hidden: Collection[PurePosixPath]) -> Interpreter:
    program = system_programs.find(NAME, exclude=map(Path, hidden))
    if program is None:
        raise _create_missing_error(HOST_IMAGE, "that only the administrator can change")
    real = program.resolve()
    return _hash(HOST_IMAGE, PurePosixPath(real), real)


def _find_in_root(image: str, root: Path, hidden: Collection[PurePosixPath]) -> Interpreter:
    hidden = (*hidden, *_FRESH)
    for directory in DIRECTORIES:
        file = rootfs_mounts.find_program(root, NAME, directory)
        inside = file and PurePosixPath("/", file.relative_to(root))
        if file and inside and not _is_hidden(inside, hidden):
            return _hash(image, inside, file)
    raise _create_missing_error(image, "that the sandbox shows unchanged")


def copy(bash: Interpreter) -> Interpreter:
    """Return the interpreter with a copy in the state directory and the hash of that copy.

    Raises:
        EngineError: if it cannot be copied.
    """
    if bash.source is None:
        return bash
    try:
        file = user_files.store_program(bash.source)
    except OSError as error:
        raise _create_unreadable_error(bash.source, error) from error
    return replace(bash, sha256=file.name, copy=file)


def _hash(image: str, path: PurePosixPath, file: Path) -> Interpreter:
    try:
        return Interpreter(image, str(path), sha256=files.sha256(file), source=file)
    except OSError as error:
        raise _create_unreadable_error(file, error) from error


def _create_unreadable_error(file: Path, error: OSError) -> EngineError:
    return EngineError(
        f"interpreter {file} cannot be read or copied: {error.strerror or error}",
        hint="make it readable, and free space in the state directory (see isosmoke doctor)",
    )


def _is_hidden(path: PurePosixPath, hidden: Collection[PurePosixPath]) -> bool:
    return any(path.is_relative_to(directory) for directory in hidden)


def _create_missing_error(image: str, condition: str) -> EngineError:
    where = ":".join(DIRECTORIES)
    return EngineError(
        f"image '{image}' has no bash in {where} {condition}",
        hint=f"install bash in image '{image}', or choose another image",
    )
