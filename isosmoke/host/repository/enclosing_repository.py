"""The relation of a file to the repository around it, and of a repository to one around that."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from isosmoke.host.git import GitError, find_common_directory, find_program, map_tracked, run
from isosmoke.host.workspace_directories import git_top

Tracking = Literal["tracked", "untracked", "ignored", "pinned", "outside"]
"""The relation of a file to its repository.

"outside" means that there is none, or that it was created over files of another repository.

A file is "pinned" if `git update-index` keeps git from seeing its changes (`--assume-unchanged`,
`--skip-worktree`).
"""


def read_tracking(path: Path, environment: Mapping[str, str]) -> Tracking:
    """Return the relation of the file at `path` to the repository around it.

    Symbolic links are not followed: git tracks a link, and nothing below one.

    Raises:
        IsosmokeError: if git refuses to read the repository, or is not installed.
    """
    path = path.absolute()
    top = git_top(path.parent)
    if top is None or top != find_work_tree(path.parent, environment):
        return "outside"
    relative = os.fspath(path.relative_to(top))
    is_pinned = map_tracked(top, environment, relative).get(relative)
    if is_pinned is not None:
        return "pinned" if is_pinned else "tracked"
    return "ignored" if _is_ignored(top, relative, environment) else "untracked"


def _is_ignored(top: Path, relative: str, environment: Mapping[str, str]) -> bool:
    ignored = ("ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--", relative)
    return bool(run(top, *ignored, environment=environment))


def find_work_tree(directory: Path, environment: Mapping[str, str]) -> Path | None:
    """Return the top of the work tree around `directory`; None if there is none.

    A repository that was created over files that the repository around it tracks does not count:
    the outer one is the work tree. A submodule, or a repository in an untracked directory, does.
    """
    top = git_top(directory)
    if top is None or find_program(top, environment) is None:
        return top
    outer = find_work_tree(top.parent, environment) if top != top.parent else None
    return outer if outer and _tracks_directory(outer, top, environment) else top


def _tracks_directory(top: Path, directory: Path, environment: Mapping[str, str]) -> bool:
    """Return whether the commit that is checked out in `top` has files in `directory`."""
    relative = os.fspath(directory.relative_to(top))
    try:
        listing = run(top, "ls-tree", "-z", "HEAD", "--", relative, environment=environment)
    except GitError:
        return False  # there is no commit, or git refuses to read the repository
    return listing.startswith(b"040000 tree ")


def is_same_repository(first: Path, second: Path, environment: Mapping[str, str]) -> bool:
    """Return whether two tops are work trees of one repository."""
    return first.resolve() == second.resolve() or (
        find_common_directory(first, environment).resolve()
        == find_common_directory(second, environment).resolve()
    )
