"""Comparison of a manifest with an earlier revision: its losses and the commits that made them."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path
from posixpath import dirname, join, normpath

from isosmoke.authoring import manifest_losses
from isosmoke.authoring.manifest_losses import Edition, Loss
from isosmoke.errors import ManifestError, UsageError
from isosmoke.host.repository.revisions import Commit, Repository, Revision
from isosmoke.host.workspace_directories import git_top
from isosmoke.manifest import loader, parser
from isosmoke.manifest.discovery import WG_MANIFEST
from isosmoke.manifest.models import Scenario

_ReadTexts = Callable[[Iterable[str]], Mapping[str, str]]
"""A function that returns the texts of those files that exist; paths are relative to the top."""


@dataclass(frozen=True, slots=True)
class BlamedLoss:
    """A loss and the commit that caused it, or why no commit can be named."""

    loss: Loss
    culprit: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The losses since `base`, and the numbers of scenarios `before` and `after`."""

    base: Revision
    before: int
    after: int
    blamed: tuple[BlamedLoss, ...]

    @property
    def refused(self) -> int:
        """The number of refused losses."""
        return sum(blamed.loss.refused for blamed in self.blamed)


def compare(path: Path, against: str | None) -> Comparison:
    """Compare the manifest on disk with revision `against`, or with the fork point if it is None.

    Raises:
        ManifestError: The manifest on disk or at the revision is invalid.
        UsageError: There is no repository, or no such revision in it.
    """
    repository = _find_repository(path)
    base = repository.fork() if against is None else repository.revision(against)
    history = _ManifestHistory(repository, _find_manifest_paths(path, repository.top))
    before = history.load_base(base)
    after = _load_edition(history.paths[:1], partial(_read_work_tree, repository.top), str)
    losses = tuple(manifest_losses.find_losses(before, after))
    if not any(loss.refused for loss in losses):
        loader.load(path)
    blamed: tuple[BlamedLoss, ...] = ()
    if losses:
        affected = _find_affected(losses, before.scenarios + after.scenarios)
        blamed = _blame(losses, history, before, history.find_commits(base, affected))
    return Comparison(base, len(before.scenarios), len(after.scenarios), blamed)


def _find_repository(path: Path) -> Repository:
    directory = path.resolve().parent
    if top := git_top(directory):
        return Repository(top)
    raise UsageError(
        f"{directory} is not in a git repository, so there is no earlier manifest to compare with",
        "create a repository with `git init`, and commit the manifest",
    )


def _find_manifest_paths(path: Path, top: Path) -> tuple[str, ...]:
    """Return the path of the manifest and the usual paths of manifests that no longer exist.

    The scenarios of such a removed manifest must now be in this one.
    """
    usual = (str(WG_MANIFEST), "manifest.toml")
    removed = (candidate for candidate in usual if not (top / candidate).exists())
    return (str(path.resolve().relative_to(top)), *removed)


def _read_work_tree(top: Path, paths: Iterable[str]) -> Mapping[str, str]:
    """Read files from the work tree, which a `pre-commit` hook restricts to the staged changes."""
    files = {path: top / path for path in paths}
    return {
        path: file.read_bytes().decode("utf-8-sig", errors="replace")
        for path, file in files.items()
        if file.is_file()
    }


def _load_edition(
    paths: Iterable[str], read_texts: _ReadTexts, format_path: Callable[[str], str]
) -> Edition:
    """Combine the existing manifests among `paths` into one edition, empty if there are none."""
    combined = Edition()
    for path, text in reversed([*read_texts(paths).items()]):
        manifest = parser.parse(text, Path(format_path(path)))
        script_paths = _resolve_scripts(path, manifest.scenarios)
        texts = read_texts(script_paths.values())
        scripts = {name: texts[script] for name, script in script_paths.items() if script in texts}
        combined = Edition(
            manifest.scenarios + combined.scenarios, manifest.gate, {**combined.scripts, **scripts}
        )
    return combined


def _resolve_scripts(manifest: str, scenarios: Iterable[Scenario]) -> Mapping[str, str]:
    directory = dirname(manifest)
    return {scenario.name: normpath(join(directory, scenario.script)) for scenario in scenarios}


@dataclass(frozen=True, slots=True)
class _ManifestHistory:
    """The editions of one manifest in git, under any of its paths."""

    repository: Repository
    paths: tuple[str, ...]

    def load(self, identity: str) -> Edition:
        read_texts = partial(self.repository.texts, identity)
        return _load_edition(self.paths, read_texts, lambda path: f"{identity[:10]}:{path}")

    def load_base(self, base: Revision) -> Edition:
        try:
            return self.load(base.identity)
        except ManifestError as error:
            hint = f"name a revision with a valid manifest: --against REV, not {base.description}"
            raise ManifestError(error.message, hint) from error

    def find_commits(self, base: Revision, scenarios: Collection[Scenario]) -> tuple[Commit, ...]:
        """Return the commits since `base` that may have affected `scenarios`."""
        since = self.repository.merge_base(base.identity)
        scripts = (_resolve_scripts(path, scenarios).values() for path in self.paths)
        return self.repository.commits(since, {*self.paths, *chain.from_iterable(scripts)})


def _find_affected(losses: Iterable[Loss], scenarios: Iterable[Scenario]) -> tuple[Scenario, ...]:
    """Return the scenarios with losses, under their old names and their new ones."""
    names = {loss.scenario for loss in losses}
    return tuple(
        scenario for scenario in scenarios if names.intersection((scenario.name, *scenario.aliases))
    )


def _blame(
    losses: Iterable[Loss], history: _ManifestHistory, before: Edition, commits: Collection[Commit]
) -> tuple[BlamedLoss, ...]:
    @cache
    def find_losses_at(identity: str) -> frozenset[Loss]:
        try:
            edition = history.load(identity)
        except ManifestError:
            edition = Edition()  # An unreadable manifest protects nothing.
        return frozenset(manifest_losses.find_losses(before, edition))

    return tuple(BlamedLoss(loss, _find_culprit(loss, commits, find_losses_at)) for loss in losses)


def _find_culprit(
    loss: Loss, commits: Iterable[Commit], find_losses_at: Callable[[str], frozenset[Loss]]
) -> str:
    """Return the newest commit that has the loss while none of its parents has it.

    An older commit whose loss was reverted in the meantime is not to blame.
    """
    if loss not in find_losses_at("HEAD"):
        return "not committed yet"
    for commit in commits:
        is_inherited = any(loss in find_losses_at(parent) for parent in commit.parents)
        if loss in find_losses_at(commit.identity) and not is_inherited:
            return str(commit)
    return "never present on this branch"
