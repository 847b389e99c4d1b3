"""The files that a watch looks at, and the scenarios that a change of them affects."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.manifest.models import Scenario

Mark = tuple[int, int, int]
"""The inode, size and time of change of a file; a change of its content changes it."""

ABSENT: Mark = (0, 0, 0)


def read_mark(path: Path) -> Mark:
    """Return the mark of a file; `ABSENT` if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a watch calls it for every file, several times a second
    except OSError:
        return ABSENT
    return status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedFiles:
    """The files that scenarios depend on: the manifest, the binary, and those of each scenario.

    `binary` is None if there is no live binary.
    """

    manifest: Path
    binary: Path | None
    scenarios: tuple[Scenario, ...]
    inputs: Mapping[str, frozenset[Path]]

    @property
    def paths(self) -> frozenset[Path]:
        """All files."""
        shared = {self.manifest, *({self.binary} if self.binary else ())}
        return frozenset(shared.union(*self.inputs.values()))

    def find_affected(self, changed: Collection[Path]) -> frozenset[str]:
        """Return the names of the scenarios that changed files affect, except by the manifest."""
        if self.binary in changed:
            return frozenset(self.inputs)
        return frozenset(
            name for name, paths in self.inputs.items() if not paths.isdisjoint(changed)
        )


def find_new_entries(before: Iterable[Scenario], after: Iterable[Scenario]) -> frozenset[str]:
    """Return the names of the scenarios that are new in a manifest, or have a changed entry."""
    known = {scenario.name: scenario for scenario in before}
    return frozenset(scenario.name for scenario in after if known.get(scenario.name) != scenario)


@dataclass(slots=True)
class ChangeDetector:
    """A comparison of files with their state when they were last taken into account.

    A change counts once the files look the same twice in succession, as a build or an editor
    writes in several steps. `read` returns the mark of a file.
    """

    read: Callable[[Path], Mark] = read_mark
    _known: dict[Path, Mark] = field(default_factory=dict)
    _last: dict[Path, Mark] = field(default_factory=dict)

    def accept(self, paths: Iterable[Path]) -> None:
        """Take the state of these files into account, except of those that were known before."""
        self._known = {path: self._known.get(path) or self.read(path) for path in paths}
        self._last = {}

    def find_changes(self) -> frozenset[Path]:
        """Return the files that have changed and do not change at the moment; they are known then.

        A file that disappears is no change until it is there again.
        """
        now = {path: self.read(path) for path in self._known}
        is_settled, self._last = now == self._last, now
        changed = frozenset(
            path for path, mark in now.items() if mark not in (ABSENT, self._known[path])
        )
        if not changed or not is_settled:
            return frozenset()
        self._known |= {path: now[path] for path in changed}
        return changed


def order(names: Collection[str], scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
    """Return the scenarios with these names, in the order of the manifest."""
    return tuple(scenario for scenario in scenarios if scenario.name in names)
