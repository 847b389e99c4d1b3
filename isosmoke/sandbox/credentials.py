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
        *(file for root in roots for file in _find(root, _DEPTH)),
    )
    for file in files:
        yield ReadOnly(user_files.store_text(""), PurePosixPath(file))


def _find(directory: Path, depth: int) -> Iterator[Path]:
    if directory.name == _MODULES:
        yield from _find_built_in(directory)
        return
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                if depth and entry.name not in _PACKAGES:
                    yield from _find(Path(entry.path), depth - 1)
            elif _is_secret(entry, directory):
                yield Path(entry.path)


def _is_secret(entry: "os.DirEntry[str]", directory: Path) -> bool:
    """Return whether a file may hold credentials; a git configuration may have them in a URL."""
    is_named = entry.name in _FILES or (entry.name == "config" and directory.name == ".git")
    return is_named and entry.is_file(follow_symlinks=False)


def _find_built_in(modules: Path) -> Iterator[Path]:
    file = modules / _BUILT_IN
    if os.access(file, os.F_OK):
        yield file.resolve()
