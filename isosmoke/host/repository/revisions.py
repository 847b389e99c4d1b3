"""Revisions of a git repository: its commits, their trailers, and the walk between them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.host.git import GitError, decode_line, run

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
_MAGIC = {"GIT_LITERAL_PATHSPECS": "0"}
_PATTERNS = {**_MAGIC, "GIT_GLOB_PATHSPECS": "1"}


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit; `description` is its name, or the reason why it was chosen."""

    identity: str
    description: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of a walk; `parents` are only those parents that belong to the walk."""

    identity: str
    parents: tuple[str, ...]
    short: str
    subject: str

    def __str__(self) -> str:
        return f'commit {self.short} "{self.subject}"'


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge commit, its first parent, and another one; `fork` is common to both, or empty."""

    identity: str
    parent: str
    merged: str
    fork: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A git work tree, by its top directory; it is only read.

    Each answer of git is kept, so that all answers to a question agree, also if a branch moves in
    the meantime. What was committed later is seen by a new `Repository`.
    """

    top: Path
    _answers: dict[tuple[object, ...], bytes] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def revision(self, name: str) -> Revision:
        """Return the commit `name`; raise `UsageError` if there is none."""
        if identity := self.find_commit(name):
            return Revision(identity, name)
        hint = "list commits with `git log --oneline`; in a CI clone, fetch more history"
        raise UsageError(f"git knows no revision {name!r} in {self.top}", hint)

    def find_commit(self, name: str) -> str:
        """Return the identity of the commit `name`; an empty string if there is none."""
        verify = ("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
        return self._read_line(*verify)

    def find_merge_base(self, name: str) -> str:
        """Return the last commit common to HEAD and `name`; an empty string if there is none."""
        return self._read_line("merge-base", name, "HEAD")

    def find_branch(self) -> str:
        """Return the full name of the branch that is checked out; an empty string if none is."""
        return self._read_line("symbolic-ref", "--quiet", "HEAD")

    def resolve_name(self, full: str) -> str:
        """Return the name of the branch that a symbolic reference leads to, else `full`."""
        return self._read_line("rev-parse", "--symbolic-full-name", full) or full

    def is_shallow(self) -> bool:
        """Return whether the clone lacks a part of the history."""
        return self._read_line("rev-parse", "--is-shallow-repository") == "true"

    def list_history(self, tip: str) -> frozenset[str]:
        """Return the commits that the commit `tip` contains, itself included."""
        return _list_history(self.top, self.find_commit(tip))

    def list_ancestors(self, paths: Iterable[str], tip: str = "HEAD") -> tuple[str, ...]:
        """Return the first-parent ancestors of `tip` that change `paths`, newest first.

        `tip` is among them if it does.
        """
        walk = ("log", "--first-parent", "--format=%H", tip, "--", *_filter_inside(paths))
        return tuple(decode_line(self._ask(*walk)).split())

    def list_former_files(self, pattern: str, tip: str) -> tuple[str, ...]:
        """Return the paths matching `pattern` that `tip` or a first-parent ancestor ever had."""
        walk = ("log", "--first-parent", "--format=", "--name-only", "-z", tip, "--", pattern)
        names = self._ask(*walk, variables=_PATTERNS).replace(b"\n", b"\0").split(b"\0")
        return tuple(dict.fromkeys(os.fsdecode(name) for name in names if name))

    def list_merges(self, tip: str, paths: Iterable[str], pattern: str) -> tuple[Merge, ...]:
        """Return the merges among the first-parent ancestors of `tip`, newest first.

        Those are left out that have `paths`, and what matches `pattern`, as the merged commits do.
        """
        walk = ("log", "--first-parent", "--merges", "--format=%H %P", tip)
        rows = [line.split() for line in decode_line(self._ask(*walk)).splitlines()]
        pairs = "".join(f"{merge} {merged}\n" for merge, _, *others in rows for merged in others)
        compare = ("diff-tree", "--stdin", "-r", "--format=%x00%H", "--name-only", "--")
        watched = (*(f":(literal){path}" for path in _filter_inside(paths)), f":(glob){pattern}")
        listing = self._ask(*compare, *watched, stdin=pairs.encode(), variables=_MAGIC).decode(
            errors="replace"
        )
        differing = {record.partition("\n")[0] for record in listing.split("\0")}
        return tuple(
            Merge(merge, parent, merged, self._read_line("merge-base", parent, merged))
            for merge, parent, *others in rows
            if merge in differing
            for merged in others
        )

    def find_parent(self, commit: str) -> str:
        """Return the first parent of a commit; an empty string if there is none in this clone."""
        return self.find_commit(f"{commit}^1")

    def has_changed(self, revision: str, paths: Iterable[str]) -> bool:
        """Return whether a commit up to `revision` changes one of `paths`."""
        walk = ("log", "--format=%H", "--max-count=1", revision, "--", *_filter_inside(paths))
        return bool(self._ask(*walk).strip())

    def find_trailers(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return the commits up to HEAD with the values of their trailers `key`, newest first."""
        form = f"--format=%x1e%H%x1f%(trailers:key={key},valueonly,unfold,separator=%x1f)"
        search = ("--fixed-strings", "--regexp-ignore-case", f"--grep={key}:")
        output = self._ask("log", form, *search, "HEAD").decode(errors="replace")
        records = (record.strip().split("\x1f") for record in output.split("\x1e"))
        return tuple((commit, value.strip()) for commit, *values in records for value in values)

    def commits(self, since: str, paths: Iterable[str]) -> tuple[Commit, ...]:
        """Return the commits after `since` that change `paths`, and all merges, newest first.

        Only descendants of `since` count, because a branch that forked earlier never had the
        contents of `since`.
        """
        form = ("--no-show-signature", "--format=%H%x00%P%x00%h%x00%s")
        walk = ("--full-history", "--parents", "--topo-order", "--ancestry-path")
        output = self._ask("log", *form, *walk, f"{since}..HEAD", "--", *_filter_inside(paths))
        rows = [line.split("\0") for line in output.decode(errors="replace").split("\n") if line]
        known = {since, *(identity for identity, *_ in rows)}
        return tuple(
            Commit(
                identity,
                tuple(parent for parent in parents.split() if parent in known),
                short,
                subject,
            )
            for identity, parents, short, subject in rows
        )

    def _read_line(self, *arguments: str) -> str:
        """Return the line that git prints; an empty string if it fails without a message."""
        try:
            return decode_line(self._ask(*arguments))
        except GitError as error:
            if error.stderr:
                raise
            self._answers[arguments, b"", ()] = b""
            return ""

    def _ask(
        self, *arguments: str, stdin: bytes = b"", variables: Mapping[str, str] = _NO_VARIABLES
    ) -> bytes:
        """Return what git prints, which is run only for the first of equal questions."""
        question = (arguments, stdin, tuple(variables.items()))
        if question not in self._answers:
            self._answers[question] = run(self.top, *arguments, stdin=stdin, variables=variables)
        return self._answers[question]


@lru_cache(maxsize=64)
def _list_history(top: Path, identity: str) -> frozenset[str]:
    """Return the commits that a commit contains; its identity stands for them, so it is cached."""
    return frozenset(decode_line(run(top, "rev-list", identity)).split())


def _filter_inside(paths: Iterable[str]) -> Iterator[str]:
    """Yield the paths that can be inside the repository."""
    for path in paths:
        if path and "\0" not in path and not path.startswith(("/", "../")):
            yield path
