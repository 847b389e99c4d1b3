"""Limits by control group, of version 2 or 1, where this process may make one.

An ordinary user without a delegated group has none; there the keeper's RLIMIT_NPROC, which counts
inside the sandbox's own user namespace, limits the processes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep

from isosmoke.errors import LeftBehindError
from isosmoke.host.state import Lease
from isosmoke.sandbox.spec import Limits

ROOT = Path("/sys/fs/cgroup")

_PREFIX = "isosmoke-"
_PEAKS = {
    "memory": ("memory.peak", "memory.max_usage_in_bytes"),
    "processes": ("pids.peak",),
}
"""The names of version 2, then of 1; pids.peak came with Linux 6.6, memory.peak with 5.19."""

_FILES = {"memory": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max",)}
_REMOVE_SECONDS = 5.0


def version() -> int:
    """Of the control groups that are mounted here."""
    return 2 if (ROOT / "cgroup.controllers").exists() else 1


@cache
def parents() -> dict[str, Path]:
    """Each controller that can be used here, with the folder in which a group can be made."""
    unified = version() == 2  # noqa: PLR2004 - a version
    offered = (ROOT / "cgroup.subtree_control").read_text().split() if unified else list(_FILES)
    folders = {name: ROOT if unified else ROOT / name for name in _FILES if name in offered}
    return {name: folder for name, folder in folders.items() if _can_make_groups(folder)}


def _can_make_groups(folder: Path) -> bool:
    return (folder / "cgroup.procs").exists() and os.access(folder, os.W_OK)


class Group:
    """The control groups of one sandbox, one folder for each hierarchy."""

    def __init__(self, limits: Limits) -> None:
        name = f"{_PREFIX}{Lease.mine()}.{token_hex(4)}"
        wanted = {"memory": limits.memory, "pids": limits.processes}
        self._most = {one: most for one, most in wanted.items() if most and one in parents()}
        self._folders = {one: parents()[one] / name for one in self._most}

    def make(self) -> None:
        """Make the folders and set the limits."""
        for controller, folder in self._folders.items():
            folder.mkdir(exist_ok=True)
            file = next(folder / name for name in _FILES[controller] if (folder / name).exists())
            file.write_text(str(self._most[controller]))

    def hold(self, pid: int) -> None:
        """Hold `pid`, and all that it will start."""
        for folder in self._folders.values():
            (folder / "cgroup.procs").write_text(str(pid))

    def peaks(self) -> dict[str, int]:
        """The most that its processes had at a time, of what is limited and counted."""
        return {
            what: int(file.read_text())
            for what, names in _PEAKS.items()
            for file in self._files(names)
        }

    def _files(self, names: tuple[str, ...]) -> Iterator[Path]:
        files = (folder / name for folder in set(self._folders.values()) for name in names)
        return (file for file in files if file.exists())

    def remove(self) -> None:
        """Remove the folders, once nothing lives in them; `LeftBehindError` names what stays."""
        left = [str(one) for one in dict.fromkeys(self._folders.values()) if not _removed(one)]
        if left:
            raise LeftBehindError(
                f"{' and '.join(left)} could not be removed", hint=f"rmdir {' '.join(left)}"
            )


@contextmanager
def group(limits: Limits) -> Iterator[Group]:
    """The groups of one sandbox, for as long as the block lasts; the sandbox must end within it."""
    made = Group(limits)
    try:
        made.make()
        yield made
    finally:
        made.remove()


def sweep() -> tuple[str, ...]:
    """Remove the groups of dead runs and name them."""
    dead = [folder for parent in set(parents().values()) for folder in _dead(parent)]
    return tuple(str(folder) for folder in dead if _removed(folder))


def _dead(parent: Path) -> Iterator[Path]:
    for folder in parent.glob(f"{_PREFIX}*"):
        lease = Lease.parse(folder.name.removeprefix(_PREFIX))
        if lease is None or not lease.alive:
            yield folder


def _removed(folder: Path) -> bool:
    """Whether it is gone in time: a group counts its last process for a moment after its end."""
    deadline = monotonic() + _REMOVE_SECONDS
    while folder.exists():
        with suppress(OSError):
            folder.rmdir()
            return True
        if monotonic() > deadline:
            return False
        sleep(0.01)
    return True
