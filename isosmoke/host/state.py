"""Where isosmoke keeps what outlives a command, and leases that say whose a folder is."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp, mkstemp

from platformdirs import user_state_path

from isosmoke.errors import IsosmokeError
from isosmoke.host import links

IN_PROJECT = ".isosmoke"
"""The folder of a project for what isosmoke keeps there: records of runs, receipts."""


def state_folder() -> Path:
    """`$ISOSMOKE_STATE`, else the user's state folder (XDG)."""
    named = os.environ.get("ISOSMOKE_STATE")
    return Path(named).absolute() if named else user_state_path("isosmoke", appauthor=False)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise IsosmokeError(
            f"cannot write to {folder}: {error.strerror}",
            hint="set ISOSMOKE_STATE to a folder that can be written",
        ) from error
    return folder


def kept(name: str) -> Path:
    """The folder `name` in the state folder, made if missing."""
    folder = state_folder() / name
    links.refuse(folder)
    return _made(folder)


def in_project(top: Path, *places: str) -> Path:
    """The folder of the project `top` for what isosmoke keeps there; it may be missing.

    `UsageError` if it, or one of the `places` in it, is a link: what that leads to is not ours.
    """
    folder = top / IN_PROJECT
    links.refuse(folder, *(folder / one for one in places))
    return folder


def project(top: Path) -> Path:
    """Where a project that cannot be written to has its records: a folder that may be missing."""
    return state_folder() / "projects" / hashlib.sha256(os.fsencode(top)).hexdigest()[:16]


def write(path: Path, content: str | bytes, *, mode: int = 0o644) -> Path:
    """Write a file whole or not at all, whatever ends this process or the machine.

    `OSError` names the file, also where it is the disk that has no room.
    """
    with ExitStack() as undo:
        try:
            handle, unfinished = mkstemp(prefix=".", dir=path.parent)
            undo.callback(os.unlink, unfinished)
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(handle)
            Path(unfinished).chmod(mode)
            Path(unfinished).rename(path)
        except OSError as error:
            error.filename = str(path)  # the unfinished file has a name that nobody knows
            raise
        undo.pop_all()
    return path


@dataclass(frozen=True, slots=True)
class Lease:
    """Which process something belongs to: a pid alone could be anybody's by now.

    `boot` is the kernel's boot id and the PID namespace in which `pid` means that process.
    """

    boot: str
    pid: int
    started: str

    @classmethod
    def mine(cls) -> "Lease":
        """This process."""
        return cls(f"{_boot_id()}-{_namespace()}", os.getpid(), _started(os.getpid()))

    @classmethod
    def parse(cls, text: str) -> "Lease | None":
        """The lease that `text` begins with, as `str` writes it; None where there is none."""
        words = text.split(".")
        held = len(words) >= 3 and words[1].isdecimal()  # noqa: PLR2004 - boot, pid, start
        return cls(words[0], int(words[1]), words[2]) if held else None

    def __str__(self) -> str:
        return f"{self.boot}.{self.pid}.{self.started}"

    @property
    def alive(self) -> bool:
        """Whether that very process still runs; of another PID namespace nobody here can tell."""
        boot, _, namespace = self.boot.rpartition("-")
        if boot != _boot_id() or not self.started:
            return False
        return namespace != _namespace() or _started(self.pid) == self.started


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _namespace() -> str:
    return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")


def _started(pid: int) -> str:
    """The start time in clock ticks since boot; empty for a pid that is free, or a zombie's."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return ""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that ends with the block, or with a later `sweep_scratch`: its name is its lease.

    What this user cannot remove is left to the engine of the daemon that wrote it.
    """
    folder = Path(mkdtemp(prefix=f"{Lease.mine()}.", dir=kept("scratch")))
    try:
        yield folder
    finally:
        with suppress(PermissionError):
            remove(folder)


def dead_scratch() -> tuple[Path, ...]:
    """The scratch folders whose process is gone; a link is none of ours."""
    folders = (one for one in kept("scratch").iterdir() if not one.is_symlink())
    leases = {folder: Lease.parse(folder.name) for folder in folders}
    return tuple(folder for folder, lease in leases.items() if lease is None or not lease.alive)


def sweep_scratch() -> tuple[str, ...]:
    """Remove the scratch folders of dead processes and name them.

    What cannot be removed stays, and no other is kept for it: what a root daemon wrote is left to
    the engine of that daemon.
    """
    removed = []
    for folder in dead_scratch():
        with suppress(OSError):
            remove(folder)
            removed.append(str(folder))
    return tuple(removed)


def remove(folder: Path) -> None:
    """Remove a tree or a file, also where an overlay left folders that nobody may enter.

    A script may nest folders deeper than a path can be long: each is moved to the top before it is
    emptied.
    """
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        with _opened(folder) as top:
            _empty(top, top)
            while names := os.listdir(top):  # noqa: PTH208 - a path would get too long
                for name in names:
                    with _opened(name, top) as inner:
                        _empty(inner, top)
                    os.rmdir(name, dir_fd=top)
        folder.rmdir()


def _empty(folder: int, top: int) -> None:
    """Remove the files of an open folder, and move its folders to `top`, with new names."""
    with os.scandir(folder) as entries:
        for entry in tuple(entries):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=folder)
                continue
            with suppress(OSError):
                os.chmod(entry.name, 0o700, dir_fd=folder)
            os.rename(entry.name, token_hex(8), src_dir_fd=folder, dst_dir_fd=top)


@contextmanager
def _opened(folder: str | Path, within: int | None = None) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
