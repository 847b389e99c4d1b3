"""The live binary under test: search, format check and the store of copies, named by hash."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from time import time  # noqa: TID251 - compared with file times, which are wall clock
from typing import Literal

from isosmoke.dataclass import dataclass
from isosmoke.errors import BinaryError, UsageError, suggest_remedy
from isosmoke.host import files, state
from isosmoke.host.files import trees
from isosmoke.host.learned import identities, store

COMMAND_NAME = "wg"
"""The name that scenarios use for the binary, in addition to its own."""

HOW_TO_NAME = "put it on PATH, set ISOSMOKE_WG, or pass --binary PATH"
"""Advice for a user whose live binary was not found."""

SHIM_MARK = "# isosmoke-shim:"
"""The beginning of the second line of isosmoke's own `wg`, which gates `wg done`."""

_LEARNED = "programs"

_Statuses = Mapping[str, os.stat_result]

_MAX_AGE_SECONDS = 7 * 86400.0
_SHIM_BYTES = 256
_HEADER_BYTES = 64
"""The size of a 64-bit ELF header (elf(5))."""

_ELF_MACHINES = {62: "x86_64", 183: "aarch64"}
_MACH_O = (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


@dataclass(frozen=True, slots=True)
class Binary:
    """One build: its source, its SHA-256, and the directory that holds its copy.

    The copy is the program that runs, so a rebuild during a run changes nothing.
    """

    source: Path
    sha256: str
    folder: Path


def find(named: str | None, environment: Mapping[str, str]) -> Path | None:
    """Return the path given by option, else by `ISOSMOKE_WG`, else `wg` on PATH, else None.

    isosmoke's own shim on PATH is skipped: it is not the program under test.

    Raises:
        UsageError: if the given path is not an executable file.
    """
    for origin, path in (("--binary", named), ("ISOSMOKE_WG", environment.get("ISOSMOKE_WG"))):
        if path:
            return check_executable(Path(path), origin)
    programs = list_on_path(environment.get("PATH", ""))
    return next((program for program in programs if not is_shim(program)), None)


def list_on_path(path: str) -> tuple[Path, ...]:
    """Return every executable `wg` on a search path, in its order, shims too."""
    found = (shutil.which(COMMAND_NAME, path=entry) for entry in path.split(os.pathsep))
    return tuple(dict.fromkeys(Path(program).absolute() for program in found if program))


def is_shim(program: Path) -> bool:
    """Return whether a program is isosmoke's shim, or a copy of it."""
    try:
        with files.open_regular(program) as file:
            lines = file.read(_SHIM_BYTES).split(b"\n", 2)
    except (OSError, UsageError):
        return False
    return len(lines) > 1 and lines[1].startswith(SHIM_MARK.encode())


def check_executable(path: Path, origin: str) -> Path:
    """Return the absolute path of a program that the option or variable `origin` names.

    Raises:
        UsageError: if it is not an executable file, or isosmoke's shim.
    """
    if not path.is_file():
        raise UsageError(f"{origin}: no file at {path}", hint="give the path of the built program")
    if not os.access(path, os.X_OK):
        raise UsageError(f"{origin}: {path} is not executable", hint=f"chmod +x {path}")
    if is_shim(path):
        raise UsageError(f"{origin}: {path} is isosmoke's shim", hint="name the real wg")
    return path.absolute()


def check_format(path: Path, machine: str) -> None:
    """Check that a program's header does not rule out running it on this kind of machine.

    A file without a known header passes.

    Raises:
        BinaryError: if the program is for another machine, is truncated or cannot be read.
    """
    header = _read_header(path)
    if header.startswith(_MACH_O):
        raise BinaryError(f"{path} is a macOS program", hint="build it for Linux")
    if not header.startswith(b"\x7fELF"):
        return
    order: Literal["little", "big"] = "little" if header[5:6] == b"\1" else "big"
    number = int.from_bytes(header[18:20], order)
    built_for = _ELF_MACHINES.get(number, f"machine {number}")
    if len(header) == _HEADER_BYTES and built_for != machine:
        raise BinaryError(
            f"{path} is built for {built_for}, but this machine is {machine}",
            hint="build it for this machine",
        )
    if len(header) < _HEADER_BYTES or path.stat().st_size < _compute_end(header, order):
        raise BinaryError(f"{path} is truncated", hint="wait for its build to finish")


def _compute_end(header: bytes, order: Literal["little", "big"]) -> int:
    """Return the end offset of the section headers, which linkers write last; 0 without any."""
    offset, size, count = (
        int.from_bytes(header[begin:end], order) for begin, end in ((40, 48), (58, 60), (60, 62))
    )
    return offset + size * count


def _read_header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES)
    except OSError as error:
        raise BinaryError(
            f"cannot read {path}: {error.strerror}", hint=f"chmod +r {path}"
        ) from error


def take(path: Path, *, recall: bool = False) -> Binary:
    """Copy a program into the store, under its own name and as `wg`, and hash the copy.

    A stored copy is reused only if it still has the hash that it is named by. With `recall`, the
    program and its copy are not read if nothing has changed them since they were last hashed.

    Raises:
        BinaryError: if it cannot be copied.
    """
    stored = state.ensure_directory("binaries")
    _prune(stored)
    try:
        taken = (_recall(path, stored) if recall else None) or _take(path, stored)
        os.utime(taken.folder)
    except OSError as error:
        message = f"cannot copy {path} to {stored}: {error.strerror}"
        raise BinaryError(message, suggest_remedy(error, stored)) from error
    return taken


def _take(path: Path, stored: Path) -> Binary:
    """Hash a program, copy it unless there is an intact copy, and remember its hash."""
    before = _inspect(path)
    digest = files.sha256(path)
    binary = Binary(path, digest, stored / _name_directory(digest, path.name))
    copies = _inspect_copies(binary.folder)
    if not _is_intact(binary.folder, digest, path.name):
        return Binary(path, *_copy(path, stored))
    _remember(binary, before, copies)
    return binary


def _recall(path: Path, stored: Path) -> Binary | None:
    """Return a program whose hash is known; None if it or its copy may have changed since then."""
    basis = {"program": identities.describe_status(_inspect(path))}
    match store.load(_LEARNED, str(path), basis):
        case {"sha256": str(digest), "copies": dict(copies)} if copies:
            directory = stored / _name_directory(digest, path.name)
            is_same = copies == _identify(_inspect_copies(directory))
            return Binary(path, digest, directory) if is_same else None
        case _:
            return None


def _remember(binary: Binary, before: os.stat_result, copies: _Statuses) -> None:
    """Keep the hash of a program, unless it or its copy was just changed, or changed meanwhile.

    They were inspected `before` they were hashed.
    """
    program, found = identities.describe_status(before), _identify(copies)
    is_same = program == identities.describe_status(_inspect(binary.source))
    is_settled = all(map(identities.is_settled, (before, *copies.values())))
    if is_same and is_settled and found == _identify(_inspect_copies(binary.folder)):
        result = {"sha256": binary.sha256, "copies": found}
        store.save(_LEARNED, str(binary.source), {"program": program}, result)


def _inspect(path: Path) -> os.stat_result:
    """Return the status of a program that was opened, as a file server may answer late otherwise.

    Raises:
        OSError: if it cannot be opened.
    """
    with files.open_regular(path) as file:
        return os.fstat(file.fileno())


def _inspect_copies(directory: Path) -> _Statuses:
    """Return the status of each entry in a directory of the store; nothing if it is missing."""
    try:
        return {entry.name: entry.lstat() for entry in directory.iterdir()}
    except OSError:
        return {}


def _identify(copies: _Statuses) -> Mapping[str, list[int]]:
    return {name: identities.describe_status(status) for name, status in copies.items()}


def find_copy(sha256: str) -> Path | None:
    """Return a stored copy of a program; None if it has been removed from the store or changed."""
    directories = state.ensure_directory("binaries").glob(f"{sha256}*")
    copies = (directory / COMMAND_NAME for directory in sorted(directories))
    return next((copy for copy in copies if _has_content(copy, sha256)), None)


def is_stored(sha256: str, name: str) -> bool:
    """Return whether the store has an unchanged copy of this content under the given name."""
    directory = state.ensure_directory("binaries") / _name_directory(sha256, name)
    return _is_intact(directory, sha256, name)


def _name_directory(sha256: str, name: str) -> str:
    """Return the name of a build's directory, one for each content and name.

    The directory is first on a script's PATH, so it must not contain the names under which other
    runs have used the same content, such as `grep` of a program with many names.
    """
    return f"{sha256}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"


def _is_intact(directory: Path, sha256: str, name: str) -> bool:
    """Return whether a directory of the store holds this content, only under the given names."""
    names = {COMMAND_NAME, name}
    try:
        if directory.is_symlink() or set(os.listdir(directory)) != names:  # noqa: PTH208 - names
            return False
    except OSError:
        return False
    copy = directory / COMMAND_NAME
    others = [directory / entry for entry in names if not _is_same_file(directory / entry, copy)]
    return all(_has_content(path, sha256) for path in (copy, *others))


def _is_same_file(path: Path, copy: Path) -> bool:
    """Return whether a name is a second hard link, whose content need not be read again."""
    try:
        return not path.is_symlink() and path.samefile(copy)
    except OSError:
        return False


def _has_content(copy: Path, sha256: str) -> bool:
    try:
        return not copy.is_symlink() and files.sha256(copy) == sha256
    except OSError:
        return False


def _copy(path: Path, stored: Path) -> tuple[str, Path]:
    """Copy a program; return the hash of the copy, as the source may change, and its directory."""
    unfinished = Path(mkdtemp(prefix="unfinished-", dir=stored))
    try:
        copy = unfinished / COMMAND_NAME
        shutil.copyfile(path, copy)
        copy.chmod(0o755)
        unfinished.chmod(0o755)
        if path.name != COMMAND_NAME:
            (unfinished / path.name).hardlink_to(copy)
        digest = files.sha256(copy)
        directory = stored / _name_directory(digest, path.name)
        _publish(unfinished, directory, digest, path.name)
        return digest, directory
    finally:
        trees.remove(unfinished)


def _publish(unfinished: Path, directory: Path, sha256: str, name: str) -> None:
    """Rename the finished copy; a concurrent run may already have stored the same content.

    A directory with other content is set aside for the runs that use it, and pruned later.
    """
    try:
        unfinished.rename(directory)
    except OSError:
        if _is_intact(directory, sha256, name):
            return
        directory.rename(unfinished.with_name(f"{unfinished.name}-changed"))
        unfinished.rename(directory)


def _prune(stored: Path) -> None:
    """Remove builds that no run has used for a week."""
    for directory in stored.iterdir():
        with suppress(FileNotFoundError):  # a concurrent run may rename or remove it
            if directory.stat().st_mtime < time() - _MAX_AGE_SECONDS:
                trees.remove(directory)
