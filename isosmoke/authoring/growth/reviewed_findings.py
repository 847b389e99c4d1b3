"""The findings that a review covers, by where the commit of the review is."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from isosmoke.authoring.growth import acknowledgement_trailers, place_losses
from isosmoke.authoring.growth.acknowledgement_trailers import Review
from isosmoke.authoring.growth.earlier_manifests import Archive
from isosmoke.authoring.growth.place_losses import PlacedLoss
from isosmoke.dataclass import dataclass
from isosmoke.host.repository import bases
from isosmoke.host.repository.revisions import Repository, Revision


@dataclass(frozen=True)
class Acknowledgements:
    """The valid reviews up to HEAD; those that the branch `main` contains count for losses too.

    `main` is a full name, or empty if there is no main branch.
    """

    repository: Repository
    archive: Archive
    main: str

    def find_covered(
        self, found: Mapping[PlacedLoss, Iterable[Revision]], head: str
    ) -> set[PlacedLoss]:
        """Return the findings that are covered since each of their bases.

        The author of a branch cannot acknowledge a loss; the main branch can, by the commit that
        merges it. What changed after the review counts again.
        """
        if not found or not head:
            return set()
        return {
            placed
            for placed, revisions in found.items()
            if all(self._is_covered(placed, base) for base in revisions)
        }

    def _is_covered(self, placed: PlacedLoss, base: Revision) -> bool:
        return any(
            review.subject == placed.loss.subject
            and (not placed.loss.refused or review.commit in self._main_history)
            and placed not in since
            and self._is_later(review, base)
            for review, since in self._valid
        )

    def _is_later(self, review: Review, base: Revision) -> bool:
        """Return whether a review is one of what changed since a base.

        A branch gets reviews of the main branch by a merge. They are no descendants of a base that
        only the branch has, such as what it pushed before.
        """
        if base.identity == review.commit:
            return False
        if base.identity in self.repository.list_history(review.commit):
            return True
        return (
            review.commit in self._main_history
            and base.identity not in self._main_history
            and review.commit not in self.repository.list_history(base.identity)
        )

    @cached_property
    def _main_history(self) -> frozenset[str]:
        """The commits that the main branch contains; all up to HEAD if that is on the branch."""
        if not self.main:
            return frozenset()
        is_on = bases.is_on(self.repository, self.main, self.repository.find_commit("HEAD"))
        return self.repository.list_history("HEAD" if is_on else self.main)

    @cached_property
    def _valid(self) -> tuple[tuple[Review, set[PlacedLoss]], ...]:
        """The reviews with the digest of their own commit, each with what was lost since."""
        return tuple(self._list_valid())

    def _list_valid(self) -> Iterator[tuple[Review, set[PlacedLoss]]]:
        trailers = self.repository.find_trailers(acknowledgement_trailers.TRAILER)
        for review in acknowledgement_trailers.parse_reviews(trailers):
            catalog = self.archive.load_valid(review.commit)
            digests = (
                acknowledgement_trailers.compute_digest(item, review.subject)
                for item in catalog.values()
            )
            if review.digest in digests:
                yield (
                    review,
                    {
                        placed
                        for after in self.archive.load_now()
                        for placed in place_losses.find_losses(
                            catalog, after, [*self.archive.groups]
                        )
                    },
                )
