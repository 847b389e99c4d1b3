"""A manifest beside a revision of itself: what it lost since, and which commit did that."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path
from posixpath import dirname, join, normpath

from isosmoke.authoring import manifest_losses
from isosmoke.authoring.manifest_losses import Edition, Loss
from isosmoke.errors import ManifestError, UsageError
from isosmoke.host.git import Commit, Repository, Revision
from isosmoke.host.workspace_directories import git_top
from isosmoke.manifest import loader, parser
from isosmoke.manifest.discovery import WG_MANIFEST
from isosmoke.manifest.models import Scenario

_Texts = Callable[[Iterable[str]], Mapping[str, str]]
"""The texts of those of these files that are there; paths go from the top of the repository."""


@dataclass(frozen=True, slots=True)
class Blamed:
    """A loss and who did it, in words."""

    loss: Loss
    culprit: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many scenarios there were at `base` and are now, and what was lost in between."""

    base: Revision
    before: int
    after: int
    blamed: tuple[Blamed, ...]

    @property
    def refused(self) -> int:
        """How many losses are refused."""
        return sum(one.loss.refused for one in self.blamed)


def compare(path: Path, against: str | None) -> Comparison:
    """The manifest as it is on disk, beside `against` or, if None, where the branch began.

    Raises:
        ManifestError: if it is wrong in itself, now or then.
        UsageError: if there is no repository, or no such revision in it.
    """
    repository = _repository(path)
    base = repository.fork() if against is None else repository.revision(against)
    past = _Past(repository, _places(path, repository.top))
    before = past.first_edition(base)
    after = _edition(past.places[:1], partial(_on_disk, repository.top), str)
    lost = tuple(manifest_losses.losses(before, after))
    if not any(one.refused for one in lost):
        loader.load(path)
    blamed: tuple[Blamed, ...] = ()
    if lost:
        commits = past.commits(base, _concerned(lost, before.scenarios + after.scenarios))
        blamed = _blamed(lost, past, before, commits)
    return Comparison(base, len(before.scenarios), len(after.scenarios), blamed)


def _repository(path: Path) -> Repository:
    folder = path.resolve().parent
    if top := git_top(folder):
        return Repository(top)
    raise UsageError(
        f"{folder} is in no git repository, so there is nothing to compare with",
        "make one with `git init`, and commit the manifest",
    )


def _places(path: Path, top: Path) -> tuple[str, ...]:
    """Where the manifest is, and where one may have been whose scenarios must now be in this."""
    usual = (str(WG_MANIFEST), "manifest.toml")
    gone = (place for place in usual if not (top / place).exists())
    return (str(path.resolve().relative_to(top)), *gone)


def _on_disk(top: Path, paths: Iterable[str]) -> Mapping[str, str]:
    """The work tree, not git's index: a hook of `pre-commit` finds what is staged in both."""
    files = {path: top / path for path in paths}
    return {
        path: file.read_bytes().decode("utf-8-sig", errors="replace")
        for path, file in files.items()
        if file.is_file()
    }


def _edition(places: Iterable[str], texts: _Texts, label: Callable[[str], str]) -> Edition:
    """The edition at those of `places` that are there; with none of them it is empty."""
    whole = Edition()
    for place, text in reversed([*texts(places).items()]):
        then = parser.parse(text, Path(label(place)))
        paths = _scripts(place, then.scenarios)
        found = texts(paths.values())
        scripts = {name: found[path] for name, path in paths.items() if path in found}
        whole = Edition(then.scenarios + whole.scenarios, then.gate, {**whole.scripts, **scripts})
    return whole


def _scripts(place: str, scenarios: Iterable[Scenario]) -> Mapping[str, str]:
    return {one.name: normpath(join(dirname(place), one.script)) for one in scenarios}


@dataclass(frozen=True, slots=True)
class _Past:
    """The editions that git has of one manifest, wherever it was."""

    repository: Repository
    places: tuple[str, ...]

    def edition(self, identity: str) -> Edition:
        texts = partial(self.repository.texts, identity)
        return _edition(self.places, texts, lambda place: f"{identity[:10]}:{place}")

    def first_edition(self, base: Revision) -> Edition:
        try:
            return self.edition(base.identity)
        except ManifestError as error:
            hint = f"name a revision with a valid manifest: --against REV, not {base.words}"
            raise ManifestError(error.message, hint) from error

    def commits(self, base: Revision, scenarios: Collection[Scenario]) -> tuple[Commit, ...]:
        """The commits since `base` that may have taken something from `scenarios`."""
        since = self.repository.merge_base(base.identity)
        scripts = (_scripts(place, scenarios).values() for place in self.places)
        return self.repository.commits(since, {*self.places, *chain.from_iterable(scripts)})


def _concerned(lost: Iterable[Loss], scenarios: Iterable[Scenario]) -> tuple[Scenario, ...]:
    """The scenarios that lost something, under their old names and their new ones."""
    names = {one.scenario for one in lost}
    return tuple(one for one in scenarios if names.intersection((one.name, *one.aliases)))


def _blamed(
    lost: Iterable[Loss], past: _Past, before: Edition, commits: Collection[Commit]
) -> tuple[Blamed, ...]:
    @cache
    def lost_at(identity: str) -> frozenset[Loss]:
        try:
            then = past.edition(identity)
        except ManifestError:
            then = Edition()  # nobody could run what cannot be read
        return frozenset(manifest_losses.losses(before, then))

    return tuple(Blamed(one, _culprit(one, commits, lost_at)) for one in lost)


def _culprit(
    loss: Loss, commits: Iterable[Commit], lost_at: Callable[[str], frozenset[Loss]]
) -> str:
    """The newest commit in which the loss holds and in none of its parents: what came of it holds.

    An older one that was made good again is not to blame.
    """
    if loss not in lost_at("HEAD"):
        return "not committed yet"
    for commit in commits:
        inherited = any(loss in lost_at(parent) for parent in commit.parents)
        if loss in lost_at(commit.identity) and not inherited:
            return str(commit)
    return "this branch never had it"
