"""Diagnosis of a program that does not fit a system, by its needs and the loader's output."""

import re
from collections.abc import Iterator

from isosmoke.rootfs_images.elf import ElfRequirements

LOADERS = {
    "x86_64": ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"),
    "aarch64": ("/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"),
}
"""The paths of each machine's loaders, glibc's before musl's; they are fixed by the ABI."""

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
    """Return whether a loader is musl's, which has other options than glibc's."""
    return _MUSL in loader


def get_version_commands(loader: str) -> tuple[tuple[str, ...], ...]:
    """Return commands that print a loader's version; glibc's has had `--version` since 2.33."""
    return ((loader,),) if is_musl(loader) else ((loader, "--version"), (loader, "libc.so.6"))


def parse_libc(output: str) -> str:
    """Return the C library named in a loader's output; empty if there is none."""
    for name, banner in (("glibc", _GLIBC_BANNER), ("musl", _MUSL_BANNER)):
        if match := banner.search(output):
            return f"{name} {match[1]}"
    return ""


def find_loader_error(output: str) -> str:
    """Return the line in which the loader reports a fatal error; empty if there is none."""
    lines = output.splitlines()
    return next((line for line in lines if any(error in line for error in _LOADER_ERRORS)), "")


def explain_missing_loader(needs: ElfRequirements, present: str) -> str:
    """Return why a program without its loader cannot start; `present` is the image's C library."""
    required = "musl" if is_musl(needs.loader) else "glibc"
    found = f"the image has {present}" if present else "the image has no C library"
    return f"it was linked for {required}, whose loader {needs.loader} does not exist; {found}"


def explain_misfit(needs: ElfRequirements, present: str, listed: str) -> str:
    """Return why the loader refuses a program; empty if no reason is known.

    `present` is the image's C library, `listed` the loader's list of libraries.
    """
    return "; ".join(_find_misfits(needs, present, listed))


def _find_misfits(needs: ElfRequirements, present: str, listed: str) -> Iterator[str]:
    name, _, version = present.partition(" ")
    if name == "glibc" and needs.glibc > tuple(map(int, version.split("."))):
        yield f"it needs glibc {'.'.join(map(str, needs.glibc))}, the image has {version}"
    missing = dict.fromkeys(
        library or musl_library for library, musl_library in _MISSING.findall(listed)
    )
    if missing:
        yield f"the image lacks {', '.join(missing)}"
    for library, symbol in dict.fromkeys(_UNVERSIONED.findall(listed)):
        if not symbol.startswith("GLIBC_"):
            yield f"{library} of the image has no {symbol}"
