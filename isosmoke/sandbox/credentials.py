"""Masks of the files in which tools keep credentials, among the files of a tool."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from isosmoke.sandbox import user_files
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


def list_masks(roots: Iterable[Path]) -> Iterator[ReadOnly]:
    """Yield an empty file over each file of credentials in these directories."""
    files = (
        *(file for modules in _SYSTEM_MODULES for file in _find_built_in(modules)),
        *(file for root in roots for file in _find(str(root), root.name, _DEPTH)),
    )
    for file in files:
        yield ReadOnly(user_files.store_text(""), PurePosixPath(file))


def _find(directory: str, name: str, depth: int) -> Iterator[Path]:
    """Yield the files below a directory with this name, in the order of their names.

    Every run walks thousands of entries, so only those that matter are sorted and become paths.
    """
    if name == _MODULES:
        yield from _find_built_in(Path(directory))
        return
    for entry in sorted(_select(directory, name, depth), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _find(entry.path, entry.name, depth - 1)
        else:
            yield Path(entry.path)


def _select(directory: str, name: str, depth: int) -> list["os.DirEntry[str]"]:
    """Return the directories to search, and the files that may hold credentials.

    A git configuration may have credentials in a URL.
    """
    names = _GIT_FILES if name == ".git" else _FILES
    with suppress(OSError), os.scandir(directory) as entries:
        return [
            entry
            for entry in entries
            if (
                depth and entry.name not in _PACKAGES
                if entry.is_dir(follow_symlinks=False)
                else entry.name in names and entry.is_file(follow_symlinks=False)
            )
        ]
    return []


def _find_built_in(modules: Path) -> Iterator[Path]:
    file = modules / _BUILT_IN
    if os.access(file, os.F_OK):
        yield file.resolve()
