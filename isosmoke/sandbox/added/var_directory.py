"""The `/var` of the host image: the links and directories that programs expect."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from isosmoke.host import state
from isosmoke.sandbox.spec import ReadOnly

VAR = PurePosixPath("/var")
LOGS = VAR / "log"

_LINKS = {"run": "/run", "lock": "/run/lock"}
"""Links of the Filesystem Hierarchy Standard: programs write their PID files and locks there."""

_DIRECTORIES = ("cache", "lib", "spool")


def store(targets: Iterable[PurePosixPath]) -> ReadOnly:
    """Return the mount of `/var`, with a mount point for each of `targets` in it.

    It is a directory in the state directory, named by the hash of its contents, because no engine
    can create links in a sandbox.
    """
    points = {point: _is_file(point) for point in _list_outer(targets)}
    used = {point.parts[2] for point in points}
    links = {name: target for name, target in _LINKS.items() if name not in used}
    text = repr((sorted(links.items()), _DIRECTORIES, sorted(points.items())))
    directory = state.ensure_directory("var") / hashlib.sha256(text.encode()).hexdigest()
    if not directory.exists():
        _create(directory, links, points)
    return ReadOnly(directory, VAR)


def _is_file(point: PurePosixPath) -> bool:
    """Return whether the host has something other than a directory at this path."""
    path = Path(point)
    return path.exists() and not path.is_dir()


def _create(directory: Path, links: dict[str, str], points: dict[PurePosixPath, bool]) -> None:
    """Create the directory in one step: a concurrent run may create the same one."""
    new = Path(mkdtemp(dir=directory.parent))
    for name in _DIRECTORIES:
        (new / name).mkdir()
    for name, target in links.items():
        (new / name).symlink_to(target)
    _create_points(new, points)
    for parent, _, _ in os.walk(new):
        Path(parent).chmod(0o755)
    with suppress(OSError):  # it exists by now
        new.rename(directory)
    shutil.rmtree(new, ignore_errors=True)


def _create_points(new: Path, points: dict[PurePosixPath, bool]) -> None:
    for point, is_file in points.items():
        path = new / point.relative_to(VAR)
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_file:
            path.touch(0o644)
        else:
            path.mkdir(exist_ok=True)


def _list_outer(targets: Iterable[PurePosixPath]) -> list[PurePosixPath]:
    """Return the targets in `/var` that are not below another target there."""
    inside = {target for target in targets if VAR in target.parents}
    return sorted(target for target in inside if inside.isdisjoint(target.parents))
