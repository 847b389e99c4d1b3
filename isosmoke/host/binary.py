"""The live binary under test: found, hashed, and copied to a folder that its hash names."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from time import time  # noqa: TID251 - compared with file times, which are wall clock
from typing import Literal

from isosmoke.errors import BinaryError, UsageError
from isosmoke.host import files, state

KNOWN_AS = "wg"
"""The name that scenarios call it by, besides its own."""

_KEPT_SECONDS = 7 * 86400.0
_HEAD_BYTES = 64
"""An ELF header's, of a program of 64 bits (elf(5))."""

_ELF_MACHINES = {62: "x86_64", 183: "aarch64"}
_MACH_O = (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


@dataclass(frozen=True, slots=True)
class Binary:
    """One build: where it came from, its sha256, and the folder that holds its copy.

    The copy is what runs, so a rebuild in the middle of a run changes nothing.
    """

    source: Path
    sha256: str
    folder: Path


def find(named: str | None, environment: Mapping[str, str]) -> Path | None:
    """The path named by option, else by `ISOSMOKE_WG`, else `wg` on PATH; None for none."""
    for origin, path in (("--binary", named), ("ISOSMOKE_WG", environment.get("ISOSMOKE_WG"))):
        if path:
            return _executable(Path(path), origin)
    found = shutil.which(KNOWN_AS, path=environment.get("PATH", ""))
    return Path(found).absolute() if found else None


def _executable(path: Path, origin: str) -> Path:
    if not path.is_file():
        raise UsageError(f"{origin}: no file at {path}", hint="name the built program itself")
    if not os.access(path, os.X_OK):
        raise UsageError(f"{origin}: {path} is not executable", hint=f"chmod +x {path}")
    return path.absolute()


def check_format(path: Path, machine: str) -> None:
    """`BinaryError` when the file's own header says that it cannot run on this kind of machine."""
    head = _head(path)
    if head.startswith(_MACH_O):
        raise BinaryError(f"{path} is a macOS program", hint="build it for Linux")
    if not head.startswith(b"\x7fELF"):
        return
    order: Literal["little", "big"] = "little" if head[5:6] == b"\1" else "big"
    number = int.from_bytes(head[18:20], order)
    built_for = _ELF_MACHINES.get(number, f"machine {number}")
    if len(head) == _HEAD_BYTES and built_for != machine:
        raise BinaryError(
            f"{path} is built for {built_for}, this machine is {machine}",
            hint="build it for this machine",
        )
    if len(head) < _HEAD_BYTES or path.stat().st_size < _end(head, order):
        raise BinaryError(f"{path} is cut short", hint="wait for its build to end")


def _end(head: bytes, order: Literal["little", "big"]) -> int:
    """Where the section headers end, which linkers write last; 0 in a program without any."""
    place, each, count = (
        int.from_bytes(head[begin:end], order) for begin, end in ((40, 48), (58, 60), (60, 62))
    )
    return place + each * count


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise BinaryError(
            f"cannot read {path}: {error.strerror}", hint=f"chmod +r {path}"
        ) from error


def take(path: Path) -> Binary:
    """Copy the program into the store, under its own name and as `wg`, and hash the copy."""
    store = state.kept("binaries")
    _prune(store)
    try:
        digest = files.sha256(path)
        if not (store / digest).is_dir():
            digest = _copied(path, store)
        folder = store / digest
        os.utime(folder)
        _name(folder, path.name)
    except OSError as error:
        raise BinaryError(f"cannot copy {path} to {store}: {error.strerror}") from error
    return Binary(path, digest, folder)


def kept(sha256: str) -> Path | None:
    """The copy of a program that was taken once, None when it was forgotten since."""
    copy = state.kept("binaries") / sha256 / KNOWN_AS
    return copy if copy.is_file() and files.sha256(copy) == sha256 else None


def _copied(path: Path, store: Path) -> str:
    """The hash of the copy, because the source may change under our eyes."""
    unfinished = Path(mkdtemp(prefix="unfinished-", dir=store))
    try:
        copy = unfinished / KNOWN_AS
        shutil.copyfile(path, copy)
        copy.chmod(0o755)
        unfinished.chmod(0o755)
        digest = files.sha256(copy)
        _place(unfinished, store / digest)
        return digest
    finally:
        files.remove(unfinished)


def _place(unfinished: Path, folder: Path) -> None:
    """A concurrent run may have been faster, with the same content."""
    try:
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _name(folder: Path, name: str) -> None:
    """Add its own name beside `wg`; a concurrent run may have been faster."""
    alias = folder / name
    if not alias.exists():
        try:
            alias.hardlink_to(folder / KNOWN_AS)
        except FileExistsError:
            return


def _prune(store: Path) -> None:
    """Forget builds that no run has used for a week."""
    for folder in store.iterdir():
        with suppress(FileNotFoundError):  # a concurrent run may rename or remove it
            if folder.stat().st_mtime < time() - _KEPT_SECONDS:
                files.remove(folder)
