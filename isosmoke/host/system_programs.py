"""The lookup of system programs in fixed directories, independent of the caller's PATH.

A program that contributes to a verdict belongs to the administrator. The ordinary user who asks for
the verdict can change neither the program nor a directory on the way to it.
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
            *(path for path in (os.confstr("CS_PATH") or "").split(":") if path.startswith("/")),
            *("/usr/local/bin", "/sbin", "/usr/sbin", "/usr/local/sbin"),
            *("/run/current-system/sw/bin", "/run/current-system/profile/bin"),
            "/nix/var/nix/profiles/default/bin",
        )
    )
)
"""The program directories of systems; the last three are of NixOS, Guix and images made by Nix."""


def find(name: str, *, exclude: Iterable[Path] = ()) -> Path | None:
    """Return the path of a system program, without resolving links; None if there is none.

    Programs in one of the directories `exclude`, programs that link there, and programs that the
    calling user could replace are ignored.
    """
    excluded = tuple(directory.resolve() for directory in exclude)
    candidates = (Path(directory, name) for directory in DIRECTORIES)
    programs = (path for path in candidates if is_executable(path) and _is_safe(path, excluded))
    return next(programs, None)


def find_on_path(path: str, name: str, *, exclude: Iterable[Path] = ()) -> Path | None:
    """Return the program to run as `name` for a caller with this PATH; None if PATH lacks it.

    The system's own program is preferred, whatever comes first on `path`. If the system has none,
    it is the first one in an absolute entry of `path` that is outside the directories `exclude`.
    """
    if shutil.which(name, path=path) is None:
        return None
    excluded = tuple(directory.resolve() for directory in exclude)
    directories = (Path(entry) for entry in path.split(":"))
    candidates = (
        directory / name
        for directory in directories
        if directory.is_absolute() and not _is_within(directory, excluded)
    )
    return find(name, exclude=excluded) or next(filter(is_executable, candidates), None)


def is_executable(path: Path) -> bool:
    """Return whether the caller can run this file."""
    return os.access(path, os.X_OK) and path.is_file()


def is_protected(path: Path) -> bool:
    """Return whether the calling user can replace neither `path` nor a directory above it.

    Root can replace anything. For root, it is enough that not every user can.
    """
    try:
        return all(map(_is_fixed, (path, *path.parents)))
    except OSError:
        return False


def _is_fixed(path: Path) -> bool:
    status = path.stat()
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return False
    user = os.geteuid()
    # In isosmoke's own sandboxes, the caller owns the root directory and the copy of bash. They are
    # on read-only file systems, which no process inside can make writable, not even their owner.
    is_safe_from_owner = status.st_uid != user or os.statvfs(path).f_flag & os.ST_RDONLY
    return user == 0 or (bool(is_safe_from_owner) and not os.access(path, os.W_OK))


def _is_safe(path: Path, excluded: tuple[Path, ...]) -> bool:
    steps = tuple(_follow_links(path))
    return all(is_protected(step) and not _is_within(step, excluded) for step in steps)


def _follow_links(path: Path) -> Iterator[Path]:
    """Yield the directory of each link in a chain of links, and the file at its end."""
    for _ in range(files.MAX_LINKS):
        yield path.parent.resolve()
        if not path.is_symlink():
            yield path.resolve()
            return
        path = path.parent.resolve() / path.readlink()


def _is_within(path: Path, directories: tuple[Path, ...]) -> bool:
    names = (path, path.resolve())
    return any(name.is_relative_to(directory) for name in names for directory in directories)


def read_entries(path: str, working: Path, workspace: Iterable[Path]) -> tuple[Entry, ...]:
    """Return the entries of a PATH, read from disk for a caller in the directory `working`."""
    directories = map(Path, DIRECTORIES)
    system = tuple(path for path in directories if is_protected(path.resolve()))
    inside = tuple(directory.resolve() for directory in workspace)
    reader = _EntryReader(system, working, inside)
    return tuple(reader.read(entry) for entry in dict.fromkeys(path.split(":")))


class _EntryReader:
    """A reader of PATH entries for one caller.

    The system's directories have thousands of programs, and often two names: each is listed once.
    """

    def __init__(
        self, system: tuple[Path, ...], working: Path, workspace: tuple[Path, ...]
    ) -> None:
        self._system = {directory.resolve(): directory for directory in reversed(system)}
        self._programs = {real: frozenset(_list_names(real)) for real in self._system}
        self._names = frozenset().union(*self._programs.values())
        self._working = working
        self._workspace = workspace

    def read(self, text: str) -> Entry:
        """Return one entry of PATH with its programs."""
        directory = self._working / text
        real = directory.resolve()
        return Entry(
            text=text,
            is_system=real in self._system,
            is_in_workspace=not text.startswith("/") or _is_within(directory, self._workspace),
            programs=self._programs[real]
            if real in self._system
            else frozenset(
                name
                for name in self._names.intersection(self._list_found(directory))
                if self._is_replacement(directory / name)
            ),
        )

    def _list_found(self, directory: Path) -> Iterable[str]:
        """Return the names that a shell may find in a directory, which it need not list."""
        if os.access(directory, os.R_OK):
            return _list_names(directory)
        return self._names if os.access(directory, os.X_OK) else ()

    def _is_replacement(self, program: Path) -> bool:
        """Return whether a program is executable and differs from the system's program."""
        if not is_executable(program):
            return False
        system = (directory / program.name for directory in self._system.values())
        return program.resolve() not in {path.resolve() for path in system if path.exists()}


def _list_names(directory: Path) -> tuple[str, ...]:
    try:
        with os.scandir(directory) as directory_entries:
            return tuple(entry.name for entry in directory_entries)
    except OSError:
        return ()
