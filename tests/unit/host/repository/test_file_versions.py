"""The versions of a file in the history of a repository."""

from pathlib import Path

import pytest

from isosmoke.host.repository.file_versions import FileVersions
from support.git_repositories import Git


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Return a repository with two versions of a file on its main branch."""
    git = Git(tmp_path / "project")
    git.commit("first", a_sh="one\n")
    git.commit("second", a_sh="two\n")
    return git


def list_versions(git: Git, path: str = "a.sh") -> set[bytes]:
    """Return the versions of a file."""
    return {*FileVersions(git.top, {"PATH": "/usr/bin:/bin"}).list_all(path)}


def test_versions_are_those_of_all_branches_and_merges(git: Git) -> None:
    """A version on another branch counts, and so does one that only a merge has."""
    git("checkout", "-q", "-b", "other", "HEAD~1")
    git.commit("third", a_sh="three\n")
    git("merge", "-q", "-s", "ours", "--no-commit", "main")
    git.commit("merge", a_sh="four\n")
    git("checkout", "-q", "main")

    assert list_versions(git) == {b"one\n", b"two\n", b"three\n", b"four\n"}
    assert list_versions(git, "gone.sh") == set()


def test_version_that_no_branch_has_does_not_count(git: Git) -> None:
    """A stash and a commit that was dropped are not committed."""
    git.write(a_sh="stashed\n")
    git("stash", "-q")
    dropped = git.commit("dropped", a_sh="dropped\n")
    git("reset", "-q", "--hard", "HEAD~1")

    assert list_versions(git) == {b"one\n", b"two\n"}
    versions = FileVersions(git.top, {"PATH": "/usr/bin:/bin"})
    assert not versions.has_file(dropped, "a.sh")
    assert versions.has_file(git("rev-parse", "HEAD~1"), "a.sh")
    assert not versions.has_file(git("rev-parse", "HEAD"), "gone.sh")


def test_converted_file_is_recognized(git: Git) -> None:
    """The content of such a file differs from what is committed."""
    git.write(_gitattributes="*.bin filter=lfs\n*.txt eol=crlf\n")

    versions = FileVersions(git.top, {"PATH": "/usr/bin:/bin"})
    assert versions.is_converted("a.bin")
    assert versions.is_converted("a.txt")
    assert not versions.is_converted("a.sh")
