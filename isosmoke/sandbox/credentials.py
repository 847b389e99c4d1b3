"""Masks of the files in which tools keep credentials, among the files of a tool."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from isosmoke.host.learned.disk_search import Disk
from isosmoke.sandbox.added import user_files
from isosmoke.sandbox.spec import ReadOnly

_FILES = frozenset(
    (
        *(
            "credentials",
            "credentials.toml",
            "credentials.json",
            ".credentials",
            ".git-credentials",
        ),
        *("pip.conf", ".pypirc", ".condarc", "npmrc", ".npmrc", ".yarnrc.yml", ".netrc", ".env"),
    )
)

_GIT_FILES = _FILES | {"config"}

_PACKAGES = frozenset(("site-packages", "dist-packages", "__pycache__", "registry", "pkgs"))
"""Directories with the contents of packages, which anyone can download."""

_MODULES = "node_modules"
_BUILT_IN = "npm/npmrc"
"""The configuration of npm itself (npmrc(5)), in the `node_modules` that contains npm."""

_SYSTEM_MODULES = tuple(map(Path, ("/usr/lib/node_modules", "/usr/share/nodejs")))

_DEPTH = 6
"""The depth of `npmrc` in the directory `versions` of nvm; deeper files belong to packages."""


def find(disk: Disk, roots: Iterable[Path]) -> Iterator[Path]:
    """Yield each file of credentials in these directories."""
    for modules in _SYSTEM_MODULES:
        yield from _find_built_in(disk, modules)
    for root in roots:
        yield from _find(disk, str(root), root.name, _DEPTH)


def mask(file: Path) -> ReadOnly:
    """Return an empty file over a file of credentials."""
    return ReadOnly(user_files.store_text(""), PurePosixPath(file), is_mask=True)


def _find(disk: Disk, directory: str, name: str, depth: int) -> Iterator[Path]:
    """Yield the files below a directory with this name, in the order of their names.

    A search walks thousands of entries, so only those that matter are sorted and become paths.
    """
    if name == _MODULES:
        yield from _find_built_in(disk, Path(directory))
        return
    for entry in sorted(_select(disk, directory, name, depth), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _find(disk, entry.path, entry.name, depth - 1)
        else:
            yield Path(entry.path)


def _select(disk: Disk, directory: str, name: str, depth: int) -> list["os.DirEntry[str]"]:
    """Return the directories to search, and the files that may hold credentials.

    A git configuration may have credentials in a URL.
    """
    names = _GIT_FILES if name == ".git" else _FILES
    return [
        entry
        for entry in disk.scan(directory)
        if (
            depth and entry.name not in _PACKAGES
            if entry.is_dir(follow_symlinks=False)
            else entry.name in names and entry.is_file(follow_symlinks=False)
        )
    ]


def _find_built_in(disk: Disk, modules: Path) -> Iterator[Path]:
    file = modules / _BUILT_IN
    if disk.exists(file):
        yield disk.resolve(file)
