"""The branches that count as main branches, and the one whose commits count as reviewed."""

from functools import cached_property

from isosmoke.authoring.growth import earlier_manifests
from isosmoke.authoring.growth.earlier_manifests import Archive
from isosmoke.dataclass import dataclass
from isosmoke.host.repository import bases
from isosmoke.host.repository.revisions import Repository


@dataclass(frozen=True)
class MainBranches:
    """Finds the main branches of a repository, by their usual names and by its manifests."""

    repository: Repository
    archive: Archive

    def find_all(self) -> tuple[str, ...]:
        """Return the main branch that the manifest names, and the one that reviews count on.

        Raises:
            ManifestError: A manifest is invalid.
        """
        named = earlier_manifests.read_main_branch(self.archive.load_now()[0])
        names = [named] if self.has_usual else [named, *self._former_names]
        found = (bases.find_main_branch(self.repository, name) for name in names if name)
        usual = bases.list_usual_branches(self.repository)
        more = usual if self.reviewed in usual else ()
        return tuple(dict.fromkeys(filter(None, (*found, self.reviewed, *more))))

    @cached_property
    def has_usual(self) -> bool:
        """True if there is a main branch that no manifest has to name."""
        return bool(bases.find_main_branch(self.repository, None))

    @cached_property
    def reviewed(self) -> str:
        """The usual main branch, or the one that its own manifest names; empty without any.

        HEAD itself agrees to nothing, because its author can be that of the manifest.
        """
        usual = bases.find_main_branch(self.repository, None)
        if not usual:
            return self._find_undisputed()
        fork = self.repository.find_merge_base(usual)
        is_earlier = fork and fork != self.repository.find_commit("HEAD")
        agreed = (
            earlier_manifests.read_main_branch(self.archive.load_valid(fork))
            if is_earlier
            else None
        )
        return (bases.find_main_branch(self.repository, agreed) if agreed else "") or usual

    def _find_undisputed(self) -> str:
        """Return the branch that the manifest names, unless an ancestor names another."""
        named = earlier_manifests.read_main_branch(self.archive.load_now()[0])
        if named is None or not self.repository.find_commit("HEAD"):
            return ""
        is_disputed = {*self._former_names} - {named}
        return "" if is_disputed else bases.find_main_branch(self.repository, named)

    @cached_property
    def _former_names(self) -> tuple[str, ...]:
        """The main branches that the manifests of HEAD's ancestors name."""
        if not self.repository.find_commit("HEAD"):
            return ()
        ancestors = self.repository.list_ancestors(self.archive.places)
        former = (
            earlier_manifests.read_main_branch(self.archive.load_valid(item)) for item in ancestors
        )
        return tuple(dict.fromkeys(filter(None, former)))
