"""The commits on the main branch, and what its merges left out of what they merged.

The first parents of a commit are the history of its branch. What only a merged branch had was never
part of it: a branch may revise its own scenarios before it is merged. A merge can also leave out
what its branch has (`git merge -s ours`), so that a weaker history takes the place of the branch.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property

from isosmoke.authoring.growth import place_losses
from isosmoke.authoring.growth.earlier_manifests import Archive, Catalog
from isosmoke.authoring.growth.place_losses import PlacedLoss
from isosmoke.dataclass import dataclass
from isosmoke.host.repository.revisions import Merge, Repository, Revision
from isosmoke.manifest.discovery import WG_MANIFEST

_MANIFESTS = f"**/{WG_MANIFEST}"


def list_paths(catalog: Catalog) -> set[str]:
    """Return the paths of all scripts in a catalog, and of the files that they read."""
    scripts = [script for edition in catalog.values() for script in edition.scripts.values()]
    return {path for script in scripts for path in (script.path, *script.inputs)}


@dataclass(frozen=True)
class MergedHistory:
    """The history of the commit `tip`, and the manifests in it."""

    repository: Repository
    archive: Archive
    tip: str

    def list_ancestors(self) -> tuple[str, ...]:
        """Return the first-parent ancestors that changed a manifest, or what an edition reads."""
        return self._list_ancestors(self.tip)

    def _list_ancestors(self, tip: str) -> tuple[str, ...]:
        return self.repository.list_ancestors(self._list_watched(tip), tip)

    def _list_watched(self, tip: str) -> set[str]:
        """Return all places, and the paths that an edition on the first-parent chain reads."""
        places = self.archive.places
        ancestors = self.repository.list_ancestors(places, tip)
        return {*places}.union(*(list_paths(self.archive.load_valid(item)) for item in ancestors))

    def discover(self) -> None:
        """Add the projects of the past to the archive."""
        self.archive.discover(self.repository.list_former_files(_MANIFESTS, self.tip))
        for merge in self._merges:
            self.archive.discover(self.archive.list_files(merge.merged))

    def find_losses(self, now: Iterable[Catalog]) -> Iterator[tuple[PlacedLoss, Revision]]:
        """Yield what a merge left out and what is lost now, with a commit that has it.

        What the first parent of a merge lost since the fork is judged in its own history.
        """
        catalogs = tuple(now)
        for merge in self._merges:
            judged = self._compare(merge.fork, merge.parent)
            for base in self._list_bases(merge):
                left_out = self._compare(base, merge.identity) - judged
                lost = {placed for after in catalogs for placed in self._find(base, after)}
                revision = Revision(base, f"merged by {merge.identity[:7]}")
                yield from ((placed, revision) for placed in left_out & lost)

    @cached_property
    def _merges(self) -> tuple[Merge, ...]:
        """The merges on the first-parent chain, and on each chain that one of them replaced."""
        pending, merges = [self.tip], dict[Merge, None]()
        while pending:
            tip = pending.pop()
            found = self.repository.list_merges(tip, self._list_watched(tip), _MANIFESTS)
            fresh = [merge for merge in found if merge not in merges]
            merges.update(dict.fromkeys(fresh))
            pending += [merge.merged for merge in fresh if self._is_replaced(merge)]
        return tuple(merges)

    def _list_bases(self, merge: Merge) -> tuple[str, ...]:
        """Return the merged commit, and its ancestors too if a weaker history replaced them."""
        ancestors = self._list_ancestors(merge.merged) if self._is_replaced(merge) else ()
        return tuple(dict.fromkeys((merge.merged, *ancestors)))

    def _is_replaced(self, merge: Merge) -> bool:
        """Return whether both parents have scenarios, and got them after the fork."""
        return not self._has_scenarios(merge.fork) and self._has_scenarios(merge.parent)

    def _has_scenarios(self, commit: str) -> bool:
        return any(edition.scenarios for edition in self._load(commit).values())

    def _compare(self, before: str, after: str) -> set[PlacedLoss]:
        return self._find(before, self._load(after))

    def _find(self, before: str, after: Catalog) -> set[PlacedLoss]:
        return {*place_losses.find_losses(self._load(before), after, [*self.archive.groups])}

    def _load(self, commit: str) -> Catalog:
        """Return the catalog of a commit; empty for the fork of histories that have none."""
        return self.archive.load_valid(commit) if commit else {}
