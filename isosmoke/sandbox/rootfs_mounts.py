"""The mounts of a root filesystem in a host directory, and the resolution of paths in it.

Its entries are mounted read-only, one by one, on an empty root. Every engine can do that, even for
an ordinary user, and missing mount points can be created alongside the existing entries.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from isosmoke.host import files
from isosmoke.sandbox.spec import Mount, ReadOnly

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of a sandbox with its own system, as Debian sets it for root."""

_ROOT = PurePosixPath("/")
_KERNEL_MOUNTS = frozenset(PurePosixPath(path) for path in ("/dev", "/proc", "/sys"))
"""Directories that every engine mounts itself."""


def resolve_inside(root: Path, path: PurePosixPath) -> Path | None:
    """Return the host path of `path` in the root filesystem `root`; None if there is no such file.

    Symbolic links are followed as for a process inside: never out of `root`. A path that this user
    may not access counts as missing.
    """
    with suppress(PermissionError):
        return _follow_links(root, path)
    return None


def _follow_links(root: Path, path: PurePosixPath) -> Path | None:
    resolved, remaining = _ROOT, list(reversed(path.parts))
    for _ in range(files.MAX_LINKS * len(path.parts) + files.MAX_LINKS):
        if not remaining:
            return root / resolved.relative_to(_ROOT)
        name = remaining.pop()
        candidate = root / resolved.relative_to(_ROOT) / name
        if name in ("/", ".."):
            resolved = _ROOT if name == "/" else resolved.parent
        elif candidate.is_symlink():
            remaining += reversed(PurePosixPath(candidate.readlink()).parts)
        elif candidate.exists():
            resolved /= name
        else:
            return None
    return None


def find_program(root: Path, command: str, searched: str = DEFAULT_PATH) -> Path | None:
    """Return the file that a shell inside would start for `command`; None if there is none."""
    directories = [""] if "/" in command else searched.split(":")
    paths = (
        resolve_inside(root, PurePosixPath("/", directory, command)) for directory in directories
    )
    programs = (path for path in paths if path and path.is_file() and os.access(path, os.X_OK))
    return next(programs, None)


def build_mounts(root: Path, others: Collection[PurePosixPath]) -> tuple[Mount, ...]:
    """Return the mounts that show `root`, except at `others`, the targets of all other mounts."""
    missing = [target for target in others if not _has_mount_point(root, target)]
    return tuple(_mount_entries(root, _ROOT, frozenset(others) | _KERNEL_MOUNTS, missing))


def _has_mount_point(root: Path, target: PurePosixPath) -> bool:
    """Return whether `target` exists and no link leads from it to another path."""
    return resolve_inside(root, target) == root / target.relative_to(_ROOT)


def _mount_entries(
    root: Path,
    directory: PurePosixPath,
    taken: Collection[PurePosixPath],
    missing: Collection[PurePosixPath],
) -> Iterator[Mount]:
    """Yield a mount for each entry of a directory.

    A directory that lacks a mount point is not mounted itself. Its entries are mounted instead, so
    that the mount point can be created.
    """
    for real in sorted((root / directory.relative_to(_ROOT)).iterdir()):
        target = directory / real.name
        if target in taken:
            continue
        if any(target in path.parents for path in missing):
            if real.is_dir() and not real.is_symlink():
                yield from _mount_entries(root, target, taken, missing)
        elif source := resolve_inside(root, target):
            yield ReadOnly(source, target)
