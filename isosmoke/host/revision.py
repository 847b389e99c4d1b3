"""What git knows: revisions by name, the texts of files at one, and the commits after it."""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.host import system_programs

_MAIN = (
    "refs/remotes/origin/HEAD",
    "refs/heads/main",
    "refs/heads/master",
    # A clone made by a CI service often has nothing but these.
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
)

# A hook that git runs has these, and they would win over the folder.
_NAMING_A_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR")


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit, or the empty tree; `words` say why it was taken."""

    identity: str
    words: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit in a walk; of its parents only those that the walk came by."""

    identity: str
    parents: tuple[str, ...]
    short: str
    subject: str

    def __str__(self) -> str:
        return f'commit {self.short} "{self.subject}"'


@dataclass(frozen=True, slots=True)
class Repository:
    """A work tree of git, by its top folder; nothing here writes to it."""

    top: Path

    def revision(self, name: str) -> Revision:
        """The commit that `name` names."""
        if identity := self._identity(name):
            return Revision(identity, name)
        hint = "`git log --oneline` shows commits; a clone of CI may have to fetch more of them"
        raise UsageError(f"git knows no revision {name!r} in {self.top}", hint)

    def fork(self) -> Revision:
        """Where this branch left the main branch; the empty tree before the first commit."""
        if not self._git("rev-list", "--all", "--max-count=1"):
            return Revision(_line(self._git("hash-object", "-t", "tree", "--stdin")), "nothing")
        main = next((name for name in _MAIN if self._identity(name)), None)
        if main is None:
            raise UsageError(
                f"{self.top} has no main branch: there is none of {', '.join(_MAIN)}",
                "name a revision: --against REV",
            )
        name = main.removeprefix("refs/heads/").removeprefix("refs/remotes/")
        return Revision(self.merge_base(main), f"the merge base with {name}")

    def merge_base(self, name: str) -> str:
        """The last commit that HEAD and `name` have in common."""
        try:
            return _line(self._git("merge-base", name, "HEAD"))
        except _RefusedError as error:
            raise UsageError(
                f"HEAD has no commit in common with {name} in {self.top}",
                "fetch more history (git fetch --unshallow), or name a revision: --against REV",
            ) from error

    def texts(self, revision: str, paths: Iterable[str]) -> Mapping[str, str]:
        """The files at `revision` among `paths`, which are relative to the top."""
        asked = [path for path in _inside(paths) if "\n" not in path]
        lines = "".join(f"{revision}:{path}\n" for path in asked)
        answer = self._git("cat-file", "--batch", stdin=os.fsencode(lines))
        return dict(_unpacked(asked, BytesIO(answer)))

    def commits(self, since: str, paths: Iterable[str]) -> tuple[Commit, ...]:
        """The commits after `since` that change `paths`, and all merges, the newest first.

        Only descendants of `since` count: a branch that began before it never had what it has.
        """
        form = ("--no-show-signature", "--format=%H%x00%P%x00%h%x00%s")
        walk = ("--full-history", "--parents", "--topo-order", "--ancestry-path")
        answer = self._git("log", *form, *walk, f"{since}..HEAD", "--", *_inside(paths))
        lines = [line.split("\0") for line in answer.decode(errors="replace").split("\n") if line]
        known = {since, *(identity for identity, *_ in lines)}
        return tuple(
            Commit(identity, tuple(up for up in parents.split() if up in known), short, subject)
            for identity, parents, short, subject in lines
        )

    def _identity(self, name: str) -> str:
        verify = ("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
        try:
            return _line(self._git(*verify))
        except _RefusedError as error:
            if error.words:
                raise
            return ""

    def _git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        path = os.environ.get("PATH", os.defpath)
        git = system_programs.find_for(path, "git", apart=[self.top])
        if git is None:
            raise IsosmokeError("cannot run git: no such file or directory", "install git")
        command = [str(git), "--literal-pathspecs", *arguments]
        inherited = os.environ.items()
        environment = {key: value for key, value in inherited if key not in _NAMING_A_REPOSITORY}
        try:
            done = subprocess.run(
                command, cwd=self.top, env=environment, input=stdin, capture_output=True, check=True
            )
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise IsosmokeError(f"cannot run git: {reason}", "install git") from error
        except subprocess.CalledProcessError as error:
            words = error.stderr.decode(errors="replace").strip()
            raise _RefusedError(arguments[0], self.top, words) from error
        return done.stdout


class _RefusedError(IsosmokeError):
    """Git ran and said no, for the reason in `words` if it gave one."""

    def __init__(self, command: str, top: Path, words: str) -> None:
        super().__init__(f"git {command} failed in {top}: {words}")
        self.words = words


def _line(answer: bytes) -> str:
    return answer.decode().strip()


def _inside(paths: Iterable[str]) -> Iterator[str]:
    return (path for path in paths if not path.startswith(("/", "../")))


def _unpacked(paths: Iterable[str], answer: BytesIO) -> Iterator[tuple[str, str]]:
    """What `git cat-file --batch` says: a header for each path, and a text after some of them."""
    for path in paths:
        header = answer.readline().split()
        if header[-1].isdigit():  # else the last word is `missing`
            text = answer.read(int(header[-1]) + 1)[:-1]
            if header[-2] == b"blob":
                yield path, text.decode("utf-8-sig", errors="replace")
