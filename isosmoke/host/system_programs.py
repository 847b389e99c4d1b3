"""The system's own programs: found in fixed directories, whatever the caller's PATH says.

A program by which isosmoke reaches a verdict is the administrator's: neither the program nor a
directory on the way to it can be changed by the ordinary user who asks for the verdict.
"""

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from isosmoke.host import files
from isosmoke.host.path_warnings import Entry

DIRECTORIES = tuple(
    dict.fromkeys(
        (
            *("/bin", "/usr/bin"),
            *(one for one in (os.confstr("CS_PATH") or "").split(":") if one.startswith("/")),
            *("/usr/local/bin", "/sbin", "/usr/sbin", "/usr/local/sbin"),
            *("/run/current-system/sw/bin", "/run/current-system/profile/bin"),
            "/nix/var/nix/profiles/default/bin",
        )
    )
)
"""Where systems keep their programs, the last three on NixOS, Guix and in images made by Nix."""


def find(name: str, *, apart: Iterable[Path] = ()) -> Path | None:
    """Return the path of a system program, its links not followed; None where there is none.

    What lies in one of the directories `apart`, or leads there, does not count, and neither does
    what the calling user could replace.
    """
    shunned = tuple(one.resolve() for one in apart)
    candidates = (Path(directory, name) for directory in DIRECTORIES)
    return next((one for one in candidates if is_executable(one) and _is_safe(one, shunned)), None)


def find_for(path: str, name: str, *, apart: Iterable[Path] = ()) -> Path | None:
    """Return the program that stands for what a caller has by `name` on a PATH; None for none.

    It is the system's own, whatever comes first on `path`; where the system has none, the first on
    `path` that lies in an absolute entry outside the directories `apart`.
    """
    if shutil.which(name, path=path) is None:
        return None
    shunned = tuple(one.resolve() for one in apart)
    entries = (Path(one) for one in path.split(":"))
    searched = (one / name for one in entries if one.is_absolute() and not _within(one, shunned))
    return find(name, apart=shunned) or next(filter(is_executable, searched), None)


def is_executable(path: Path) -> bool:
    """Return whether the caller can run this file."""
    return os.access(path, os.X_OK) and path.is_file()


def is_protected(path: Path) -> bool:
    """Return whether the calling user can replace neither `path` nor a directory above it.

    Root can replace anything; for root it is enough that not everybody can.
    """
    try:
        return all(map(_is_fixed, (path, *path.parents)))
    except OSError:
        return False


def _is_fixed(path: Path) -> bool:
    found = path.stat()
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        return False
    user = os.geteuid()
    # In a sandbox of isosmoke's the root directory and the copy of bash are the caller's own, on
    # file systems that nobody inside can make writable: a read-only one keeps its owner out too.
    is_kept_from_owner = found.st_uid != user or os.statvfs(path).f_flag & os.ST_RDONLY
    return user == 0 or (bool(is_kept_from_owner) and not os.access(path, os.W_OK))


def _is_safe(path: Path, shunned: tuple[Path, ...]) -> bool:
    steps = tuple(_steps(path))
    return all(is_protected(one) and not _within(one, shunned) for one in steps)


def _steps(path: Path) -> Iterator[Path]:
    """Each directory that holds a link on the way, and the file at its end."""
    for _ in range(files.MAX_LINKS):
        yield path.parent.resolve()
        if not path.is_symlink():
            yield path.resolve()
            return
        path = path.parent.resolve() / path.readlink()


def _within(path: Path, directories: tuple[Path, ...]) -> bool:
    real = path.resolve()
    return any(one.is_relative_to(directory) for one in (path, real) for directory in directories)


def entries(path: str, working: Path, workspace: Iterable[Path]) -> tuple[Entry, ...]:
    """Return the entries of a PATH, as they stand on disk for a caller in `working`."""
    system = tuple(Path(one) for one in DIRECTORIES if is_protected(Path(one).resolve()))
    names = {name for one in system for name in _names(one)}
    look = _Look(system, frozenset(names), working, tuple(one.resolve() for one in workspace))
    return tuple(look.entry(one) for one in dict.fromkeys(path.split(":")))


class _Look:
    """One look at the directories of a PATH."""

    def __init__(
        self,
        system: tuple[Path, ...],
        names: frozenset[str],
        working: Path,
        workspace: tuple[Path, ...],
    ) -> None:
        self._system = {one.resolve(): one for one in reversed(system)}
        self._names = names
        self._working = working
        self._workspace = workspace

    def entry(self, text: str) -> Entry:
        """Return what one word of PATH stands for."""
        directory = self._working / text
        is_system = directory.resolve() in self._system
        named = _names(directory) if os.access(directory, os.R_OK) else self._names
        shared = self._names & set(named)
        return Entry(
            text=text,
            is_system=is_system,
            is_in_workspace=not text.startswith("/") or _within(directory, self._workspace),
            programs=frozenset(
                one for one in shared if is_system or self._is_other(directory / one)
            ),
        )

    def _is_other(self, program: Path) -> bool:
        """Whether this runs, and is not the system's program by another path."""
        if not is_executable(program):
            return False
        system = (one / program.name for one in self._system)
        return program.resolve() not in {one.resolve() for one in system if one.exists()}


def _names(directory: Path) -> tuple[str, ...]:
    try:
        with os.scandir(directory) as found:
            return tuple(one.name for one in found)
    except OSError:
        return ()
