"""The manifests of a work tree now and in earlier commits, by their places."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import field
from functools import cached_property
from pathlib import Path

from isosmoke.authoring import manifest_places
from isosmoke.authoring.growth import editions
from isosmoke.authoring.growth.editions import Edition
from isosmoke.dataclass import dataclass
from isosmoke.errors import ManifestError
from isosmoke.host.repository import snapshots
from isosmoke.host.repository.snapshots import Snapshot, TreeSnapshot, WorkTreeSnapshot
from isosmoke.manifest.discovery import WG_MANIFEST

Catalog = Mapping[str, Edition]
"""The edition at each place of a work tree, by the path of the place."""

Group = tuple[str, ...]
"""The places of one project, in the order in which wg looks for them."""


_NOW, _STAGED = "work tree", "index"


@dataclass(frozen=True)
class Archive:
    """Reads the manifests of the work tree `top` at all times; each commit is read once.

    `groups` has the places of the caller's projects. Those of other projects, as in a monorepo, are
    added by `discover`.
    """

    top: Path
    environment: Mapping[str, str]
    groups: dict[Group, None]
    _contents: dict[str, bytes] = field(default_factory=dict)
    _snapshots: dict[str, TreeSnapshot] = field(default_factory=dict)
    _catalogs: dict[str, Catalog] = field(default_factory=dict)

    @cached_property
    def index(self) -> TreeSnapshot:
        """The files that are staged."""
        return snapshots.read_index(self.top, self.environment, self._contents)

    @cached_property
    def work_tree(self) -> WorkTreeSnapshot:
        """The files of the work tree."""
        return snapshots.read_work_tree(self.index)

    @property
    def places(self) -> tuple[str, ...]:
        """All places that are known."""
        return tuple(dict.fromkeys(place for group in self.groups for place in group))

    def discover(self, paths: Iterable[str]) -> None:
        """Add the projects of those `paths` that are manifests at wg's place.

        What was read before lacks their places, and is read again.
        """
        known = set(self.places)
        for path in paths:
            if f"/{path}".endswith(f"/{WG_MANIFEST}") and path not in known:
                project = manifest_places.find_place_project(self.top / path)
                places = manifest_places.list_places(project)[:-1]
                self.groups[tuple(str(place.relative_to(self.top)) for place in places)] = None
                self._catalogs.clear()

    def list_files(self, identity: str) -> Collection[str]:
        """Return the paths of the files in a commit."""
        return self._read_commit(identity).entries

    def load_commit(self, identity: str) -> Catalog:
        """Return the catalog of a commit.

        Raises:
            ManifestError: A manifest was invalid.
        """
        if identity not in self._catalogs:
            snapshot = self._read_commit(identity)
            self._catalogs[identity] = self._load(snapshot, f"{identity[:10]}:", is_past=True)
        return self._catalogs[identity]

    def load_valid(self, identity: str) -> Catalog:
        """Return the catalog of a commit; empty if a manifest was invalid: it protects nothing."""
        try:
            return self.load_commit(identity)
        except ManifestError:
            return {}

    def load_now(self) -> tuple[Catalog, Catalog]:
        """Return the catalogs of the work tree and of what is staged.

        Raises:
            ManifestError: A manifest is invalid.
        """
        if _NOW not in self._catalogs:
            self._catalogs[_NOW] = self._load(self.work_tree, f"{self.top}/", is_past=False)
            self._catalogs[_STAGED] = self._load(self.index, "index:", is_past=False)
        return self._catalogs[_NOW], self._catalogs[_STAGED]

    def _read_commit(self, identity: str) -> TreeSnapshot:
        if identity not in self._snapshots:
            self._snapshots[identity] = snapshots.read_commit(self.top, identity, self._contents)
        return self._snapshots[identity]

    def _load(self, snapshot: Snapshot, origin: str, *, is_past: bool) -> Catalog:
        return {
            place: editions.load_edition(snapshot, place, f"{origin}{place}", is_past=is_past)
            for place in self.places
        }


def list_groups(
    top: Path, working: Path, environment: Mapping[str, str], manifest: Path | None
) -> Iterator[Group]:
    """Yield the places of the caller's projects, and `manifest` unless it is None."""
    inside = working if working.is_relative_to(top) else top
    projects = manifest_places.find_projects(top, inside, environment)
    for number, project in enumerate(projects):
        places = [*manifest_places.list_places(project)]
        if number == 0:  # wg looks at the top after the caller's project
            places.insert(-1, top / WG_MANIFEST)
        yield tuple(dict.fromkeys(str(place.relative_to(top)) for place in places))
    if manifest is not None:
        parent = manifest.absolute().parent.resolve()
        yield (str((parent / manifest.name).relative_to(top.resolve())),)


def read_main_branch(catalog: Catalog) -> str | None:
    """Return the main branch that a manifest names; None if none does."""
    names = (edition.check.main_branch for edition in catalog.values())
    return next(filter(None, names), None)


def count_scenarios(catalog: Catalog) -> int:
    """Return the number of scenarios at all places."""
    return sum(len(edition.scenarios) for edition in catalog.values())


def is_equal(past: Iterable[Catalog], now: Collection[Catalog]) -> bool:
    """Return whether all catalogs have the same content, wherever they were read from."""
    return all(
        before.keys() == after.keys()
        and all(before[place].has_same_content(after[place]) for place in before)
        for before in past
        for after in now
    )


def has_file(catalog: Catalog, path: Path, top: Path) -> bool:
    """Return whether a catalog has a file at the place of `path`."""
    place = os.path.relpath(path.absolute().parent.resolve() / path.name, top.resolve())
    return catalog.get(place, Edition()).state != "missing"
