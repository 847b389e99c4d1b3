"""The reading of real git repositories, which it does not change."""

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.host import git as git_reading
from isosmoke.host.git import Checkout, GitError, RepositoryState
from isosmoke.host.repository import bases, enclosing_repository, snapshots
from isosmoke.host.repository.file_versions import FileVersions
from isosmoke.host.repository.revisions import Repository
from support.git_repositories import Git


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Return a repository without a commit."""
    return Git(tmp_path / "project")


def read_texts(git: Git, revision: str, paths: Iterable[str]) -> Mapping[str, str]:
    """Return the texts of those paths that are files of a revision."""
    snapshot = snapshots.read_commit(git.top, revision, {})
    contents = snapshot.read(paths)
    return {path: content.decode(errors="replace") for path, content in contents.items()}


@pytest.mark.parametrize("name", ["nope", "", "-x", "--all", "HEAD:manifest.toml", "HEAD~9"])
def test_unknown_revision_is_an_error(git: Git, name: str) -> None:
    """A name that is not a commit is refused, even if it looks like an option."""
    git.commit("base", manifest_toml="x")

    with pytest.raises(UsageError, match="knows no revision"):
        Repository(git.top).revision(name)


def test_revision_of_a_tag_is_its_commit(git: Git) -> None:
    """An annotated tag is resolved to its commit."""
    base = git.commit("base")
    git("tag", "-a", "-m", "tagged", "v1")

    assert Repository(git.top).revision("v1").identity == base


def test_broken_repository_is_an_error_of_git(tmp_path: Path) -> None:
    """A broken repository is an error with git's message, not an unknown revision."""
    (tmp_path / ".git").write_text("gitdir: nowhere\n")

    with pytest.raises(IsosmokeError, match="nowhere"):
        Repository(tmp_path).revision("HEAD")


def test_missing_git_is_an_error(git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing git is an error, not an empty result."""
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(IsosmokeError, match="cannot run git"):
        Repository(git.top).revision("HEAD")


def test_hook_of_another_repository_has_no_effect(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory determines the repository, and a hook's variables do not."""
    base = git.commit("base")
    other = Git(tmp_path / "other")
    other.commit("other")
    monkeypatch.setenv("GIT_DIR", str(other.top / ".git"))

    assert Repository(git.top).revision("HEAD").identity == base


def test_answers_of_a_repository_agree(git: Git) -> None:
    """A commit, a branch and a tag that appear later are seen only by a new repository."""
    base = git.commit("base")
    repository = Repository(git.top)
    assert (repository.find_commit("HEAD"), repository.find_commit("later")) == (base, "")
    assert repository.list_ancestors(["a.txt"]) == ()

    commit = git.commit("next", a_txt="1")
    git("tag", "later")

    assert (repository.find_commit("HEAD"), repository.find_commit("later")) == (base, "")
    assert repository.list_ancestors(["a.txt"]) == ()
    assert Repository(git.top).find_commit("HEAD") == commit
    assert Repository(git.top).find_commit("later") == commit
    assert Repository(git.top).list_ancestors(["a.txt"]) == (commit,)


def test_texts_are_those_of_the_revision(git: Git) -> None:
    """Each file has its text of that revision; other paths are left out."""
    (git.top / "directory").mkdir()
    (git.top / "directory/a file missing").write_text("spaces\n")
    (git.top / "latin").write_bytes(b"\xefbc")
    base = git.commit("base", a_txt="one\ntwo", empty_txt="")
    git.commit("later", a_txt="three", b_txt="new")
    spaced = "directory/a file missing"
    paths = ["a.txt", "b.txt", "directory", spaced, "empty.txt", "latin"]
    outside = ["/etc/passwd", "../x", "new\nline"]

    assert read_texts(git, base, [*outside, *paths]) == {
        "a.txt": "one\ntwo",
        spaced: "spaces\n",
        "empty.txt": "",
        "latin": "�bc",
    }


def test_commits_are_those_that_change_the_files(git: Git) -> None:
    """Commits are returned newest first, each with its parents among them, and its subject."""
    base = git.commit("base", a_txt="0")
    first = git.commit("first", a_txt="1")
    git.commit("another", b_txt="1")
    second = git.commit('second "quoted"', a_txt="2")

    commits = Repository(git.top).commits(base, ["a.txt", "../outside"])

    assert [(commit.identity, commit.parents) for commit in commits] == [
        (second, (first,)),
        (first, (base,)),
    ]
    assert str(commits[0]) == f'commit {second[:7]} "second "quoted""'


def test_paths_are_not_patterns(git: Git) -> None:
    """A star in a path is taken literally."""
    base = git.commit("base", a_txt="0")
    git.commit("other", b_txt="1")

    assert Repository(git.top).commits(base, ["*.txt"]) == ()


def test_commits_that_do_not_descend_from_the_base_are_ignored(git: Git) -> None:
    """A branch that forked before the base never had the contents of the base."""
    git.commit("root", a_txt="0")
    git("checkout", "-q", "-b", "feature")
    git.commit("early", b_txt="1")
    git("checkout", "-q", "main")
    base = git.commit("base", a_txt="1")
    git("checkout", "-q", "feature")
    git("merge", "-q", "--no-edit", "main")
    late = git.commit("late", a_txt="2")

    commits = Repository(git.top).commits(base, ["a.txt", "b.txt"])
    subjects = [commit.subject for commit in commits]

    assert subjects == ["late", "Merge branch 'main' into feature"]
    assert late


_READS: dict[str, Callable[[Repository], object]] = {
    "bases": lambda repository: bases.find_bases(repository, {}, ("refs/heads/main",)),
    "commit": lambda repository: snapshots.read_commit(repository.top, "HEAD", {}),
    "index": lambda repository: snapshots.read_index(repository.top, {}, {}),
    "tracking": lambda repository: enclosing_repository.read_tracking(repository.top / "a.txt", {}),
    "trailers": lambda repository: repository.find_trailers("Isosmoke-Reviewed"),
    "ancestors": lambda repository: repository.list_ancestors(["a.txt"]),
    "merges": lambda repository: repository.list_merges("HEAD", ["a.txt"], "**/a.txt"),
    "versions": lambda repository: FileVersions(repository.top, {}).list_all("a.txt"),
    "filters": lambda repository: FileVersions(repository.top, {}).is_converted("a.txt"),
    "former": lambda repository: repository.list_former_files("**/a.txt", "HEAD"),
    "commits": lambda repository: repository.commits("HEAD~1", ["a.txt"]),
}


@pytest.mark.parametrize("read", _READS.values(), ids=_READS)
def test_reading_changes_no_file(git: Git, read: Callable[[Repository], object]) -> None:
    """No file of the repository is added, removed or changed."""
    git.commit("base", a_txt="0")
    git.commit("next", a_txt="1")
    before = {path: path.stat().st_mtime_ns for path in git.top.rglob("*")}

    read(Repository(git.top))

    assert {path: path.stat().st_mtime_ns for path in git.top.rglob("*")} == before


def test_checkout_has_its_commit_and_is_dirty_if_files_differ(tmp_path: Path) -> None:
    """Before the first commit, the commit is empty; an untracked file makes it dirty."""
    git = Git(tmp_path)
    unborn = git_reading.read_checkout(tmp_path, os.environ)
    commit = git.commit("one", a_txt="1\n")
    clean = git_reading.read_checkout(tmp_path, os.environ)
    git.write(b_txt="2\n")

    assert unborn == Checkout("", dirty=False)
    assert clean == Checkout(commit, dirty=False)
    assert git_reading.read_checkout(tmp_path, os.environ) == Checkout(commit, dirty=True)


def test_state_is_read_in_three_calls(git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run reads the state each time, so commit, branch, changes and filters are asked at once."""
    commit = git.commit("one", a_txt="1\n")
    started = []

    class Counted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            started.append(arguments)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    state = git_reading.read_state(git.top, os.environ)

    assert state == RepositoryState(commit, "main", dirty=False)
    assert len(started) == 3


def test_file_whose_changes_git_does_not_see_is_dirty(git: Git) -> None:
    """A pinned file may differ from the commit, although git reports no change."""
    git.commit("base", a_txt="1")
    git("update-index", "--skip-worktree", "a.txt")

    state = git_reading.read_state(git.top, os.environ)

    assert state is not None
    assert state.dirty


@pytest.mark.parametrize("name", ["# x", f"# branch.oid {'1' * 40}"])
def test_former_name_of_a_file_is_no_header(git: Git, name: str) -> None:
    """The name that a file had is neither the commit nor an error, whatever it is."""
    (git.top / name).write_text("some text\n")
    base = git.commit("base")
    git("mv", name, "renamed")

    state = git_reading.read_state(git.top, os.environ)
    assert state is not None
    assert (state.commit, state.dirty) == (base, True)


def test_renamed_file_is_dirty(git: Git) -> None:
    """A rename has two paths in the output of git, the second of which may look like a header."""
    git.commit("base", a_txt="content\n" * 9)
    git("mv", "a.txt", "# branch.head other")

    state = git_reading.read_state(git.top, os.environ)

    assert state is not None
    assert (state.branch, state.dirty) == ("main", True)


def digest(git: Git, most: int = 1000) -> str:
    """Return the digest of a work tree."""
    return git_reading.digest_work_tree(git.top, os.environ, most)


def test_digest_of_a_work_tree_is_of_all_that_is_not_ignored(git: Git) -> None:
    """A commit, a change, a new file, a link and a removal change it; an ignored file does not."""
    git.commit("base", a_txt="1", _gitignore="*.log\n")
    states = [digest(git)]
    git.write(b_log="x")
    assert digest(git) == states[0]
    git.write(a_txt="2")
    states.append(digest(git))
    git.write(a_txt="3")
    states.append(digest(git))
    git.write(c_txt="new")
    states.append(digest(git))
    (git.top / "link").symlink_to("there")
    states.append(digest(git))
    (git.top / "link").unlink()
    (git.top / "link").symlink_to("elsewhere")
    states.append(digest(git))
    git.write(a_txt=None)
    states.append(digest(git))
    git.commit("next")
    states.append(digest(git))

    assert len(set(states)) == len(states)
    assert all(states)


def test_digest_of_an_unknown_work_tree_is_empty(git: Git) -> None:
    """Too many changed bytes, pinned files and submodules leave the state unknown."""
    git.commit("base", a_txt="1")
    git.write(a_txt="x" * 100)
    assert digest(git, most=100) != ""
    assert digest(git, most=99) == ""
    git("update-index", "--assume-unchanged", "a.txt")
    assert digest(git) == ""
    git("update-index", "--no-assume-unchanged", "a.txt")
    head = git("rev-parse", "HEAD")
    git("update-index", "--add", "--cacheinfo", f"160000,{head},module")
    assert digest(git) == ""


def test_checkout_outside_a_repository_or_without_git_is_none(tmp_path: Path) -> None:
    """Neither case is an error; outside a repository, the directory is its own top."""
    Git(tmp_path / "repository")

    assert git_reading.read_checkout(tmp_path, os.environ) is None
    assert git_reading.read_checkout(tmp_path / "repository", {"PATH": "/nowhere"}) is None
    assert git_reading.find_tops(tmp_path, os.environ) == (tmp_path,)


def test_relation_of_a_file_without_git_is_an_error(tmp_path: Path) -> None:
    """Nothing is claimed about a file that only git knows about."""
    git = Git(tmp_path)
    git.commit("one", a_txt="1\n")

    with pytest.raises(IsosmokeError, match="git not found"):
        enclosing_repository.read_tracking(tmp_path / "a.txt", {"PATH": "/nowhere"})


def test_variables_of_a_hook_are_ignored(tmp_path: Path) -> None:
    """Git sets GIT_DIR for hooks, which would take precedence over the directory."""
    Git(tmp_path / "other")
    commit = Git(tmp_path / "own").commit("one", a_txt="1\n")
    hook = {**os.environ, "GIT_DIR": str(tmp_path / "other/.git")}

    assert git_reading.read_checkout(tmp_path / "own", hook) == Checkout(commit, dirty=False)


def test_main_work_tree_comes_before_a_linked_one(tmp_path: Path) -> None:
    """In a subdirectory of a linked work tree, both work trees are found."""
    git = Git(tmp_path / "main")
    git.commit("one", a_txt="1\n")
    git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    (tmp_path / "linked/within").mkdir()

    tops = git_reading.find_tops(tmp_path / "linked/within", os.environ)

    assert tops == (tmp_path / "main", tmp_path / "linked")


@dataclass(frozen=True, slots=True)
class Trap:
    """A program that creates a file when it is run, whatever its arguments."""

    program: Path
    trace: Path

    def has_sprung(self) -> bool:
        """Return whether it was run since the last call."""
        has_run = self.trace.exists()
        self.trace.unlink(missing_ok=True)
        return has_run


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    """Return a program that must not be run."""
    trap = Trap(tmp_path / "trap", tmp_path / "trace")
    trap.program.write_text(f"#!/bin/sh\ntouch {trap.trace}\nexit 1\n")
    trap.program.chmod(0o755)
    return trap


def fill(git: Git) -> str:
    """Commit twice, change a file's modification time, and return the first commit."""
    base = git.commit("base", a_txt="0", _gitattributes="* filter=trap diff=trap\n")
    git.commit("next", a_txt="1")
    os.utime(git.top / "a.txt", (1, 1))
    return base


def read_everything(git: Git) -> None:
    """Read everything that isosmoke reads from a repository."""
    repository = Repository(git.top)
    base = repository.revision("HEAD~1").identity
    assert bases.find_bases(repository, os.environ, ("refs/heads/main",)).is_main
    assert read_texts(git, base, ["a.txt"]) == {"a.txt": "0"}
    assert snapshots.read_index(git.top, os.environ, {}).read(["a.txt"]) == {"a.txt": b"1"}
    assert enclosing_repository.read_tracking(git.top / "a.txt", os.environ) == "tracked"
    assert repository.find_trailers("Isosmoke-Reviewed") == ()
    assert repository.list_ancestors(["a.txt"])[-1] == base
    assert [commit.subject for commit in repository.commits(base, ["a.txt"])] == ["next"]
    assert repository.list_merges("HEAD", ["a.txt"], "**/a.txt") == ()
    versions = FileVersions(git.top, os.environ)
    assert {*versions.list_all("a.txt")} >= {b"0", b"1"}
    assert versions.is_converted("a.txt")
    assert versions.has_file(base, "a.txt")
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
"""Settings that name a program, each with a git command that runs it."""


def plant(git: Git, trap: Trap, setting: str) -> None:
    """Add a setting to the repository's own configuration."""
    name, _, value = setting.replace("TRAP", str(trap.program)).partition("=")
    git("config", name, value)


def spring(git: Git, *arguments: str) -> None:
    """Run git as a user would; the trap may make it fail."""
    subprocess.run(["git", "-C", git.top, *arguments], capture_output=True, check=False)


@pytest.mark.parametrize("name", SETTINGS)
def test_no_program_of_a_repositorys_configuration_runs(git: Git, trap: Trap, name: str) -> None:
    """The git command of each setting runs the program; reading the repository does not."""
    fill(git)
    setting, command = SETTINGS[name]
    plant(git, trap, setting)
    if name != "pager":  # it needs a terminal
        spring(git, *command)
        assert trap.has_sprung()

    read_everything(git)

    assert not trap.has_sprung()


def test_no_program_of_an_included_configuration_runs(git: Git, trap: Trap) -> None:
    """The same holds for an included file, and for the configuration of a work tree."""
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
    """No hook runs from the default directory or from a configured one."""
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


def test_filter_of_the_user_is_used(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only filters of the repository are disabled, so files of the user's git-lfs stay clean."""
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
    """A change in a submodule is detected without running its programs."""
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


def test_replaced_history_is_ignored(git: Git) -> None:
    """Neither `git replace` nor a grafts file changes a revision's files or parents."""
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


def test_partial_clone_fetches_nothing(git: Git, trap: Trap, tmp_path: Path) -> None:
    """A file that has not been fetched is an error with a hint, and no program runs."""
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
        read_texts(partial, base, ["a.txt"])

    assert "fetch --refetch" in raised.value.hint
    assert not trap.has_sprung()


def test_missing_object_is_an_error(git: Git) -> None:
    """A lost object is an error, because the revision has the file."""
    base = fill(git)
    blob = git("rev-parse", f"{base}:a.txt")
    (git.top / ".git/objects" / blob[:2] / blob[2:]).unlink()

    with pytest.raises(GitError, match=f"object {blob} is missing"):
        read_texts(git, base, ["a.txt"])


def test_repository_of_another_user_is_refused(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git does not trust the repository, and the hint says how to trust it."""
    if os.getuid() != 0:
        pytest.skip("only root can give a repository to another user")
    fill(git)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_UID", raising=False)
    for path in (git.top, git.top / ".git"):
        os.chown(path, 65534, 65534)

    for read in (git_reading.read_checkout, git_reading.find_tops):
        with pytest.raises(GitError, match=f"failed in {git.top}: .*dubious ownership") as raised:
            read(git.top, os.environ)
        assert raised.value.hint.endswith(f"safe.directory {git.top}")
        assert len(raised.value.message.splitlines()) == 1


def test_directory_that_looks_like_a_repository_is_ignored(git: Git, trap: Trap) -> None:
    """A bare repository or an empty `.git` in a work tree is not a separate repository."""
    commit = fill(git) and git("rev-parse", "HEAD")
    bare = git.top / "bare"
    git("init", "-q", "--bare", str(bare))
    git("config", "--file", str(bare / "config"), "core.fsmonitor", str(trap.program))
    (git.top / "empty/.git").mkdir(parents=True)

    assert git_reading.read_checkout(bare, os.environ) == Checkout(commit, dirty=True)
    assert git_reading.read_checkout(git.top / "empty", os.environ) is None
    assert not trap.has_sprung()


def test_git_that_does_not_end_is_killed(git: Git, tmp_path: Path) -> None:
    """The error of a command that never ends names the time limit."""
    fill(git)
    os.mkfifo(tmp_path / "never")

    with pytest.raises(GitError, match=r"git hash-object failed in .*: .* within 0\.2 s"):
        git_reading.run(git.top, "hash-object", str(tmp_path / "never"), seconds=0.2)


def test_git_variables_of_the_caller_are_ignored(
    git: Git, trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GIT_* variable is passed on, be it for a repository, a setting or a program."""
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

    assert read_texts(git, "HEAD", ["a.txt"]) == {"a.txt": "1"}
    assert git_reading.read_checkout(git.top, os.environ) is not None
    assert not trap.has_sprung()
