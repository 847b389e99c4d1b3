"""The state of a work tree that the record of a run names."""

from pathlib import Path

import pytest

from isosmoke.host.git import RepositoryState
from isosmoke.host.repository.work_tree_state import IdentityReader
from support.git_repositories import Git

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Return a repository with one commit."""
    git = Git(tmp_path / "repository")
    git.commit("One", file_txt="one")
    return git


def test_state_has_commit_and_branch(git: Git) -> None:
    """A directory in the work tree is enough."""
    (git.top / "below").mkdir()
    reader = IdentityReader(git.top / "below", ENVIRONMENT)
    assert reader.wait() == RepositoryState(git("rev-parse", "HEAD"), "main", dirty=False)


def test_changed_or_new_file_is_dirty(git: Git) -> None:
    """An untracked file is part of what was tested."""
    git.write(other_txt="new")
    state = IdentityReader(git.top, ENVIRONMENT).wait()
    assert state is not None
    assert state.dirty


def test_commit_without_a_branch(git: Git) -> None:
    """The branch is empty if a commit is checked out directly, as CI services do."""
    commit = git("rev-parse", "HEAD")
    git("checkout", "--quiet", "--detach")
    assert IdentityReader(git.top, ENVIRONMENT).wait() == RepositoryState(commit, "", dirty=False)


def test_branch_before_the_first_commit(tmp_path: Path) -> None:
    """The commit is empty then."""
    git = Git(tmp_path / "repository")
    assert IdentityReader(git.top, ENVIRONMENT).wait() == RepositoryState("", "main", dirty=False)


def test_branch_may_have_any_bytes(git: Git) -> None:
    """Git allows a name that is not valid UTF-8."""
    head = git.top / ".git/HEAD"
    (git.top / ".git/refs/heads").joinpath("caf\udce9").write_text(git("rev-parse", "HEAD"))
    head.write_bytes(b"ref: refs/heads/caf\xe9\n")
    state = IdentityReader(git.top, ENVIRONMENT).wait()
    assert state is not None
    assert state.branch == "caf\udce9"


@pytest.mark.parametrize("content", [None, "gitdir: /nowhere\n"])
def test_state_is_unknown_without_a_repository(tmp_path: Path, content: str | None) -> None:
    """The same holds for a work tree whose repository is missing."""
    if content is not None:
        (tmp_path / ".git").write_text(content)
    assert IdentityReader(tmp_path, ENVIRONMENT).wait() is None


def test_state_is_unknown_if_git_refuses(git: Git) -> None:
    """A configuration that git cannot read changes no run."""
    (git.top / ".git/config").write_text("[core")
    assert IdentityReader(git.top, ENVIRONMENT).wait() is None


def test_no_program_of_the_repository_runs(git: Git, tmp_path: Path) -> None:
    """The configuration of a repository belongs to its author."""
    mark, program = tmp_path / "mark", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    git("config", "core.fsmonitor", str(program))
    assert IdentityReader(git.top, ENVIRONMENT).wait() is not None
    assert not mark.exists()
