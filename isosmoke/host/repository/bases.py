"""The commits that a work tree is compared with: what was reviewed before.

A base is never HEAD itself, because an agent commits what it changed. No reference that an agent
can move is trusted alone: all bases that exist are used.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.host.git import GitError
from isosmoke.host.repository.revisions import Repository, Revision

DEFAULT_MAIN_BRANCHES = (
    "refs/remotes/origin/HEAD",
    "refs/heads/main",
    "refs/heads/master",
    # A clone made by a CI service often has only these.
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
)


@dataclass(frozen=True, slots=True)
class Bases:
    """The commits to compare with; every first-parent ancestor of the commit `history` is one too.

    It is HEAD if `is_main`, and empty if a remote branch shows what was reviewed.
    """

    revisions: tuple[Revision, ...] = ()
    is_main: bool = False
    history: str = ""


def find_main_branch(repository: Repository, name: str | None) -> str:
    """Return the full name of the main branch; an empty string if there is none.

    `name` is its short name; None means the default branch of `origin`, or main or master.
    """
    names = (f"refs/remotes/origin/{name}", f"refs/heads/{name}") if name else DEFAULT_MAIN_BRANCHES
    return next((full for full in names if repository.find_commit(full)), "")


def list_usual_branches(repository: Repository) -> tuple[str, ...]:
    """Return the full names of all usual main branches, those named master only without a main.

    The default branch of `origin` and a local branch can be moved, so that neither counts alone.
    """
    found = [full for full in DEFAULT_MAIN_BRANCHES if repository.find_commit(full)]
    has_main = any(full.endswith("/main") for full in found)
    return tuple(full for full in found if not (has_main and full.endswith("/master")))


def find_bases(
    repository: Repository, environment: Mapping[str, str], main_branches: tuple[str, ...]
) -> Bases:
    """Return what HEAD is compared with; nothing before the first commit.

    Raises:
        UsageError: if there is no base, because a complete clone has no main branch.
    """
    head = repository.find_commit("HEAD")
    if not head:
        return Bases()
    revisions: dict[str, Revision] = {}
    for name, tip in _list_named(repository, environment, main_branches):
        identity = _find_base(repository, tip)
        if identity != head:
            revisions.setdefault(identity, Revision(identity, name))
    is_main = any(is_on(repository, full, head) for full in main_branches)
    if not (revisions or is_main or main_branches or repository.is_shallow()):
        raise UsageError(
            f"{repository.top} has no main branch, none of {', '.join(DEFAULT_MAIN_BRANCHES)}",
            "set main_branch in [check] of the manifest, or name a revision: --against REV",
        )
    is_local = not any(full.startswith("refs/remotes/") for full in main_branches)
    fork = repository.find_merge_base(main_branches[0]) if main_branches and is_local else ""
    return Bases(tuple(revisions.values()), is_main, head if is_main else fork)


def _list_named(
    repository: Repository, environment: Mapping[str, str], main_branches: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """Yield descriptions of bases, each with the tip of the branch that it is common to."""
    for named in _find_event_bases(environment):
        if commit := _find_commit(repository, named):
            yield "the base of the CI event", commit
    if upstream := _find_upstream(repository):
        yield "the merge base with the upstream branch", upstream
    for full in main_branches:
        short = full.removeprefix("refs/heads/").removeprefix("refs/remotes/")
        yield f"the merge base with {short}", full


def _find_base(repository: Repository, tip: str) -> str:
    """Return the merge base with `tip`; the tip itself if a shallow clone hides it."""
    return repository.find_merge_base(tip) or repository.find_commit(tip)


def is_on(repository: Repository, full: str, head: str) -> bool:
    """Return whether HEAD is on the branch `full`, or has nothing that the branch lacks."""
    short = _shorten(repository.resolve_name(full))
    is_checked_out = repository.find_branch() == f"refs/heads/{short}"
    return is_checked_out or repository.find_merge_base(full) == head


def _shorten(full: str) -> str:
    return full.removeprefix("refs/heads/").removeprefix("refs/remotes/origin/")


def _find_upstream(repository: Repository) -> str:
    """Return the tip of the upstream branch; empty without one, or if no branch is checked out."""
    return _find_commit(repository, "@{upstream}")


def _find_commit(repository: Repository, name: str) -> str:
    try:
        return repository.find_commit(name)
    except GitError:
        return ""


def _find_event_bases(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the commits before a push or below a pull request, as the CI service names them.

    Sources: GitHub, "Webhook events and payloads" (`pull_request`, `merge_group`, `push`); GitLab,
    "Predefined CI/CD variables reference".
    """
    event = _read_event(environment.get("GITHUB_EVENT_PATH", ""))
    match event:
        case {"pull_request": {"base": {"sha": str(commit)}}}:
            yield commit
        case {"merge_group": {"base_sha": str(commit)}}:
            yield commit
        case {"before": str(commit)} if commit.strip("0"):
            yield commit
    for variable in ("CI_MERGE_REQUEST_DIFF_BASE_SHA", "CI_COMMIT_BEFORE_SHA"):
        if (commit := environment.get(variable, "")).strip("0"):
            yield commit


def _read_event(path: str) -> object:
    try:
        return json.loads(Path(path).read_bytes()) if path else None
    except (OSError, ValueError, RecursionError):
        return None
