"""The places of manifests in a work tree, and what is wrong with the one that a gate uses.

wg finds one manifest by its own rule (`isosmoke.manifest.discovery`). The question here is another
one: which files of the caller's work tree may only grow. They are found by their path in the work
tree, whatever wg reads.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import tomli

from isosmoke.errors import IsosmokeError, ManifestError
from isosmoke.host import files
from isosmoke.host.repository import enclosing_repository
from isosmoke.manifest import discovery
from isosmoke.manifest.discovery import GRAPH_NAMES, WG_MANIFEST
from isosmoke.manifest.mirrors import mirror_source
from isosmoke.results.records.finding import FindingsDocument, GateFinding

PLAIN_MANIFEST = Path("manifest.toml")
"""The name of a manifest that isosmoke finds where wg finds none."""

_UNSEEN = {
    "untracked": "is not tracked by git, so that no review has seen it",
    "ignored": "is ignored by git, so that no review will see it",
    "pinned": "is kept from git's sight by `git update-index`, which hides its changes",
    "outside": "is not in the repository of this work tree",
}
"""The problem with a manifest that git does not watch, by its `Tracking`."""


def list_places(project: Path) -> tuple[Path, ...]:
    """Return the usual places of a manifest in a project's directory, in the order of wg."""
    graphs = (project / name / WG_MANIFEST for name in GRAPH_NAMES)
    return (*graphs, project / WG_MANIFEST, project / PLAIN_MANIFEST)


def find_projects(top: Path, working: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the directories of the work tree `top` whose places count for the caller.

    They are the project that the caller is in, the top and the working directory. A graph that is
    a link to the main work tree's, as in the work tree of an agent, still marks the directory with
    the link as the project.
    """
    return tuple(dict.fromkeys((_find_project(top, working, environment), top, working)))


def _find_project(top: Path, working: Path, environment: Mapping[str, str]) -> Path:
    if not environment.get("WG_DIR"):
        above = (step for step in (working, *working.parents) if step.is_relative_to(top))
        marked = (step for step in above if any((step / name).is_dir() for name in GRAPH_NAMES))
        return next(marked, top)
    project = discovery.find_graph_directory(working, environment).parent
    if project.is_relative_to(top.resolve()):
        return top / project.relative_to(top.resolve())
    other = enclosing_repository.find_work_tree(project, environment)
    if other is None or not enclosing_repository.is_same_repository(top, other, environment):
        return top
    return top / project.relative_to(other)


def find_own_manifest(working: Path, environment: Mapping[str, str]) -> Path:
    """Return the manifest of the caller's work tree, which `check` and `new` work on.

    A tracked file takes precedence over one that git does not know, and that over an ignored one.
    Outside of a work tree, it is the manifest that wg would find. It is never a mirror.

    Raises:
        ManifestError: There is none.
    """
    top = enclosing_repository.find_work_tree(working, environment)
    if top is None:
        return discovery.locate_source(working, environment)
    found = [path for path in list_own_places(top, working, environment) if path.is_file()]
    if not found:
        return _find_named_manifest(top, working, environment)
    if len(found) == 1:
        return found[0]
    order = ("tracked", "pinned", "untracked", "ignored", "outside")
    return min(
        found, key=lambda path: order.index(enclosing_repository.read_tracking(path, environment))
    )


def list_own_places(top: Path, working: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return every usual place of the work tree `top` that counts for the caller, in wg's order.

    A place that a link leads to outside of the work tree belongs to another one.
    """
    projects = find_projects(top, working, environment)
    places = dict.fromkeys(place for project in projects for place in list_places(project))
    inside = top.resolve()
    return tuple(place for place in places if place.parent.resolve().is_relative_to(inside))


def _find_named_manifest(top: Path, working: Path, environment: Mapping[str, str]) -> Path:
    """Return the manifest that the environment names, if it is in the work tree.

    Raises:
        ManifestError: It is elsewhere, or there is none.
    """
    path = discovery.locate_source(working, environment)
    if enclosing_repository.find_work_tree(path.absolute().parent, environment) == top:
        return path
    raise ManifestError(
        f"the work tree {top} has no manifest; wg would read {path}",
        "create one with `isosmoke init`, or name one with --manifest",
    )


def has_scenarios(path: Path) -> bool:
    """Return whether a file is a manifest with scenarios; a file that cannot be parsed counts."""
    try:
        document = tomli.loads(files.read(path).decode("utf-8-sig"))
    except OSError:
        return False
    except (ValueError, RecursionError):
        return path.is_file()
    return "scenario" in document


def inspect_manifest(
    path: Path, working: Path, environment: Mapping[str, str], *, option: Path | None = None
) -> FindingsDocument:
    """Return what is wrong with the manifest at `path`, which a gate in `working` uses.

    `option` is the value of `--manifest`, or None. Losses: the manifest is not tracked, ignored,
    outside of the repository, named by an override, or hides another. It is a note that the
    caller's work tree has a different manifest. A repository that git refuses to read is a loss.
    """
    try:
        losses = (
            *_find_override(path, working, environment, option),
            *_find_unseen(path, working, environment),
            *_find_hidden(path),
        )
        notes = (
            *_find_unversioned(path, working, environment),
            *_find_other(path, working, environment),
        )
        return FindingsDocument.collect(losses, notes)
    except IsosmokeError as error:
        loss = GateFinding(
            kind="manifest-unverified", place=str(path), message=" ".join(error.message.split())
        )
        return FindingsDocument(losses=(loss,))


def _find_override(
    path: Path, working: Path, environment: Mapping[str, str], option: Path | None
) -> Iterator[GateFinding]:
    """Yield a loss if an option or a variable names a manifest that wg would not find by itself."""
    if option is None and "WG_SMOKE_MANIFEST" not in environment:
        return
    default = discovery.find_default_manifest(working, environment)
    if default is not None and _is_same_file(default, path):
        return
    origin = "WG_SMOKE_MANIFEST" if option is None else "--manifest"
    instead = f"instead of {default}" if default else "where wg finds none"
    message = f"was named by {origin}, {instead}"
    yield GateFinding(kind="manifest-override", place=str(path), message=message)


def _find_unseen(
    path: Path, working: Path, environment: Mapping[str, str]
) -> Iterator[GateFinding]:
    """Yield a loss if git does not watch the manifest, or the file that it is a link to."""
    if _is_unversioned(path, working, environment):
        return
    top = enclosing_repository.find_work_tree(working, environment)
    for file in dict.fromkeys((path.absolute(), path.resolve())):
        state = enclosing_repository.read_tracking(file, environment)
        if state == "untracked" and _leads_through_link(file):
            continue  # git tracks the link, and the target is inspected by itself
        if state != "outside" and top and not _is_in_repository(file, top, environment):
            state = "outside"
        if state in _UNSEEN:
            message = _UNSEEN[state]
            yield GateFinding(kind=f"manifest-{state}", place=str(file), message=message)


def _find_unversioned(
    path: Path, working: Path, environment: Mapping[str, str]
) -> Iterator[GateFinding]:
    """Yield a note if neither the caller nor the manifest is in a repository."""
    if _is_unversioned(path, working, environment):
        message = "no repository watches it, so nothing shows that it only grew"
        yield GateFinding(kind="manifest-unversioned", place=str(path), message=message)


def _is_unversioned(path: Path, working: Path, environment: Mapping[str, str]) -> bool:
    directories = (working, path.absolute().parent, path.resolve().parent)
    return all(
        enclosing_repository.find_work_tree(item, environment) is None for item in directories
    )


def _leads_through_link(file: Path) -> bool:
    return file.parent != file.parent.resolve()


def _is_in_repository(file: Path, top: Path, environment: Mapping[str, str]) -> bool:
    own = enclosing_repository.find_work_tree(file.parent, environment)
    return own is not None and enclosing_repository.is_same_repository(own, top, environment)


def _find_hidden(path: Path) -> Iterator[GateFinding]:
    """Yield a loss for each other manifest in the project's directory, which no gate reads."""
    for place in list_places(find_place_project(path)):
        if place.exists() and not _is_same_file(place, path) and has_scenarios(place):
            message = f"hides {place}, whose scenarios no gate runs"
            yield GateFinding(kind="manifest-hides", place=str(path), message=message)


def find_place_project(path: Path) -> Path:
    """Return the project's directory of a manifest at a usual place, else its own directory."""
    path = path.absolute()
    if path.parts[-3:] != WG_MANIFEST.parts:
        return path.parent
    directory = path.parents[2]
    return directory.parent if directory.name in GRAPH_NAMES else directory


def _find_other(path: Path, working: Path, environment: Mapping[str, str]) -> Iterator[GateFinding]:
    """Yield a note if the caller's work tree has a manifest with other content."""
    try:
        own = find_own_manifest(working, environment)
    except ManifestError:
        return
    if not _is_same_file(own, path) and _differ((own, path)):
        message = f"is the manifest by wg's rule; the work tree's own, {own}, differs"
        yield GateFinding(kind="manifest-differs", place=str(path), message=message)


def _is_same_file(first: Path, second: Path) -> bool:
    """Return whether two paths lead to one file; a mirror stands for its source."""
    return mirror_source.find_source(first).resolve() == mirror_source.find_source(second).resolve()


def _differ(paths: Iterable[Path]) -> bool:
    try:
        return len({files.read(path) for path in paths}) > 1
    except OSError:
        return True
