"""Git, run in one way only, and what it knows: checkouts, revisions, texts and commits.

The configuration of a repository is its writer's, and reading must not run any program of that
writer's, wait for a prompt, change a file, or be told another history. See git-config(1) and
git(1), "ENVIRONMENT VARIABLES".
"""

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.host import system_programs
from isosmoke.host.workspace_directories import git_top

_SECONDS = 60.0
"""How long git may take."""

_SETTINGS = (
    "core.fsmonitor=false",  # or a program
    "core.hooksPath=/dev/null",
    "credential.helper=",
    "log.follow=false",  # it would follow a file beyond its name
    "log.showSignature=false",  # or gpg.program is run
    "safe.bareRepository=explicit",  # a directory of the work tree may look like a repository
)
"""What counts in place of the repository's own configuration."""

_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_ALLOW_PROTOCOL": "",  # a partial clone would fetch what it lacks, by any program
    "GIT_ASKPASS": "",
    "GIT_GRAFT_FILE": f"{os.devnull}/none",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_TERMINAL_PROMPT": "0",
}

_NOTHING: Mapping[str, str] = MappingProxyType({})

_MAIN = (
    "refs/remotes/origin/HEAD",
    "refs/heads/main",
    "refs/heads/master",
    # A clone made by a CI service often has nothing but these.
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
)


class GitError(IsosmokeError):
    """Git ended with an error, for the reason in `stderr` if it gave one."""

    def __init__(self, arguments: Iterable[str], top: Path, stderr: str) -> None:
        command = next(iter(arguments))
        super().__init__(f"git {command} failed in {top}: {stderr}", _hint(top, stderr))
        self.stderr = stderr


def _hint(top: Path, stderr: str) -> str:
    if "dubious ownership" in stderr:
        return f"if you trust its owner: git config --global --add safe.directory {top}"
    if "promisor" in stderr:
        return f"fetch the objects that this partial clone lacks: git -C {top} fetch --refetch"
    return f"git -C {top} status"


def find_program(top: Path, environment: Mapping[str, str]) -> Path | None:
    """Return the git that is used for the repository `top`, never one from inside it, or None."""
    path = environment.get("PATH", os.defpath)
    return system_programs.find_for(path, "git", apart=[top])


def run(
    top: Path,
    *arguments: str,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    variables: Mapping[str, str] = _NOTHING,
    settings: Iterable[str] = (),
    seconds: float = _SECONDS,
) -> bytes:
    """Run a git command in the top directory of a work tree, and return what it prints.

    No GIT_* variable of `environment`, by default this process's, is passed on: a hook sets some,
    which name its own repository. `variables` and `settings` (`name=value`) count in addition.

    Raises:
        GitError: if git ends with an error, or does not end within `seconds`.
        IsosmokeError: if there is no git, or it cannot be started.
    """
    inherited = os.environ if environment is None else environment
    program = find_program(top, inherited)
    if program is None:
        raise IsosmokeError(f"cannot run git in {top}: there is no git", "install git")
    options = [word for setting in (*_SETTINGS, *settings) for word in ("-c", setting)]
    fixed = ("--no-pager", "--no-optional-locks", "--literal-pathspecs")
    command = [str(program), *fixed, *options, *arguments]
    plain = {name: value for name, value in inherited.items() if not name.startswith("GIT_")}
    above = {"GIT_CEILING_DIRECTORIES": str(top.absolute().parent)}
    try:
        process = _start(command, top, {**plain, **_ENVIRONMENT, **above, **variables})
        output, stderr = _outputs(process, stdin, seconds)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise IsosmokeError(f"cannot run git in {top}: {reason}", f"ls -la {program}") from error
    except subprocess.TimeoutExpired as error:
        raise GitError(arguments, top, f"it did not end within {seconds:g} s") from error
    if process.returncode:
        raise GitError(arguments, top, stderr.decode(errors="replace").strip())
    return output


def _start(
    command: list[str], top: Path, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start git as the leader of a process group, so that what it starts can be ended with it."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=top, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, process_group=0
    )


def _outputs(
    process: "subprocess.Popen[bytes]", stdin: bytes, seconds: float
) -> tuple[bytes, bytes]:
    """Return stdout and stderr; end the process group if that fails or takes too long."""
    with process:
        try:
            return process.communicate(stdin, timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


@dataclass(frozen=True, slots=True)
class Checkout:
    """The commit of a work tree, empty before the first one; `dirty` where files differ."""

    commit: str
    dirty: bool


def read_checkout(folder: Path, environment: Mapping[str, str]) -> Checkout | None:
    """Return the state of the work tree around `folder`; None if there is none, or no git.

    Raises:
        GitError: if git refuses to tell.
    """
    top = git_top(folder)
    if top is None or find_program(top, environment) is None:
        return None
    try:
        return Checkout(read_head(top, environment), _is_dirty(top, environment))
    except GitError as error:
        if _is_no_repository(error):
            return None
        raise


def find_tops(folder: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the main work tree and the one around `folder`; `folder` itself outside of any.

    Agents work in linked work trees, which are removed once their task is done.

    Raises:
        GitError: if git refuses to tell.
    """
    own = git_top(folder)
    if own is None or find_program(own, environment) is None:
        return ((own or folder).resolve(),)
    try:
        found = run(own, "rev-parse", "--git-common-dir", environment=environment)
        common = own / os.fsdecode(found.rstrip(b"\n"))
    except GitError as error:
        if not _is_no_repository(error):
            raise
        common = own
    main = common.parent if common.name == ".git" else own
    return tuple(dict.fromkeys((main.resolve(), own.resolve())))


def _is_no_repository(error: GitError) -> bool:
    """Return whether what is called `.git` is none, for git's messages are not translated here."""
    return error.stderr.startswith("fatal: not a git repository")


def read_head(top: Path, environment: Mapping[str, str]) -> str:
    """Return the commit that is checked out; empty before the first one."""
    verify = ("rev-parse", "--quiet", "--verify", "HEAD")
    try:
        return _line(run(top, *verify, environment=environment))
    except GitError as error:
        if error.stderr:
            raise
        return ""


def _is_dirty(top: Path, environment: Mapping[str, str]) -> bool:
    """Return whether the files differ from the commit, those of checked out submodules included.

    Git would look at a submodule with all programs that the submodule's own configuration names.
    """
    status = ("status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=dirty")
    settings = tuple(_without_filters(top, environment))
    if run(top, *status, environment=environment, settings=settings):
        return True
    entries = run(top, "ls-files", "--stage", "-z", environment=environment).split(b"\0")
    paths = (os.fsdecode(one.partition(b"\t")[2]) for one in entries if one.startswith(b"160000"))
    submodules = (top / path for path in paths)
    return any(_is_dirty(one, environment) for one in submodules if (one / ".git").exists())


def _without_filters(top: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield settings that turn off each filter of the repository's own; the user's stay.

    `git status` would run it on a file that may have changed (gitattributes(5)).
    """
    worktree = os.fsdecode(
        run(top, "rev-parse", "--git-path", "config.worktree", environment=environment).rstrip(
            b"\n"
        )
    )
    form = ("--includes", "--null", "--name-only", "--get-regexp", r"^filter\..*\.(clean|process)$")
    for source in (["--local"], ["--file", worktree]):
        try:
            names = run(top, "config", *source, *form, environment=environment)
        except GitError as error:
            if error.stderr:
                raise
            continue  # there is none
        for name in sorted({os.fsdecode(one).rpartition(".")[0] for one in names.split(b"\0")}):
            if "=" in name:
                raise GitError(("config",), top, f"{name}: no filter can have that name")
            if name:
                yield from (f"{name}.clean=", f"{name}.process=", f"{name}.required=false")


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit, or the empty tree; `words` name it, or say why it was chosen."""

    identity: str
    words: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of a walk; `parents` are those of its parents that belong to the walk."""

    identity: str
    parents: tuple[str, ...]
    short: str
    subject: str

    def __str__(self) -> str:
        return f'commit {self.short} "{self.subject}"'


@dataclass(frozen=True, slots=True)
class Repository:
    """A work tree of git, by its top directory; nothing here writes to it."""

    top: Path

    def revision(self, name: str) -> Revision:
        """Return the commit that `name` names; `UsageError` if there is none."""
        if identity := self._identity(name):
            return Revision(identity, name)
        hint = "`git log --oneline` shows commits; a clone of CI may have to fetch more of them"
        raise UsageError(f"git knows no revision {name!r} in {self.top}", hint)

    def fork(self) -> Revision:
        """Return where this branch left the main branch; the empty tree before the first commit."""
        if not run(self.top, "rev-list", "--all", "--max-count=1"):
            return Revision(_line(run(self.top, "hash-object", "-t", "tree", "--stdin")), "nothing")
        main = next((name for name in _MAIN if self._identity(name)), None)
        if main is None:
            raise UsageError(
                f"{self.top} has no main branch: there is none of {', '.join(_MAIN)}",
                "name a revision: --against REV",
            )
        name = main.removeprefix("refs/heads/").removeprefix("refs/remotes/")
        return Revision(self.merge_base(main), f"the merge base with {name}")

    def merge_base(self, name: str) -> str:
        """Return the last commit that HEAD and `name` have in common; `UsageError` if none."""
        try:
            return _line(run(self.top, "merge-base", name, "HEAD"))
        except GitError as error:
            if error.stderr:
                raise
            raise UsageError(
                f"HEAD has no commit in common with {name} in {self.top}",
                "fetch more history (git fetch --unshallow), or name a revision: --against REV",
            ) from error

    def texts(self, revision: str, paths: Iterable[str]) -> Mapping[str, str]:
        """Return the contents at `revision` of those `paths` that are files there.

        Paths are relative to the top. `GitError` if a file is there and cannot be read.
        """
        asked = tuple(dict.fromkeys(_inside(paths)))
        if not asked:
            return {}
        listed = dict(_blobs(run(self.top, "ls-tree", "--full-tree", "-z", revision, "--", *asked)))
        found = [(path, listed[path]) for path in asked if path in listed]
        objects = "".join(f"{identity}\n" for _, identity in found).encode()
        answer = BytesIO(run(self.top, "cat-file", "--batch", stdin=objects))
        contents = zip(found, _contents(answer, self.top), strict=True)
        return {
            path: content.decode("utf-8-sig", errors="replace") for (path, _), content in contents
        }

    def commits(self, since: str, paths: Iterable[str]) -> tuple[Commit, ...]:
        """Return the commits after `since` that change `paths`, and all merges, newest first.

        Only descendants of `since` count: a branch that began before it never had what it has.
        """
        form = ("--no-show-signature", "--format=%H%x00%P%x00%h%x00%s")
        walk = ("--full-history", "--parents", "--topo-order", "--ancestry-path")
        answer = run(self.top, "log", *form, *walk, f"{since}..HEAD", "--", *_inside(paths))
        lines = [line.split("\0") for line in answer.decode(errors="replace").split("\n") if line]
        known = {since, *(identity for identity, *_ in lines)}
        return tuple(
            Commit(identity, tuple(up for up in parents.split() if up in known), short, subject)
            for identity, parents, short, subject in lines
        )

    def _identity(self, name: str) -> str:
        verify = ("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
        try:
            return _line(run(self.top, *verify))
        except GitError as error:
            if error.stderr:
                raise
            return ""


def _line(answer: bytes) -> str:
    return answer.decode().strip()


def _inside(paths: Iterable[str]) -> Iterator[str]:
    return (one for one in paths if one and "\0" not in one and not one.startswith(("/", "../")))


def _blobs(listing: bytes) -> Iterator[tuple[str, str]]:
    """Yield the path and the object of each file that `git ls-tree -z` lists."""
    for entry in filter(None, listing.split(b"\0")):
        description, _, path = entry.partition(b"\t")
        _, kind, identity = description.decode().split()
        if kind == "blob":
            yield os.fsdecode(path), identity


def _contents(answer: BytesIO, top: Path) -> Iterator[bytes]:
    """Yield the contents that `git cat-file --batch` prints, each after a header."""
    while header := answer.readline():
        identity, *rest = header.split()
        if not rest[-1].isdigit():
            raise GitError(("cat-file",), top, f"object {identity.decode()} is {rest[-1].decode()}")
        yield answer.read(int(rest[-1]) + 1)[:-1]
