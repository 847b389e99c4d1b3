"""What git says of a folder, where there is git and where there is none."""

import os
from pathlib import Path

from isosmoke.host import checkout
from isosmoke.host.checkout import Checkout
from support.git_repositories import Git


def test_a_checkout_is_its_commit_and_whether_files_differ(tmp_path: Path) -> None:
    """Before the first commit there is none; an untracked file makes it dirty."""
    git = Git(tmp_path)
    unborn = checkout.at(tmp_path, os.environ)
    commit = git.commit("one", a_txt="1\n")
    clean = checkout.at(tmp_path, os.environ)
    git.write(b_txt="2\n")

    assert unborn == Checkout("", dirty=False)
    assert clean == Checkout(commit, dirty=False)
    assert checkout.at(tmp_path, os.environ) == Checkout(commit, dirty=True)


def test_outside_a_repository_or_without_git_there_is_no_checkout(tmp_path: Path) -> None:
    """Neither is an error, and the folder itself is its own top."""
    Git(tmp_path / "repository")

    assert checkout.at(tmp_path, os.environ) is None
    assert checkout.at(tmp_path / "repository", {"PATH": "/nowhere"}) is None
    assert checkout.tops(tmp_path, os.environ) == (tmp_path,)


def test_a_hooks_variables_are_about_another_repository(tmp_path: Path) -> None:
    """Git sets GIT_DIR for hooks, and it would win over the folder."""
    Git(tmp_path / "other")
    commit = Git(tmp_path / "own").commit("one", a_txt="1\n")
    hook = {**os.environ, "GIT_DIR": str(tmp_path / "other/.git")}

    assert checkout.at(tmp_path / "own", hook) == Checkout(commit, dirty=False)


def test_the_main_work_tree_comes_before_a_linked_one(tmp_path: Path) -> None:
    """From anywhere within it."""
    git = Git(tmp_path / "main")
    git.commit("one", a_txt="1\n")
    git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    (tmp_path / "linked/within").mkdir()

    tops = checkout.tops(tmp_path / "linked/within", os.environ)

    assert tops == (tmp_path / "main", tmp_path / "linked")
