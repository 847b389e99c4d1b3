"""What is read of real git repositories, which stay as they were."""

from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.host.revision import Repository
from support.git_repositories import Git


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A repository without a commit."""
    return Git(tmp_path / "project")


def test_a_branch_forks_from_main(git: Git) -> None:
    """The base is the last commit that the branch has in common with main."""
    base = git.commit("base")
    git("checkout", "-q", "-b", "feature")
    git.commit("mine")
    git("checkout", "-q", "main")
    git.commit("theirs")
    git("checkout", "-q", "feature")

    fork = Repository(git.top).fork()

    assert (fork.identity, fork.words) == (base, "the merge base with main")


def test_the_main_branch_of_origin_counts_first(git: Git, tmp_path: Path) -> None:
    """A clone is compared with what it was cloned from, even where its own main went on."""
    base = git.commit("base")
    git("clone", "-q", str(git.top), str(tmp_path / "clone"))
    clone = Git(tmp_path / "clone")
    clone.commit("mine")

    fork = Repository(clone.top).fork()

    assert (fork.identity, fork.words) == (base, "the merge base with origin/HEAD")


def test_a_clone_of_ci_has_a_main_branch(git: Git, tmp_path: Path) -> None:
    """A detached HEAD and one remote branch, all that a CI service makes, are enough."""
    base = git.commit("base")
    git("clone", "-q", str(git.top), str(tmp_path / "clone"))
    clone = Git(tmp_path / "clone")
    clone("checkout", "-q", "--detach")
    clone("branch", "-q", "-D", "main")
    clone("remote", "set-head", "origin", "--delete")

    assert Repository(clone.top).fork().identity == base


def test_main_or_else_master(git: Git) -> None:
    """An old repository has its main branch too."""
    base = git.commit("base")
    git("branch", "-m", "main", "master")

    assert Repository(git.top).fork().identity == base


def test_before_the_first_commit_there_is_an_empty_tree(git: Git) -> None:
    """A repository without a commit has a base, in which there is nothing."""
    repository = Repository(git.top)

    assert repository.texts(repository.fork().identity, ["manifest.toml"]) == {}


def test_no_main_branch_is_an_error(git: Git) -> None:
    """Nothing is guessed where no branch is the main one."""
    git.commit("base")
    git("branch", "-m", "main", "trunk")

    with pytest.raises(UsageError, match="no main branch") as raised:
        Repository(git.top).fork()

    assert "--against REV" in raised.value.hint


def test_a_history_cut_off_is_an_error(git: Git) -> None:
    """Where HEAD and main have no commit in common, the hint says how to get more history."""
    git.commit("base")
    git("checkout", "-q", "--orphan", "other")
    git.commit("other")

    with pytest.raises(UsageError, match="no commit in common") as raised:
        Repository(git.top).fork()

    assert "--unshallow" in raised.value.hint


@pytest.mark.parametrize("name", ["nope", "", "-x", "--all", "HEAD:manifest.toml", "HEAD~9"])
def test_an_unknown_revision_is_an_error(git: Git, name: str) -> None:
    """A name that is no commit is refused, also one that looks like an option."""
    git.commit("base", manifest_toml="x")

    with pytest.raises(UsageError, match="knows no revision"):
        Repository(git.top).revision(name)


def test_a_revision_is_the_commit_of_its_name(git: Git) -> None:
    """An annotated tag stands for the commit that it is about."""
    base = git.commit("base")
    git("tag", "-a", "-m", "tagged", "v1")

    assert Repository(git.top).revision("v1").identity == base


def test_what_git_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    """A broken repository is an error that names it, never an unknown revision."""
    (tmp_path / ".git").write_text("gitdir: nowhere\n")

    with pytest.raises(IsosmokeError, match="nowhere"):
        Repository(tmp_path).revision("HEAD")


def test_no_git_is_an_error(git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program, nothing passes."""
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(IsosmokeError, match="cannot run git"):
        Repository(git.top).fork()


def test_a_hook_of_another_repository_does_not_mislead(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder says which repository is meant, not the variables of a hook."""
    base = git.commit("base")
    other = Git(tmp_path / "other")
    other.commit("other")
    monkeypatch.setenv("GIT_DIR", str(other.top / ".git"))

    assert Repository(git.top).revision("HEAD").identity == base


def test_texts_are_those_of_the_revision(git: Git) -> None:
    """Each file has its text of then, whatever its name, bytes and length; the rest is absent."""
    (git.top / "folder").mkdir()
    (git.top / "folder/a file missing").write_text("spaces\n")
    (git.top / "latin").write_bytes(b"\xefbc")
    (git.top / "bom").write_bytes(b"\xef\xbb\xbfbom")
    base = git.commit("base", a_txt="one\ntwo", empty_txt="")
    git.commit("later", a_txt="three", b_txt="new")
    asked = ["a.txt", "b.txt", "folder", "folder/a file missing", "empty.txt", "latin", "bom"]
    outside = ["/etc/passwd", "../x", "new\nline"]

    assert Repository(git.top).texts(base, [*outside, *asked]) == {
        "a.txt": "one\ntwo",
        "folder/a file missing": "spaces\n",
        "empty.txt": "",
        "latin": "�bc",
        "bom": "bom",
    }


def test_commits_are_those_that_change_the_files(git: Git) -> None:
    """The newest first, each with its parent among them, its short name and its subject."""
    base = git.commit("base", a_txt="0")
    first = git.commit("first", a_txt="1")
    git.commit("another", b_txt="1")
    second = git.commit('second "quoted"', a_txt="2")

    commits = Repository(git.top).commits(base, ["a.txt", "../outside"])

    assert [(one.identity, one.parents) for one in commits] == [
        (second, (first,)),
        (first, (base,)),
    ]
    assert str(commits[0]) == f'commit {second[:7]} "second "quoted""'


def test_a_name_with_a_star_is_a_name(git: Git) -> None:
    """Paths are no patterns."""
    base = git.commit("base", a_txt="0")
    git.commit("other", b_txt="1")

    assert Repository(git.top).commits(base, ["*.txt"]) == ()


def test_commits_from_before_the_base_do_not_count(git: Git) -> None:
    """A branch that began before the base never had what the base has."""
    git.commit("root", a_txt="0")
    git("checkout", "-q", "-b", "feature")
    git.commit("early", b_txt="1")
    git("checkout", "-q", "main")
    base = git.commit("base", a_txt="1")
    git("checkout", "-q", "feature")
    git("merge", "-q", "--no-edit", "main")
    late = git.commit("late", a_txt="2")

    subjects = [one.subject for one in Repository(git.top).commits(base, ["a.txt", "b.txt"])]

    assert subjects == ["late", "Merge branch 'main' into feature"]
    assert late


_READS: dict[str, Callable[[Repository], object]] = {
    "fork": lambda repository: repository.fork(),
    "texts": lambda repository: repository.texts("HEAD", ["a.txt"]),
    "commits": lambda repository: repository.commits("HEAD~1", ["a.txt"]),
}


@pytest.mark.parametrize("read", _READS.values(), ids=_READS)
def test_reading_leaves_no_trace(git: Git, read: Callable[[Repository], object]) -> None:
    """No file of the repository is added, removed or changed."""
    git.commit("base", a_txt="0")
    git.commit("next", a_txt="1")
    before = {path: path.stat().st_mtime_ns for path in git.top.rglob("*")}

    read(Repository(git.top))

    assert {path: path.stat().st_mtime_ns for path in git.top.rglob("*")} == before
