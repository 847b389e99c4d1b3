"""The commits that a work tree is compared with."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from isosmoke.errors import UsageError
from isosmoke.host.repository import bases
from isosmoke.host.repository.bases import Bases
from isosmoke.host.repository.revisions import Repository, Revision
from support.git_repositories import Git

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Return a repository without a commit."""
    return Git(tmp_path / "project")


def find(git: Git, environment: Mapping[str, str] = NO_VARIABLES, name: str | None = None) -> Bases:
    """Return the bases of a work tree whose main branch has this name."""
    repository = Repository(git.top)
    main = bases.find_main_branch(repository, name)
    return bases.find_bases(repository, environment, (main,) if main else ())


def on_main(git: Git) -> Bases:
    """Return the bases on the main branch: its own history."""
    return Bases((), is_main=True, history=git("rev-parse", "HEAD"))


def list_names(found: Bases) -> dict[str, str]:
    """Map each base to its description."""
    return {revision.identity: revision.description for revision in found.revisions}


def test_base_of_a_branch_is_the_merge_base(git: Git) -> None:
    """The base is the last commit that the branch has in common with main."""
    base = git.commit("base")
    git("checkout", "-q", "-b", "feature")
    git.commit("mine")
    git("checkout", "-q", "main")
    git.commit("theirs")
    git("checkout", "-q", "feature")

    assert find(git) == Bases((Revision(base, "the merge base with main"),), history=base)


def clone(git: Git) -> Git:
    """Return a clone of a repository."""
    path = git.top.parent / "clone"
    git("clone", "-q", str(git.top), str(path))
    return Git(path)


def test_main_branch_of_origin_takes_precedence(git: Git) -> None:
    """A clone is compared with its origin, even if its own main branch has newer commits."""
    base = git.commit("base")
    copy = clone(git)
    copy.commit("mine")

    assert base in list_names(find(copy))
    assert bases.find_main_branch(Repository(copy.top), None) == "refs/remotes/origin/HEAD"


def test_clone_of_a_ci_service_has_a_main_branch(git: Git) -> None:
    """A clone with a detached HEAD and one remote branch, as in CI, has a main branch."""
    git.commit("base")
    copy = clone(git)
    copy("checkout", "-q", "--detach")
    copy("branch", "-q", "-D", "main")
    copy("remote", "set-head", "origin", "--delete")

    assert find(copy) == Bases((), is_main=True, history=copy("rev-parse", "HEAD"))


@pytest.mark.parametrize("name", ["master", "trunk", "release/next"])
def test_name_of_the_main_branch_is_a_setting(git: Git, name: str) -> None:
    """The main branch has its usual name, or the one that is set."""
    base = git.commit("base")
    git("branch", "-m", "main", name)
    assert find(git, name=None if name == "master" else name).is_main
    git("checkout", "-q", "-b", "feature")
    git.commit("mine")

    assert [*list_names(find(git, name=None if name == "master" else name))] == [base]


def test_missing_main_branch_is_an_error(git: Git) -> None:
    """No branch is guessed if none is the main one."""
    git.commit("base")
    git("branch", "-m", "main", "trunk")

    with pytest.raises(UsageError, match="no main branch") as raised:
        find(git)

    assert "main_branch in [check]" in raised.value.hint


def test_repository_without_commits_has_no_base(git: Git) -> None:
    """Before the first commit there is nothing to compare with."""
    assert find(git) == Bases()


def test_unrelated_main_branch_is_the_base_itself(git: Git) -> None:
    """If HEAD has no commit in common with main, main's tip is the base."""
    base = git.commit("base")
    git("checkout", "-q", "--orphan", "other")
    git.commit("other")

    assert [*list_names(find(git))] == [base]


def test_upstream_branch_is_a_base_in_addition(git: Git) -> None:
    """A branch that was pushed is compared with its upstream branch and with main."""
    base = git.commit("base")
    copy = clone(git)
    copy("checkout", "-q", "-b", "feature")
    pushed = copy.commit("pushed")
    copy("push", "-q", "--set-upstream", "origin", "feature")
    copy.commit("more")

    assert [*list_names(find(copy))] == [pushed, base]


def test_upstream_branch_that_is_head_is_no_base(git: Git) -> None:
    """HEAD is never compared with itself, even if everything was pushed."""
    base = git.commit("base")
    copy = clone(git)
    copy("checkout", "-q", "-b", "feature")
    copy.commit("pushed")
    copy("push", "-q", "--set-upstream", "origin", "feature")

    assert [*list_names(find(copy))] == [base]


def test_moved_main_branch_makes_ancestors_bases(git: Git) -> None:
    """If main was moved to HEAD, each ancestor of HEAD is a base."""
    git.commit("base")
    git("checkout", "-q", "-b", "feature")
    mine = git.commit("mine")
    git("update-ref", "refs/heads/main", mine)

    assert find(git) == on_main(git)


def write_event(git: Git, event: object) -> Mapping[str, str]:
    """Return the variables of a CI job on GitHub that an event started."""
    path = git.top.parent / "event.json"
    path.write_text(json.dumps(event))
    return {"GITHUB_EVENT_PATH": str(path)}


EVENTS = {
    "pull request": ({"pull_request": {"base": {"sha": "BASE"}}}, ""),
    "merge queue": ({"merge_group": {"base_sha": "BASE"}}, ""),
    "push": ({"before": "BASE", "after": "x"}, ""),
    "merge request": ({}, "CI_MERGE_REQUEST_DIFF_BASE_SHA"),
    "push to GitLab": ({}, "CI_COMMIT_BEFORE_SHA"),
}


@pytest.mark.parametrize(("event", "variable"), EVENTS.values(), ids=EVENTS)
def test_base_of_a_ci_event_is_a_base(git: Git, event: object, variable: str) -> None:
    """The commit below a pull request or before a push is a base on the main branch too."""
    base = git.commit("base")
    git.commit("more")
    environment = write_event(git, json.loads(json.dumps(event).replace("BASE", base)))

    found = find(git, {**environment, variable: base} if variable else environment)

    assert list_names(found) == {base: "the base of the CI event"}
    assert found.is_main


@pytest.mark.parametrize(
    "event",
    [{"before": "0" * 40}, {"before": "1" * 40}, {"before": "HEAD"}, {"before": "--all"}, [], None],
)
def test_event_without_a_known_base_is_ignored(git: Git, event: object) -> None:
    """The first push of a branch has no base, and HEAD is none."""
    git.commit("base")

    assert find(git, write_event(git, event)) == on_main(git)


def test_unreadable_event_is_ignored(git: Git) -> None:
    """A file that is no JSON, or is missing, names no base."""
    git.commit("base")
    path = git.top.parent / "event.json"
    path.write_text("{")

    for name in (str(path), "/gone", ""):
        assert find(git, {"GITHUB_EVENT_PATH": name}) == on_main(git)
