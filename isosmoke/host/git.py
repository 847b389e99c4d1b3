"""Safe reading of git repositories: the state of a work tree.

The author of a repository controls its configuration. Reading it must not run the author's
programs, wait for a prompt, change a file, or return a forged history. See git-config(1) and
git(1), "ENVIRONMENT VARIABLES".
"""

import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError
from isosmoke.host import system_programs
from isosmoke.host.workspace_directories import git_top
from isosmoke.text import quote_command, shorten

_SECONDS = 60.0
"""The default timeout of a git command."""

_MAX_COMPLAINT = 1000

_SETTINGS = (
    "core.fsmonitor=false",  # otherwise it can name a program
    "core.hooksPath=/dev/null",
    "credential.helper=",
    "log.follow=false",  # otherwise it follows a file across renames
    "log.showSignature=false",  # otherwise gpg.program is run
    "safe.bareRepository=explicit",  # a directory of the work tree may look like a repository
)
"""Settings that override the repository's own configuration."""

_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_ALLOW_PROTOCOL": "",  # a partial clone would fetch missing objects, through any program
    "GIT_ASKPASS": "",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_GRAFT_FILE": f"{os.devnull}/none",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_TERMINAL_PROMPT": "0",
}

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class GitError(IsosmokeError):
    """A git command failed, for the reason in `stderr`, which may be empty."""

    def __init__(self, arguments: Iterable[str], top: Path, stderr: str) -> None:
        command = next(iter(arguments))
        message = f"git {command} failed in {top}: {_remove_advice(stderr)}"
        super().__init__(message, _hint(top, stderr))
        self.stderr = stderr


_TRUST = re.compile(r"^\s*(git config --global --add safe\.directory .+)$", re.MULTILINE)
"""The command in git's advice, with the path that git checks and quotes."""


def _remove_advice(stderr: str) -> str:
    """Return what git says in one line, without the command that becomes the hint."""
    complaint = stderr.partition("\n")[0] if _TRUST.search(stderr) else stderr
    return shorten(complaint, _MAX_COMPLAINT)


def _hint(top: Path, stderr: str) -> str:
    if "dubious ownership" in stderr:
        advice = _TRUST.search(stderr)
        trust = quote_command(("git", "config", "--global", "--add", "safe.directory", str(top)))
        return f"if you trust its owner: {advice[1] if advice else trust}"
    if "promisor" in stderr:
        fetch = quote_command(("git", "-C", str(top), "fetch", "--refetch"))
        return f"fetch the missing objects of this partial clone: {fetch}"
    return quote_command(("git", "-C", str(top), "status"))


def find_program(top: Path, environment: Mapping[str, str]) -> Path | None:
    """Return the git program for the repository `top`, never one inside it; None without git."""
    path = environment.get("PATH", os.defpath)
    return system_programs.find_on_path(path, "git", exclude=[top])


def run(
    top: Path,
    *arguments: str,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    variables: Mapping[str, str] = _NO_VARIABLES,
    settings: Iterable[str] = (),
    seconds: float = _SECONDS,
) -> bytes:
    """Run a git command in the top directory of a work tree, and return its stdout.

    GIT_* variables of `environment`, by default this process's, are not passed on, because those
    set by a hook name the hook's own repository. `variables` and `settings` (`name=value`) are
    added.

    Raises:
        GitError: if git fails, or does not end within `seconds`.
        IsosmokeError: if git is not installed or cannot be started.
    """
    inherited = os.environ if environment is None else environment
    program = find_program(top, inherited)
    if program is None:
        raise IsosmokeError(f"cannot run git in {top}: git not found", "install git")
    options = [option for setting in (*_SETTINGS, *settings) for option in ("-c", setting)]
    fixed = ("--no-pager", "--no-optional-locks")
    command = [str(program), *fixed, *options, *arguments]
    plain = {name: value for name, value in inherited.items() if not name.startswith("GIT_")}
    above = {"GIT_CEILING_DIRECTORIES": str(top.absolute().parent)}
    try:
        process = _start(command, top, {**plain, **_ENVIRONMENT, **above, **variables})
        output, stderr = _communicate(process, stdin, seconds)
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
    """Start git as the leader of a process group, so that its children can be killed with it."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=top, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, process_group=0
    )


def _communicate(
    process: "subprocess.Popen[bytes]", stdin: bytes, seconds: float
) -> tuple[bytes, bytes]:
    """Return stdout and stderr; kill the process group if that fails or takes too long."""
    with process:
        try:
            return process.communicate(stdin, timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


@dataclass(frozen=True, slots=True)
class Checkout:
    """The commit of a work tree, empty before the first one; `dirty` if files may differ from it.

    A file whose changes git is set not to see (`list_pinned`) may differ.
    """

    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """The commit and the branch of a work tree, and whether files may differ from the commit.

    `commit` is empty before the first one, `branch` if a commit is checked out directly.
    """

    commit: str
    branch: str
    dirty: bool


def read_checkout(directory: Path, environment: Mapping[str, str]) -> Checkout | None:
    """Return the commit of the work tree around `directory`; None without a work tree or git.

    Raises:
        GitError: if git refuses to read the repository.
    """
    state = read_state(directory, environment)
    return None if state is None else Checkout(state.commit, state.dirty)


def read_state(directory: Path, environment: Mapping[str, str]) -> RepositoryState | None:
    """Return the state of the work tree around `directory`; None without a work tree or git.

    Raises:
        GitError: if git refuses to read the repository.
    """
    top = git_top(directory)
    if top is None or find_program(top, environment) is None:
        return None
    try:
        return _read_state(top, environment)
    except GitError as error:
        if _is_no_repository(error):
            return None
        raise


def find_tops(directory: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the main work tree and the one around `directory`; `directory` itself outside of both.

    Agents work in linked work trees, which are removed when their task is done.

    Raises:
        GitError: if git refuses to read the repository.
    """
    own = git_top(directory)
    if own is None or find_program(own, environment) is None:
        return ((own or directory).resolve(),)
    try:
        common = find_common_directory(own, environment)
    except GitError as error:
        if not _is_no_repository(error):
            raise
        common = own
    main = common.parent if common.name == ".git" else own
    return tuple(dict.fromkeys((main.resolve(), own.resolve())))


def _is_no_repository(error: GitError) -> bool:
    """Return whether `.git` is not a repository; git's messages are not translated (LC_ALL=C)."""
    return error.stderr.startswith("fatal: not a git repository")


def read_head(top: Path, environment: Mapping[str, str]) -> str:
    """Return the commit that is checked out; an empty string before the first one."""
    verify = ("rev-parse", "--quiet", "--verify", "HEAD")
    try:
        return decode_line(run(top, *verify, environment=environment))
    except GitError as error:
        if error.stderr:
            raise
        return ""


def _read_state(top: Path, environment: Mapping[str, str]) -> RepositoryState:
    """Return the state of a work tree with its checked out submodules, in three calls of git.

    Each submodule is read separately. Otherwise git would run the programs that the submodule's
    own configuration names.
    """
    status = ("status", "--porcelain=v2", "--branch", "--no-ahead-behind", "-z")
    changes = ("--untracked-files=normal", "--ignore-submodules=dirty")
    settings = tuple(_without_filters(top, environment))
    output = run(top, *status, *changes, environment=environment, settings=settings)
    lines = output.removesuffix(b"\0").split(b"\0")
    # Headers come first; further on, a line may be the former name of a file, whatever it is.
    before = [*takewhile(lambda line: line.startswith(b"# "), lines)]
    headers = dict(line[2:].split(b" ", 1) for line in before)
    commit, branch = headers[b"branch.oid"], headers[b"branch.head"]
    is_dirty = len(before) < len(lines) or _is_index_dirty(top, environment)
    return RepositoryState(
        "" if commit == b"(initial)" else commit.decode(),
        "" if branch == b"(detached)" else os.fsdecode(branch),
        is_dirty,
    )


def _is_index_dirty(top: Path, environment: Mapping[str, str]) -> bool:
    """Return whether a file is pinned, or a file of a checked out submodule differs."""
    index = _Index.read(top, environment)
    submodules = (top / path for path in index.submodules)
    return index.has_pinned or any(
        _read_state(path, environment).dirty for path in submodules if (path / ".git").exists()
    )


@dataclass(frozen=True, slots=True)
class _Index:
    """The paths of submodules in an index, and whether git is set not to see a file's changes."""

    submodules: tuple[str, ...]
    has_pinned: bool

    @classmethod
    def read(cls, top: Path, environment: Mapping[str, str]) -> "_Index":
        """Return the index of a work tree; see `map_tracked` for the first letter of an entry."""
        output = run(top, "ls-files", "-v", "--stage", "-z", environment=environment)
        entries = output.removesuffix(b"\0").split(b"\0") if output else []
        links = (entry for entry in entries if entry[2:].startswith(b"160000 "))
        return cls(
            tuple(os.fsdecode(link.partition(b"\t")[2]) for link in links),
            any(not entry.startswith(b"H ") for entry in entries),
        )


def digest_work_tree(top: Path, environment: Mapping[str, str], most: int) -> str:
    """Return a SHA-256 of the commit and of all changed and untracked files of a work tree.

    Ignored files do not count. The result is empty if the state cannot be described: there are
    submodules or pinned files, or the changed files have more than `most` bytes.

    Raises:
        GitError: if git refuses to read the repository.
    """
    index = _Index.read(top, environment)
    if index.submodules or index.has_pinned:
        return ""
    status = ("status", "--porcelain=v2", "-z", "--untracked-files=all", "--no-renames")
    settings = tuple(_without_filters(top, environment))
    changes = run(top, *status, environment=environment, settings=settings)
    digest = hashlib.sha256(read_head(top, environment).encode() + b"\0" + changes)
    for path in (top / os.fsdecode(name) for name in _list_changed(changes)):
        most -= path.lstat().st_size if os.path.lexists(path) else 0
        if most < 0:
            return ""
        digest.update(_read_content(path))
    return digest.hexdigest()


def _list_changed(status: bytes) -> Iterator[bytes]:
    """Yield the paths in the output of `git status --porcelain=v2 -z --no-renames`."""
    fields_before_path = {b"1": 8, b"u": 10, b"?": 1}
    for entry in filter(None, status.split(b"\0")):
        yield entry.split(b" ", fields_before_path[entry[:1]])[-1]


def _read_content(path: Path) -> bytes:
    """Return the length and the content of a file or link; empty if it is missing."""
    if path.is_symlink():
        content = os.fsencode(path.readlink())
    elif path.is_file():
        content = path.read_bytes()
    else:
        return b"\0"
    return b"%d:%b" % (len(content), content)


def find_common_directory(top: Path, environment: Mapping[str, str]) -> Path:
    """Return the git directory that all work trees of a repository share, possibly unresolved."""
    output = run(top, "rev-parse", "--git-common-dir", environment=environment)
    return top / os.fsdecode(output.rstrip(b"\n"))


def list_pinned(top: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the tracked files whose changes git does not see, relative to `top`.

    Raises:
        GitError: if git refuses to read the repository.
    """
    return tuple(path for path, is_pinned in map_tracked(top, environment).items() if is_pinned)


def map_tracked(top: Path, environment: Mapping[str, str], *paths: str) -> Mapping[str, bool]:
    """Map the tracked files among `paths`, by default all, to whether they are pinned.

    `git update-index --assume-unchanged` and `--skip-worktree` pin a file; so does a sparse
    checkout. Git then does not see its changes, and `git ls-files -v` prints another letter than
    "H" for it (git-ls-files(1)).

    Raises:
        GitError: if git refuses to read the repository.
    """
    listing = run(top, "ls-files", "-v", "-z", "--", *paths, environment=environment)
    entries = (entry.partition(b" ") for entry in listing.split(b"\0") if entry)
    return {os.fsdecode(path): letter != b"H" for letter, _, path in entries}


def list_filter_settings(top: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return settings for `run` that disable the filters of a repository, but not the user's."""
    return tuple(_without_filters(top, environment))


_FILTER_KEYS = r"^filter\..*\.(clean|process|smudge)$"

_OWN = (b"local", b"worktree")
"""The scopes of settings that belong to a repository (git-config(1), "SCOPES")."""


def _without_filters(top: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield settings that disable each filter of the repository, but not the user's filters.

    `git status` would run a filter on a file that may have changed (gitattributes(5)).
    """
    form = ("--show-scope", "--includes", "--null", "--name-only", "--get-regexp")
    try:
        output = run(top, "config", *form, _FILTER_KEYS, environment=environment)
    except GitError as error:
        if error.stderr:
            raise
        return  # the configuration has no filter
    fields = output.removesuffix(b"\0").split(b"\0")
    keys = [key for scope, key in zip(fields[::2], fields[1::2], strict=True) if scope in _OWN]
    for name in sorted({os.fsdecode(key).rpartition(".")[0] for key in keys}):
        if "=" in name:
            raise GitError(("config",), top, f"{name}: invalid name of a filter")
        values = (".clean=", ".smudge=", ".process=", ".required=false")
        yield from (f"{name}{value}" for value in values)


def decode_line(output: bytes) -> str:
    """Return the single line that git printed, as text."""
    return output.decode().strip()
