"""Why a program does not fit a system, from what it needs and what the system's loader says."""

import re
from collections.abc import Iterator

from isosmoke.rootfs_images.elf import Needs

LOADERS = {
    "x86_64": ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"),
    "aarch64": ("/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"),
}
"""Where each machine's loaders are, glibc's before musl's: the ABI fixes these paths."""

_MUSL = "ld-musl-"
_GLIBC_BANNER = re.compile(r"GLIBC.* release version (\d+(?:\.\d+)+)")
_MUSL_BANNER = re.compile(r"musl libc.*\nVersion (\d+(?:\.\d+)+)")
_MISSING = re.compile(
    r"^\s*(\S+) => not found|Error loading shared library ([^:\s]+): No such file", re.MULTILINE
)
_UNVERSIONED = re.compile(r"(\S+): version [`']([^']+)' not found")
_LOADER_ERRORS = (
    "error while loading shared libraries",
    "' not found (required by",
    "Error loading shared library",
    "Error relocating ",
)


def is_musl(loader: str) -> bool:
    """Whether a loader is musl's: its options are others."""
    return _MUSL in loader


def asks_version(loader: str) -> tuple[tuple[str, ...], ...]:
    """The commands by which a loader names its library's version; glibc's knows one since 2.33."""
    return ((loader,),) if is_musl(loader) else ((loader, "--version"), (loader, "libc.so.6"))


def libc(said: str) -> str:
    """The C library that introduced itself with these words; empty for other words."""
    for name, banner in (("glibc", _GLIBC_BANNER), ("musl", _MUSL_BANNER)):
        if found := banner.search(said):
            return f"{name} {found[1]}"
    return ""


def loader_complaint(said: str) -> str:
    """The line by which a loader, not the program, ended; empty where it did not."""
    lines = said.splitlines()
    return next((line for line in lines if any(one in line for one in _LOADER_ERRORS)), "")


def foreign(needs: Needs, has: str) -> str:
    """Why a program cannot start where its loader is not; `has` is the C library that is there."""
    wanted = "musl" if is_musl(needs.loader) else "glibc"
    there = f"the image has {has}" if has else "the image has no C library"
    return f"it was linked for {wanted}, whose loader {needs.loader} is not there; {there}"


def misfit(needs: Needs, has: str, listed: str) -> str:
    """Why its loader refuses a program; `listed` are the libraries that it finds.

    Empty where nothing of that is known to be wrong.
    """
    return "; ".join(_misfits(needs, has, listed))


def _misfits(needs: Needs, has: str, listed: str) -> Iterator[str]:
    name, _, version = has.partition(" ")
    if name == "glibc" and needs.glibc > tuple(map(int, version.split("."))):
        yield f"it needs glibc {'.'.join(map(str, needs.glibc))}, the image has {version}"
    missing = dict.fromkeys(one or other for one, other in _MISSING.findall(listed))
    if missing:
        yield f"the image lacks {', '.join(missing)}"
    for library, symbol in dict.fromkeys(_UNVERSIONED.findall(listed)):
        if not symbol.startswith("GLIBC_"):
            yield f"{library} of the image has no {symbol}"
