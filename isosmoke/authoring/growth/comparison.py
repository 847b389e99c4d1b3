"""Comparison of the manifests of a work tree with earlier commits, and who changed them."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from isosmoke.authoring.growth import (
    acknowledgement_trailers,
    additions,
    earlier_manifests,
    merged_history,
    place_losses,
)
from isosmoke.authoring.growth.earlier_manifests import Archive, Catalog
from isosmoke.authoring.growth.editions import Edition
from isosmoke.authoring.growth.losses import Loss
from isosmoke.authoring.growth.main_branches import MainBranches
from isosmoke.authoring.growth.merged_history import MergedHistory
from isosmoke.authoring.growth.place_losses import PlacedLoss
from isosmoke.authoring.growth.reviewed_findings import Acknowledgements
from isosmoke.dataclass import dataclass
from isosmoke.errors import ManifestError, UsageError
from isosmoke.host.repository import bases, enclosing_repository
from isosmoke.host.repository.bases import Bases
from isosmoke.host.repository.revisions import Commit, Repository, Revision
from isosmoke.manifest import discovery, loader

_UNKNOWN = "commit unknown: this clone is shallow"
_UNCOMMITTED = "not committed yet"
_ANCESTOR = "an ancestor on this branch"

OF_BASES = ("nothing-compared", "self-compared")
"""The kinds of losses that are about a comparison, whatever the manifests are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """A caller's work tree, and what to compare: a manifest and a revision, or None by default."""

    working: Path
    environment: Mapping[str, str]
    manifest: Path | None = None
    against: str | None = None


@dataclass(frozen=True, slots=True)
class BlamedLoss:
    """A loss at a place, the commit that caused it, and the digest that acknowledges it."""

    place: str
    loss: Loss
    culprit: str = ""
    digest: str = ""

    @property
    def trailer(self) -> str:
        """The trailer that acknowledges it; empty if none does."""
        return (
            acknowledgement_trailers.format_trailer(self.loss.subject, self.digest)
            if self.digest
            else ""
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """The losses since `base`, and the numbers of scenarios `before` and `after`.

    `acknowledged` is the number of findings that a review covers. `added` and `rewritten` have the
    names of scenarios that were not reviewed. `places` are those of manifests with scenarios.
    `pins` are those of the present manifests that an earlier commit has and no loss is about; see
    `isosmoke.manifest.models.Gate.pins`.
    """

    top: Path
    base: str
    before: int
    after: int
    blamed: tuple[BlamedLoss, ...]
    acknowledged: int = 0
    added: frozenset[str] = frozenset()
    rewritten: frozenset[str] = frozenset()
    places: tuple[str, ...] = ()
    pins: frozenset[tuple[str, str]] = frozenset()

    @property
    def refused(self) -> int:
        """The number of refused losses."""
        return sum(blamed.loss.refused for blamed in self.blamed)


def compare(request: CheckRequest) -> Comparison:
    """Compare the manifests of the work tree and the index with all bases.

    Raises:
        ManifestError: A manifest is invalid now or at a base, or there is none.
        UsageError: There is no repository, or no such revision in it.
    """
    directory = request.working
    if request.manifest is not None:
        directory = request.manifest.absolute().parent.resolve()
    top = enclosing_repository.find_work_tree(directory, request.environment)
    if top is None:
        raise UsageError(
            f"{directory} is not in a git repository, so there is no earlier manifest to compare "
            "with",
            "create a repository with `git init`, and commit the manifest",
        )
    groups = earlier_manifests.list_groups(
        top, request.working, request.environment, request.manifest
    )
    files = Archive(top, request.environment, dict.fromkeys(groups))
    return _Check(request, Repository(top), files).run()


@dataclass(frozen=True)
class _Check:
    request: CheckRequest
    repository: Repository
    archive: Archive

    def run(self) -> Comparison:
        head = self.repository.find_commit("HEAD")
        chosen = self._choose_bases(head)
        revisions = self._list_revisions(chosen, head)
        past = self._load_past(revisions)
        now = self.archive.load_now()
        found = self._find_losses(past, now, chosen)
        acknowledgements = Acknowledgements(
            self.repository, self.archive, self._main_branches.reviewed
        )
        covered = acknowledgements.find_covered(found, head)
        blamed = [
            self._blame(placed, shown[0], now)
            for placed, shown in found.items()
            if placed not in covered
        ]
        if not any(item.loss.refused for item in blamed):
            blamed += self._judge_bases(past, now, head)
        self._validate(blamed, past, now[0])
        compared = [revision for revision in past if revision.identity != head] or [*past]
        newest = past[compared[0]] if compared else {}
        base = f"{compared[0].identity[:7]}, {compared[0].description}" if compared else "nothing"
        reviewed = {revision.identity for revision in chosen.revisions} - {head}
        return Comparison(
            top=self.repository.top,
            base=base,
            before=earlier_manifests.count_scenarios(newest),
            after=earlier_manifests.count_scenarios(now[0]),
            blamed=tuple(blamed),
            acknowledged=len(covered),
            added=additions.list_added(past, reviewed, now[0]),
            rewritten=additions.list_rewritten(past, reviewed, now[0]),
            places=tuple(place for place, edition in now[0].items() if edition.scenarios),
            pins=additions.list_known_pins(
                (past[revision] for revision in past if revision.identity != head),
                now[0],
                {item.loss.identity for item in blamed if item.loss.refused},
            ),
        )

    @cached_property
    def _main_branches(self) -> MainBranches:
        return MainBranches(self.repository, self.archive)

    def _choose_bases(self, head: str) -> Bases:
        self.archive.discover(self.archive.index.entries)
        if head:
            self.archive.discover(self.archive.list_files(head))
        if self.request.against is not None:
            return Bases((self.repository.revision(self.request.against),))
        branches = self._main_branches.find_all()
        return bases.find_bases(self.repository, self.request.environment, branches)

    def _list_revisions(self, chosen: Bases, head: str) -> tuple[Revision, ...]:
        """Return the bases, and every ancestor in a history with another edition."""
        listed = {revision.identity: revision for revision in chosen.revisions}
        for revision in chosen.revisions:
            self.archive.discover(self.archive.list_files(revision.identity))
        if chosen.history:
            history = self._read_history(chosen)
            history.discover()
            ends = [self.repository.find_parent(head), head] if chosen.is_main else []
            for identity in (*ends[:1], *history.list_ancestors(), *ends[1:]):
                if identity:
                    listed.setdefault(identity, Revision(identity, _ANCESTOR))
        return tuple(listed.values())

    def _read_history(self, chosen: Bases) -> MergedHistory:
        return MergedHistory(self.repository, self.archive, chosen.history)

    def _load_past(self, revisions: tuple[Revision, ...]) -> Mapping[Revision, Catalog]:
        """Return the catalog of each base; of several, those with an invalid manifest are skipped.

        Raises:
            ManifestError: The manifest of the only base is invalid.
        """
        if len(revisions) != 1:
            catalogs = ((item, self.archive.load_valid(item.identity)) for item in revisions)
            return {revision: catalog for revision, catalog in catalogs if catalog}
        (only,) = revisions
        try:
            return {only: self.archive.load_commit(only.identity)}
        except ManifestError as error:
            hint = f"name a revision with a valid manifest: --against REV, not {only.description}"
            raise ManifestError(error.message, hint) from error

    def _find_losses(
        self, past: Mapping[Revision, Catalog], now: tuple[Catalog, ...], chosen: Bases
    ) -> dict[PlacedLoss, list[Revision]]:
        """Map each loss to the bases that show it.

        The notes on the history of the main branch are for those who are on it.
        """
        found: dict[PlacedLoss, dict[Revision, None]] = {}
        for placed, revision in self._list_losses(past, now, chosen):
            if placed.loss.refused or chosen.is_main or revision in chosen.revisions:
                found.setdefault(placed, {})[revision] = None
        return {placed: [*shown] for placed, shown in found.items()}

    def _list_losses(
        self, past: Mapping[Revision, Catalog], now: tuple[Catalog, ...], chosen: Bases
    ) -> Iterator[tuple[PlacedLoss, Revision]]:
        for revision, before in past.items():
            for after in now:
                for placed in place_losses.find_losses(before, after, [*self.archive.groups]):
                    yield placed, revision
        if chosen.history:
            yield from self._read_history(chosen).find_losses(now)

    def _blame(
        self, placed: PlacedLoss, base: Revision, now: tuple[Catalog, Catalog]
    ) -> BlamedLoss:
        edition = next(
            (catalog[placed.place] for catalog in now if placed.place in catalog), Edition()
        )
        digest = acknowledgement_trailers.compute_digest(edition, placed.loss.subject)
        return BlamedLoss(placed.place, placed.loss, self._find_culprit(placed, base), digest)

    def _find_culprit(self, placed: PlacedLoss, base: Revision) -> str:
        """Return the newest commit that has the loss while none of its parents has it.

        An older commit whose loss was reverted in the meantime is not to blame.
        """
        before = self.archive.load_valid(base.identity)

        def has_loss(identity: str) -> bool:
            after = self.archive.load_valid(identity)
            return placed in place_losses.find_losses(before, after, [*self.archive.groups])

        if not has_loss(self.repository.find_commit("HEAD")):
            return _UNCOMMITTED
        for commit in self._list_commits(placed, base):
            if has_loss(commit.identity) and not any(map(has_loss, commit.parents)):
                return str(commit)
        return _UNKNOWN if self._is_shallow else "never present on this branch"

    def _list_commits(self, placed: PlacedLoss, base: Revision) -> tuple[Commit, ...]:
        """Return the commits since a base that may have caused a loss; none if that is unknown."""
        since = self.repository.find_merge_base(base.identity)
        if not since:
            return ()
        catalogs = (self.archive.load_valid(base.identity), *self.archive.load_now())
        paths = {path for catalog in catalogs for path in merged_history.list_paths(catalog)}
        return self.repository.commits(since, {*self.archive.places, *paths})

    def _judge_bases(
        self, past: Mapping[Revision, Catalog], now: tuple[Catalog, ...], head: str
    ) -> Iterator[BlamedLoss]:
        """Yield a finding if the comparison says little: with itself, or with no manifest."""
        others = [item for item in past if item.identity != head]
        if not past:
            yield self._build("nothing-compared", "compared with nothing: there is no base")
        elif not others and (self._is_shallow or earlier_manifests.is_equal(past.values(), now)):
            yield self._build("self-compared", "compared with itself: there is no earlier commit")
        elif not others and self.request.against is None:
            text = "compared with HEAD, because there is no earlier commit: review it"
            yield self._build("head-compared", text, refused=False)
        elif self._is_unagreed(now[0], others):
            text = "compared only with a branch that the manifest itself names, in a shallow clone"
            yield self._build("nothing-compared", text)
        elif not any(earlier_manifests.count_scenarios(past[item]) for item in others or past):
            yield self._judge_empty_base((others or [*past])[0])
        elif self._is_shallow and all(item.description == _ANCESTOR for item in past):
            text = "only a part of the history was compared: fetch the rest"
            yield self._build("history-shallow", text, refused=False)

    def _is_unagreed(self, now: Catalog, others: Iterable[Revision]) -> bool:
        """Return whether all bases are on a branch that perhaps only the author has named."""
        named = earlier_manifests.read_main_branch(now)
        if (
            not named
            or not self._is_shallow
            or self._main_branches.has_usual
            or self.request.against
        ):
            return False
        tip = self.repository.find_commit(bases.find_main_branch(self.repository, named))
        return all(revision.identity == tip for revision in others)

    def _judge_empty_base(self, base: Revision) -> BlamedLoss:
        """Return a note if no manifest ever existed up to a base, else a loss."""
        if self._is_shallow or self.repository.has_changed(base.identity, self.archive.places):
            text = "compared with nothing: the base has no manifest"
            return self._build("nothing-compared", text)
        text = "no earlier commit has a manifest, so this one is the first: review it"
        return self._build("manifest-first", text, refused=False)

    @cached_property
    def _is_shallow(self) -> bool:
        return self.repository.is_shallow()

    def _build(self, kind: str, text: str, *, refused: bool = True) -> BlamedLoss:
        """Return a finding about the comparison as a whole."""
        place = str(self.repository.top)
        culprit = _UNKNOWN if self._is_shallow else ""
        return BlamedLoss(place, Loss(place, kind, text, kind, refused, is_scenario=False), culprit)

    def _validate(
        self, blamed: Iterable[BlamedLoss], past: Mapping[Revision, Catalog], now: Catalog
    ) -> None:
        """Load each present manifest, unless there are losses to report instead.

        Raises:
            ManifestError: One is invalid, or there is none and never was.
        """
        named = self.request.manifest
        if named is not None and not any(
            earlier_manifests.has_file(catalog, named, self.repository.top)
            for catalog in (now, *past.values())
        ):
            loader.load(named)
        present = [place for place, edition in now.items() if edition.scenarios]
        if not present and not any(map(earlier_manifests.count_scenarios, past.values())):
            discovery.locate_manifest(self.request.working, self.request.environment)
        if not any(item.loss.refused and item.loss.kind not in OF_BASES for item in blamed):
            for place in present:
                loader.load(self.repository.top / place)
