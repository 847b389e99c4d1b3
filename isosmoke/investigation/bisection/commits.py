"""The commits of a bisection, read from git."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.host import git
from isosmoke.host.git import GitError
from isosmoke.host.repository.revisions import Repository, Revision
from isosmoke.investigation.bisection.bisection_record import NamedCommit

_MAX_SUBJECT = 200


@dataclass(frozen=True, slots=True)
class Range:
    """The commits that `bad` contains and none of `good` does, with their parents among them.

    `parents` is in topological order, children first.
    """

    good: tuple[Revision, ...]
    bad: Revision
    parents: Mapping[str, Sequence[str]]


def read_range(top: Path, good: Sequence[str], bad: str) -> Range:
    """Return the range between revisions.

    Raises:
        UsageError: if a revision does not exist, or the bad one does not contain a good one.
    """
    repository = Repository(top)
    last, first = repository.revision(bad), tuple(map(repository.revision, good))
    for revision in first:
        if revision.identity == last.identity:
            raise UsageError(
                f"--good {revision.description} and --bad {bad} are the same commit",
                hint="name a revision that passes, and a later one that fails",
            )
        if not _contains(top, last.identity, revision.identity):
            raise UsageError(
                f"--bad {bad} does not contain --good {revision.description}",
                hint=f"name the last common commit: git merge-base {bad} {revision.description}",
            )
    excluded = [f"^{revision.identity}" for revision in first]
    output = git.run(top, "rev-list", "--topo-order", "--parents", last.identity, *excluded, "--")
    rows = [line.split() for line in output.decode().splitlines()]
    known = {commit for commit, *_ in rows}
    parents = {
        commit: tuple(parent for parent in above if parent in known) for commit, *above in rows
    }
    return Range(first, last, parents)


def _find_named(repository: Repository, name: str) -> str:
    """Return the commit that a file name is a revision of; empty for any other name."""
    try:
        return repository.find_commit(name)
    except GitError:
        return ""


def _contains(top: Path, commit: str, ancestor: str) -> bool:
    output = git.run(top, "rev-list", "--max-count=1", ancestor, f"^{commit}", "--")
    return not output.strip()


def _read_subject(top: Path, commit: str) -> str:
    """Return the first line of a commit's message."""
    output = git.run(top, "log", "--max-count=1", "--format=%s", commit, "--")
    return output.decode(errors="replace").strip()[:_MAX_SUBJECT]


def read_named(top: Path, commit: str) -> NamedCommit:
    """Return a commit with its subject, which is empty if git cannot read it."""
    try:
        return NamedCommit(commit=commit, subject=_read_subject(top, commit))
    except GitError:
        return leave_unnamed(commit)


def leave_unnamed(commit: str) -> NamedCommit:
    """Return a commit whose subject is not read."""
    return NamedCommit(commit=commit, subject="")


def read_parents(top: Path, commit: str) -> tuple[str, ...]:
    """Return the parents of a commit."""
    output = git.run(top, "rev-list", "--max-count=1", "--parents", commit, "--")
    return tuple(output.decode().split()[1:])


def find_binaries(top: Path, directory: Path, binary: str) -> Mapping[str, Path]:
    """Map commits to the ready-made binaries in a directory, whose entries are named by revision.

    An entry is a file, or a directory in which the binary is at the path `binary`. Other entries
    are ignored.

    Raises:
        UsageError: if there is no binary at all, or two of the same commit.
    """
    repository = Repository(top)
    found: dict[str, Path] = {}
    for entry in sorted(directory.iterdir()):
        path = entry / binary if entry.is_dir() else entry
        commit = _find_named(repository, entry.name) if path.is_file() else ""
        if commit in found and commit:
            raise UsageError(
                f"{directory} has two binaries of commit {commit[:12]}: {found[commit].name} and "
                f"{entry.name}",
                hint="remove one of them",
            )
        if commit:
            found[commit] = path
    if not found:
        raise UsageError(
            f"{directory} has no binary that is named by a revision of {top}",
            hint="name each file by its commit, such as $(git rev-parse HEAD)",
        )
    return found
