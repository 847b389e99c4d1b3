"""What is read of real git repositories, which stay as they were."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.host import git as git_reading
from isosmoke.host.git import Checkout, GitError, Repository
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


def test_a_checkout_is_its_commit_and_whether_files_differ(tmp_path: Path) -> None:
    """Before the first commit there is none; an untracked file makes it dirty."""
    git = Git(tmp_path)
    unborn = git_reading.read_checkout(tmp_path, os.environ)
    commit = git.commit("one", a_txt="1\n")
    clean = git_reading.read_checkout(tmp_path, os.environ)
    git.write(b_txt="2\n")

    assert unborn == Checkout("", dirty=False)
    assert clean == Checkout(commit, dirty=False)
    assert git_reading.read_checkout(tmp_path, os.environ) == Checkout(commit, dirty=True)


def test_outside_a_repository_or_without_git_there_is_no_checkout(tmp_path: Path) -> None:
    """Neither is an error, and the folder itself is its own top."""
    Git(tmp_path / "repository")

    assert git_reading.read_checkout(tmp_path, os.environ) is None
    assert git_reading.read_checkout(tmp_path / "repository", {"PATH": "/nowhere"}) is None
    assert git_reading.find_tops(tmp_path, os.environ) == (tmp_path,)


def test_a_hooks_variables_are_about_another_repository(tmp_path: Path) -> None:
    """Git sets GIT_DIR for hooks, and it would win over the folder."""
    Git(tmp_path / "other")
    commit = Git(tmp_path / "own").commit("one", a_txt="1\n")
    hook = {**os.environ, "GIT_DIR": str(tmp_path / "other/.git")}

    assert git_reading.read_checkout(tmp_path / "own", hook) == Checkout(commit, dirty=False)


def test_the_main_work_tree_comes_before_a_linked_one(tmp_path: Path) -> None:
    """From anywhere within it."""
    git = Git(tmp_path / "main")
    git.commit("one", a_txt="1\n")
    git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    (tmp_path / "linked/within").mkdir()

    tops = git_reading.find_tops(tmp_path / "linked/within", os.environ)

    assert tops == (tmp_path / "main", tmp_path / "linked")


@dataclass(frozen=True, slots=True)
class Trap:
    """A program that leaves a file when it is run, whatever its arguments."""

    program: Path
    trace: Path

    def has_sprung(self) -> bool:
        """Return whether it was run since this was last asked."""
        has_run = self.trace.exists()
        self.trace.unlink(missing_ok=True)
        return has_run


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    """A program that must not be run."""
    trap = Trap(tmp_path / "trap", tmp_path / "trace")
    trap.program.write_text(f"#!/bin/sh\ntouch {trap.trace}\nexit 1\n")
    trap.program.chmod(0o755)
    return trap


def fill(git: Git) -> str:
    """Commit twice, change a file's time, and return the first commit."""
    base = git.commit("base", a_txt="0", _gitattributes="* filter=trap diff=trap\n")
    git.commit("next", a_txt="1")
    os.utime(git.top / "a.txt", (1, 1))
    return base


def read_everything(git: Git) -> None:
    """Read all that isosmoke reads of a repository."""
    repository = Repository(git.top)
    base = repository.revision("HEAD~1").identity
    assert repository.fork().identity == repository.revision("HEAD").identity
    assert repository.texts(base, ["a.txt"]) == {"a.txt": "0"}
    assert [one.subject for one in repository.commits(base, ["a.txt"])] == ["next"]
    checkout = git_reading.read_checkout(git.top, os.environ)
    assert checkout == Checkout(repository.revision("HEAD").identity, dirty=False)
    assert git_reading.find_tops(git.top, os.environ) == (git.top,)


SETTINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "monitor": ("core.fsmonitor=TRAP", ("status",)),
    "clean": ("filter.trap.clean=TRAP", ("status",)),
    "process": ("filter.trap.process=TRAP", ("status",)),
    "external": ("diff.external=TRAP", ("diff", "HEAD~1")),
    "driver": ("diff.trap.command=TRAP", ("diff", "HEAD~1")),
    "textconv": ("diff.trap.textconv=TRAP", ("diff", "HEAD~1")),
    "pager": ("core.pager=TRAP", ("--paginate", "log")),
    "alias": ("alias.status-of=!TRAP", ("status-of",)),
}
"""A setting that names a program, and a git command that runs it."""


def plant(git: Git, trap: Trap, setting: str) -> None:
    """Set it in the repository's own configuration."""
    name, _, value = setting.replace("TRAP", str(trap.program)).partition("=")
    git("config", name, value)


def spring(git: Git, *words: str) -> None:
    """Run git as a user would; the trap may make it fail."""
    subprocess.run(["git", "-C", git.top, *words], capture_output=True, check=False)


@pytest.mark.parametrize("name", SETTINGS)
def test_no_program_of_a_repositorys_configuration_runs(git: Git, trap: Trap, name: str) -> None:
    """What would run it is shown to do so; reading the repository does not."""
    fill(git)
    setting, springs = SETTINGS[name]
    plant(git, trap, setting)
    if name != "pager":  # it needs a terminal
        spring(git, *springs)
        assert trap.has_sprung()

    read_everything(git)

    assert not trap.has_sprung()


def test_no_program_of_an_included_configuration_runs(git: Git, trap: Trap) -> None:
    """A configuration that includes another file, or that of one work tree, counts as well."""
    fill(git)
    for name in ("monitor", "clean"):
        plant(git, trap, SETTINGS[name][0])
    config = git.top / ".git/config"
    (git.top / ".git/included").write_text(config.read_text())
    config.write_text("[core]\n\trepositoryformatversion = 0\n[include]\n\tpath = included\n")
    spring(git, "status")
    assert trap.has_sprung()
    read_everything(git)
    assert not trap.has_sprung()

    (git.top / ".git/config.worktree").write_text((git.top / ".git/included").read_text())
    config.write_text(
        "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tworktreeConfig = true\n"
    )
    spring(git, "status")
    assert trap.has_sprung()
    read_everything(git)
    assert not trap.has_sprung()


def test_no_hook_runs(git: Git, trap: Trap) -> None:
    """Neither one in its usual place, nor one where the configuration says."""
    fill(git)
    hooks = git.top / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "post-index-change").symlink_to(trap.program)
    spring(git, "update-index", "--refresh")
    assert trap.has_sprung()
    git("config", "core.hooksPath", str(hooks))
    os.utime(git.top / "a.txt", (2, 2))

    read_everything(git)
    assert git_reading.run(git.top, "update-index", "--refresh") == b""

    assert not trap.has_sprung()


def test_a_filter_of_the_users_own_counts(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the repository configures is off: large files of a user's git-lfs stay clean."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / ".gitconfig").write_text('[filter "trap"]\n\tclean = tr a-z A-Z\n')
    git.commit("base", a_txt="TEXT", _gitattributes="*.txt filter=trap\n")
    (git.top / "a.txt").write_text("text")

    checkout = git_reading.read_checkout(git.top, os.environ)

    assert checkout is not None
    assert not checkout.dirty


def test_no_program_of_a_submodules_configuration_runs(
    git: Git, trap: Trap, tmp_path: Path
) -> None:
    """What changed in a submodule is seen, by the same rules."""
    fill(inner := Git(tmp_path / "inner"))
    allowed = ("-c", "protocol.file.allow=always")
    git(*allowed, "submodule", "add", "--quiet", str(inner.top), "sub")
    git.commit("base")
    sub = git.top / "sub"
    plant(Git(sub), trap, SETTINGS["clean"][0])
    os.utime(sub / "a.txt", (1, 1))
    spring(git, "status")
    assert trap.has_sprung()
    os.utime(sub / "a.txt", (2, 2))

    clean = git_reading.read_checkout(git.top, os.environ)
    (sub / "new").touch()
    changed = git_reading.read_checkout(git.top, os.environ)

    assert not trap.has_sprung()
    assert (clean and clean.dirty, changed and changed.dirty) == (False, True)


def test_a_replaced_history_is_not_believed(git: Git) -> None:
    """Neither `git replace` nor a file of grafts changes what a revision holds or comes from."""
    base = fill(git)
    head = git("rev-parse", "HEAD")
    git("checkout", "-q", "--orphan", "other")
    other = git.commit("other", a_txt="forged")
    git("checkout", "-q", "main")
    git("replace", base, other)
    git("replace", f"{base}:a.txt", f"{other}:a.txt")
    assert git("show", f"{base}:a.txt") == "forged"
    (git.top / ".git/info").mkdir(exist_ok=True)
    (git.top / ".git/info/grafts").write_text(f"{head} {other}\n")
    os.utime(git.top / "a.txt", (1, 1))

    read_everything(git)


def test_a_partial_clone_fetches_nothing(git: Git, trap: Trap, tmp_path: Path) -> None:
    """A file that is not here yet is an error with a hint, never absent, and no program runs."""
    base = fill(git)
    git("config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    source = f"file://{git.top}"
    git("clone", "-q", "--no-checkout", "--filter=blob:none", source, str(clone))
    partial = Git(clone)
    plant(partial, trap, "remote.origin.uploadpack=TRAP")
    plant(partial, trap, "protocol.file.allow=always")
    spring(partial, "cat-file", "-p", f"{base}:a.txt")
    assert trap.has_sprung()

    with pytest.raises(GitError, match="promisor") as raised:
        Repository(clone).texts(base, ["a.txt"])

    assert "fetch --refetch" in raised.value.hint
    assert not trap.has_sprung()


def test_a_file_that_is_lost_is_not_absent(git: Git) -> None:
    """An object that the repository has lost is an error, for the revision does have the file."""
    base = fill(git)
    blob = git("rev-parse", f"{base}:a.txt")
    (git.top / ".git/objects" / blob[:2] / blob[2:]).unlink()

    with pytest.raises(GitError, match=f"object {blob} is missing"):
        Repository(git.top).texts(base, ["a.txt"])


def test_a_repository_of_another_user_is_refused(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git does not trust it, so nothing is read, and the hint says how to trust it."""
    if os.getuid() != 0:
        pytest.skip("only root can give a repository to another user")
    fill(git)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_UID", raising=False)
    for one in (git.top, git.top / ".git"):
        os.chown(one, 65534, 65534)

    for read in (git_reading.read_checkout, git_reading.find_tops):
        with pytest.raises(GitError, match=f"failed in {git.top}: .*dubious ownership") as raised:
            read(git.top, os.environ)
        assert raised.value.hint.endswith(f"safe.directory {git.top}")


def test_a_directory_that_looks_like_a_repository_is_none(git: Git, trap: Trap) -> None:
    """What a work tree holds of bare repositories, or of empty `.git`, is no other repository."""
    commit = fill(git) and git("rev-parse", "HEAD")
    bare = git.top / "bare"
    git("init", "-q", "--bare", str(bare))
    git("config", "--file", str(bare / "config"), "core.fsmonitor", str(trap.program))
    (git.top / "empty/.git").mkdir(parents=True)

    assert git_reading.read_checkout(bare, os.environ) == Checkout(commit, dirty=True)
    assert git_reading.read_checkout(git.top / "empty", os.environ) is None
    assert not trap.has_sprung()


def test_git_that_does_not_end_is_ended(git: Git, tmp_path: Path) -> None:
    """A command that waits for ever is an error that says how long it was waited for."""
    fill(git)
    os.mkfifo(tmp_path / "never")

    with pytest.raises(GitError, match=r"git hash-object failed in .*: .* within 0\.2 s"):
        git_reading.run(git.top, "hash-object", str(tmp_path / "never"), seconds=0.2)


def test_no_variable_of_the_caller_counts(
    git: Git, trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GIT_* variable is passed on, whether it names a repository, a setting or a program."""
    fill(git)
    fill(other := Git(tmp_path / "other"))
    for name, value in {
        "GIT_DIR": str(other.top / ".git"),
        "GIT_WORK_TREE": str(other.top),
        "GIT_INDEX_FILE": str(tmp_path / "none"),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "none"),
        "GIT_EXTERNAL_DIFF": str(trap.program),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": str(trap.program),
        "GIT_TRACE": str(trap.trace),
        "LC_ALL": "de_DE.UTF-8",
        "LANGUAGE": "de",
    }.items():
        monkeypatch.setenv(name, value)

    repository = Repository(git.top)

    assert repository.texts("HEAD", ["a.txt"]) == {"a.txt": "1"}
    assert git_reading.read_checkout(git.top, os.environ) is not None
    assert not trap.has_sprung()
