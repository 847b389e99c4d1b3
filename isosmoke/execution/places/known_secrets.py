"""The secrets of a whole manifest, which nothing that workers receive openly may contain.

The workspace, open files and root filesystems also reach workers that are not pinned.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.host import state
from isosmoke.host.caller_process import Caller
from isosmoke.manifest import loader
from isosmoke.manifest.models import Scenario
from isosmoke.runner import mounts

_File = tuple[int, int]
"""The device and the inode of a file."""


@dataclass(frozen=True, slots=True)
class KnownSecrets:
    """The secrets of scenarios, also of those that do not run.

    `variables` are names. `paths` are those of secret files, and what they are links to. `files`
    are the secret files with several names, one of which may be elsewhere. `keys` is the directory
    with the keys of clusters.
    """

    variables: frozenset[str] = frozenset()
    paths: frozenset[Path] = frozenset()
    files: frozenset[_File] = frozenset()
    keys: Path | None = None

    def includes(self, path: Path) -> bool:
        """Return whether a path, which need not exist, is a secret file or below one."""
        if not self.paths.isdisjoint((path, *path.parents)):
            return True
        if self.files:
            with suppress(OSError):
                return _identify(path.lstat()) in self.files
        return False

    def find_inside(self, top: Path, emptied: Collection[str] = ()) -> Path | None:
        """Return a secret file in an open file or directory; None if it contains none.

        Its directories `emptied` are not part of it.
        """
        top = top.resolve()
        closed = [top / name for name in emptied]

        def is_part(path: Path) -> bool:
            return not any(path.is_relative_to(directory) for directory in closed)

        keys = [self.keys] if self.keys else []
        if any(top.is_relative_to(path) for path in keys):
            return top
        named = (path for path in sorted((*self.paths, *keys)) if path.is_relative_to(top))
        other = (path for path in _walk(top) if self.includes(path)) if self.files else ()
        return next((path for path in (*named, *other) if is_part(path)), None)


def find(manifest: Path | None, scenarios: Iterable[Scenario], caller: Caller) -> KnownSecrets:
    """Return the secrets of these scenarios and of all others in their manifest.

    Raises:
        IsosmokeError: if the manifest cannot be read: its secrets are not known then.
    """
    others = () if manifest is None else loader.load(caller.working / manifest).scenarios
    known = (*scenarios, *others)
    named = dict.fromkeys(name for scenario in known for name in scenario.pass_files)
    paths = [mounts.expand_home(Path(name), caller.home) for name in named]
    return KnownSecrets(
        variables=frozenset(name for scenario in known for name in scenario.pass_env),
        paths=frozenset((*paths, *(path.resolve() for path in paths))),
        files=frozenset(_list_shared(paths)),
        keys=state.get_state_directory().resolve() / "cluster",
    )


def _list_shared(paths: Iterable[Path]) -> Iterator[_File]:
    """Yield the files with several names at or below these paths."""
    for path in paths:
        for file in _walk(path.resolve()):
            with suppress(OSError):
                status = file.lstat()
                if status.st_nlink > 1 and not file.is_dir():
                    yield _identify(status)


def _identify(status: os.stat_result) -> _File:
    return status.st_dev, status.st_ino


def _walk(top: Path) -> Iterator[Path]:
    """Yield a path and everything below it, without following links."""
    yield top
    for parent, directories, names in os.walk(top):
        yield from (Path(parent, name) for name in (*directories, *names))
