"""Trusted repositories: their identity, and what revokes trust."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.errors import UsageError
from isosmoke.hooks import trust
from isosmoke.host import state
from support.git_repositories import Git


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """Return a trusted repository with one commit."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))
    repository = Git(tmp_path / "project")
    repository.commit("first", manifest_toml="")
    trust.add(trust.identify(repository.top, os.environ))
    return repository


def is_trusted(directory: Path) -> bool:
    """Return whether a hook in the directory may run scenarios."""
    try:
        trust.require_trust(directory, os.environ)
    except UsageError:
        return False
    return True


def add_scenario(repository: Git) -> Path:
    """Commit a scenario."""
    repository.commit("second", manifest_toml="[[scenario]]\n", new_sh="exit 0\n")
    return repository.top


def add_worktree(repository: Git) -> Path:
    """Add a linked work tree."""
    repository("worktree", "add", "--quiet", "../agent", "-b", "agent")
    return repository.top.parent / "agent"


def merge_other_history(repository: Git) -> Path:
    """Merge a history with another root."""
    repository("checkout", "--quiet", "--orphan", "other")
    repository.commit("unrelated", other_txt="x")
    repository("checkout", "--quiet", "main")
    repository("merge", "--quiet", "--allow-unrelated-histories", "-m", "merge", "other")
    return repository.top


def enter_subdirectory(repository: Git) -> Path:
    """Create a directory inside."""
    (repository.top / "deep" / "er").mkdir(parents=True)
    return repository.top / "deep" / "er"


def reach_through_link(repository: Git) -> Path:
    """Create a symbolic link to the work tree."""
    link = repository.top.parent / "link"
    link.symlink_to(repository.top)
    return link


@pytest.mark.parametrize(
    "change",
    [add_scenario, add_worktree, merge_other_history, enter_subdirectory, reach_through_link],
)
def test_trust_remains(repository: Git, change: Callable[[Git], Path]) -> None:
    """New commits, scenarios and work trees of a repository change nothing."""
    assert is_trusted(change(repository))


def replace_repository(repository: Git) -> Path:
    """Put another repository at the same path."""
    repository.top.rename(repository.top.parent / "moved")
    other = Git(repository.top)
    other.commit("another first commit", manifest_toml="x")
    return other.top


def move_repository(repository: Git) -> Path:
    """Move the repository elsewhere."""
    return repository.top.rename(repository.top.parent / "moved")


def copy_repository(repository: Git) -> Path:
    """Clone the repository."""
    repository("clone", "--quiet", ".", "../copy")
    return repository.top.parent / "copy"


def revoke(repository: Git) -> Path:
    """Revoke trust twice; only the first time has an effect."""
    assert trust.remove(trust.identify(repository.top, os.environ))
    assert not trust.remove(trust.identify(repository.top, os.environ))
    return repository.top


def damage_record(repository: Git) -> Path:
    """Overwrite the record of trust."""
    (record,) = state.ensure_directory("trusted").iterdir()
    record.write_text("{")
    return repository.top


def enter_inner_repository(repository: Git) -> Path:
    """Create a repository inside."""
    inner = Git(repository.top / "inner")
    inner.commit("inner")
    return inner.top


@pytest.mark.parametrize(
    "change",
    [
        replace_repository,
        move_repository,
        copy_repository,
        revoke,
        damage_record,
        enter_inner_repository,
    ],
)
def test_trust_is_lost(repository: Git, change: Callable[[Git], Path]) -> None:
    """Another repository at the path, another path, and a damaged record are not trusted."""
    assert not is_trusted(change(repository))


def test_git_variables_name_no_other_repository(repository: Git, tmp_path: Path) -> None:
    """The variables that git sets for its hooks do not lend trust to another repository."""
    other = Git(tmp_path / "other")
    other.commit("another")
    lent = {**os.environ, "GIT_DIR": str(repository.top / ".git")}

    with pytest.raises(UsageError, match="not trusted"):
        trust.require_trust(other.top, lent)


@pytest.mark.parametrize("has_repository", [True, False])
def test_directory_without_a_commit_cannot_be_trusted(
    tmp_path: Path, *, has_repository: bool
) -> None:
    """There is nothing by which it could be known."""
    if has_repository:
        Git(tmp_path)

    with pytest.raises(UsageError):
        trust.identify(tmp_path, os.environ)


def test_trusted_repositories_are_listed(repository: Git) -> None:
    """Each is listed with its git directory."""
    assert [trusted.path for trusted in trust.list_all()] == [str(repository.top / ".git")]
