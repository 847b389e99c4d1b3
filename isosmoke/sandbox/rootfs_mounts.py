"""A root filesystem in a folder of the host: its paths as it means them, and how it is mounted.

Only what it holds is mounted, read-only, entry by entry, on an empty root: so every engine can, an
ordinary user too, and a place that it lacks can still be made beside what it has.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from isosmoke.host import files
from isosmoke.sandbox.spec import Mount, ReadOnly

SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of a sandbox that has a system of its own, as Debian gives it to root."""

_ROOT = PurePosixPath("/")
_KERNELS = frozenset(PurePosixPath(one) for one in ("/dev", "/proc", "/sys"))
"""What every engine makes itself."""


def inside(root: Path, path: PurePosixPath) -> Path | None:
    """Where `path` leads when `root` is the root folder; None where that is nothing.

    A symbolic link is followed as a process inside would: never out of `root`. What this user may
    not look at is not found either.
    """
    with suppress(PermissionError):
        return _followed(root, path)
    return None


def _followed(root: Path, path: PurePosixPath) -> Path | None:
    place, ahead = _ROOT, list(reversed(path.parts))
    for _ in range(files.MAX_LINKS * len(path.parts) + files.MAX_LINKS):
        if not ahead:
            return root / place.relative_to(_ROOT)
        name = ahead.pop()
        here = root / place.relative_to(_ROOT) / name
        if name in ("/", ".."):
            place = _ROOT if name == "/" else place.parent
        elif here.is_symlink():
            ahead += reversed(PurePosixPath(here.readlink()).parts)
        elif here.exists():
            place /= name
        else:
            return None
    return None


def which(root: Path, command: str, searched: str = SEARCHED) -> Path | None:
    """The file that a shell inside would start for `command`; None where there is none."""
    folders = [""] if "/" in command else searched.split(":")
    found = (inside(root, PurePosixPath("/", folder, command)) for folder in folders)
    return next((one for one in found if one and one.is_file() and os.access(one, os.X_OK)), None)


def mounts(root: Path, others: Collection[PurePosixPath]) -> tuple[Mount, ...]:
    """The mounts that show `root`, beneath `others`: the targets of whatever else is mounted."""
    missing = [one for one in others if not _has(root, one)]
    return tuple(_mounted(root, _ROOT, frozenset(others) | _KERNELS, missing))


def _has(root: Path, target: PurePosixPath) -> bool:
    """Whether something can be mounted at `target`: through a link it would land elsewhere."""
    return inside(root, target) == root / target.relative_to(_ROOT)


def _mounted(
    root: Path,
    folder: PurePosixPath,
    taken: Collection[PurePosixPath],
    missing: Collection[PurePosixPath],
) -> Iterator[Mount]:
    """Each entry of a folder; one in which a target is missing is not mounted but made anew."""
    for real in sorted((root / folder.relative_to(_ROOT)).iterdir()):
        target = folder / real.name
        if target in taken:
            continue
        if any(target in one.parents for one in missing):
            if real.is_dir() and not real.is_symlink():
                yield from _mounted(root, target, taken, missing)
        elif source := inside(root, target):
            yield ReadOnly(source, target)
