"""Revisions of a git repository: commits, their files, and the walk between them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from isosmoke.errors import UsageError
from isosmoke.host.git import GitError, decode_line, run

_MAIN_BRANCHES = (
    "refs/remotes/origin/HEAD",
    "refs/heads/main",
    "refs/heads/master",
    # A clone made by a CI service often has only these.
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
)


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit or the empty tree; `description` is its name, or the reason why it was chosen."""

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
class Repository:
    """A git work tree, by its top directory; it is only read."""

    top: Path

    def revision(self, name: str) -> Revision:
        """Return the commit `name`; raise `UsageError` if there is none."""
        if identity := self._find_commit(name):
            return Revision(identity, name)
        hint = "list commits with `git log --oneline`; in a CI clone, fetch more history"
        raise UsageError(f"git knows no revision {name!r} in {self.top}", hint)

    def fork(self) -> Revision:
        """Return the merge base with the main branch; the empty tree before the first commit.

        Raises:
            UsageError: if there is no main branch, or no commit in common with it.
        """
        if not run(self.top, "rev-list", "--all", "--max-count=1"):
            empty_tree = decode_line(run(self.top, "hash-object", "-t", "tree", "--stdin"))
            return Revision(empty_tree, "nothing")
        main = next((name for name in _MAIN_BRANCHES if self._find_commit(name)), None)
        if main is None:
            raise UsageError(
                f"{self.top} has no main branch, none of {', '.join(_MAIN_BRANCHES)}",
                "name a revision: --against REV",
            )
        name = main.removeprefix("refs/heads/").removeprefix("refs/remotes/")
        return Revision(self.merge_base(main), f"the merge base with {name}")

    def merge_base(self, name: str) -> str:
        """Return the last commit common to HEAD and `name`; raise `UsageError` if there is none."""
        try:
            return decode_line(run(self.top, "merge-base", name, "HEAD"))
        except GitError as error:
            if error.stderr:
                raise
            raise UsageError(
                f"HEAD has no commit in common with {name} in {self.top}",
                "fetch more history (git fetch --unshallow), or name a revision: --against REV",
            ) from error

    def texts(self, revision: str, paths: Iterable[str]) -> Mapping[str, str]:
        """Return the contents at `revision` of those `paths` that are files there.

        Paths are relative to the top.

        Raises:
            GitError: if a file exists in the revision and cannot be read.
        """
        requested = tuple(dict.fromkeys(_filter_inside(paths)))
        if not requested:
            return {}
        listing = run(self.top, "ls-tree", "--full-tree", "-z", revision, "--", *requested)
        blobs = dict(_parse_blobs(listing))
        existing = [(path, blobs[path]) for path in requested if path in blobs]
        objects = "".join(f"{identity}\n" for _, identity in existing).encode()
        output = BytesIO(run(self.top, "cat-file", "--batch", stdin=objects))
        contents = zip(existing, _parse_contents(output, self.top), strict=True)
        return {
            path: content.decode("utf-8-sig", errors="replace") for (path, _), content in contents
        }

    def commits(self, since: str, paths: Iterable[str]) -> tuple[Commit, ...]:
        """Return the commits after `since` that change `paths`, and all merges, newest first.

        Only descendants of `since` count, because a branch that forked earlier never had the
        contents of `since`.
        """
        form = ("--no-show-signature", "--format=%H%x00%P%x00%h%x00%s")
        walk = ("--full-history", "--parents", "--topo-order", "--ancestry-path")
        output = run(self.top, "log", *form, *walk, f"{since}..HEAD", "--", *_filter_inside(paths))
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

    def _find_commit(self, name: str) -> str:
        """Return the identity of the commit `name`; an empty string if there is none."""
        verify = ("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
        try:
            return decode_line(run(self.top, *verify))
        except GitError as error:
            if error.stderr:
                raise
            return ""


def _filter_inside(paths: Iterable[str]) -> Iterator[str]:
    """Yield the paths that can be inside the repository."""
    for path in paths:
        if path and "\0" not in path and not path.startswith(("/", "../")):
            yield path


def _parse_blobs(listing: bytes) -> Iterator[tuple[str, str]]:
    """Yield the path and the object of each file in the output of `git ls-tree -z`."""
    for entry in filter(None, listing.split(b"\0")):
        description, _, path = entry.partition(b"\t")
        _, kind, identity = description.decode().split()
        if kind == "blob":
            yield os.fsdecode(path), identity


def _parse_contents(output: BytesIO, top: Path) -> Iterator[bytes]:
    """Yield the contents in the output of `git cat-file --batch`, each preceded by a header."""
    while header := output.readline():
        identity, *rest = header.split()
        if not rest[-1].isdigit():
            raise GitError(("cat-file",), top, f"object {identity.decode()} is {rest[-1].decode()}")
        yield output.read(int(rest[-1]) + 1)[:-1]
