"""The files of a work tree, of its index or of a commit, read in the same way.

A snapshot contains files, links and submodules by their path, which is relative to the top. A file
below a link is found by `follow`, and one in another repository is not part of the snapshot.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Literal, Protocol

from isosmoke.dataclass import dataclass
from isosmoke.host import files
from isosmoke.host.files import MAX_LINKS
from isosmoke.host.git import GitError, run
from isosmoke.host.repository import conversions

Kind = Literal["file", "link", "submodule", "repository", "missing", "outside"]
"""The kind of a path: "repository" is one that git does not know as a submodule."""

_KINDS: Mapping[bytes, Kind] = {b"120000": "link", b"160000": "submodule"}


class Snapshot(Protocol):
    """Files at one time."""

    def find_kind(self, path: str) -> Kind:
        """Return the kind of a path; a directory is "missing"."""

    def read(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        """Return the contents of those paths that exist; of a link, its target.

        The content of a submodule is its commit.
        """

    def list_below(self, directory: str) -> Collection[str]:
        """Return the paths of all files and links below a directory."""

    def is_occupied(self, path: str) -> bool:
        """Return whether anything has this path, such as a directory or a named pipe."""


@dataclass(frozen=True, slots=True)
class Target:
    """The end of a path: itself, or the end of the links on it. `is_linked` is true for these."""

    path: str
    kind: Kind
    is_linked: bool = False


def follow(snapshot: Snapshot, path: str) -> Target:
    """Follow the links on a path within a snapshot."""
    path, is_linked = normpath(path), False
    for _ in range(MAX_LINKS):
        if path.startswith(("../", "/")) or path == "..":
            return Target(path, "outside", is_linked)
        step, kind = _find_first(snapshot, path)
        if kind != "link":
            is_end = step == path or kind in ("submodule", "repository")
            return Target(step if is_end else path, kind if is_end else "missing", is_linked)
        target = os.fsdecode(snapshot.read([step]).get(step, b""))
        path = normpath(join(dirname(step), target, os.path.relpath(path, step)))
        is_linked = True
    return Target(path, "missing", is_linked)


def _find_first(snapshot: Snapshot, path: str) -> tuple[str, Kind]:
    """Return the first part of a path that is no directory, and its kind."""
    parts = path.split("/")
    steps = ("/".join(parts[: end + 1]) for end in range(len(parts)))
    kinds = ((step, snapshot.find_kind(step)) for step in steps)
    return next(((step, kind) for step, kind in kinds if kind != "missing"), (path, "missing"))


@dataclass(frozen=True, slots=True)
class TreeSnapshot:
    """The files of a commit or of the index, by the mode and the object of each."""

    top: Path
    entries: Mapping[str, tuple[bytes, str]]
    contents: dict[str, bytes] = field(default_factory=dict)
    """The contents of the objects that have been read, which snapshots may share."""

    _lists: dict[str, list[str]] = field(default_factory=dict)
    """The paths below each directory; empty until they are requested."""

    def find_kind(self, path: str) -> Kind:
        """Return the kind of a path."""
        entry = self.entries.get(path)
        return _KINDS.get(entry[0], "file") if entry else "missing"

    def read(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        """Return the contents of paths."""
        wanted = {path: self.entries[path] for path in paths if path in self.entries}
        blobs = {identity for mode, identity in wanted.values() if mode != b"160000"}
        self.contents.update(read_objects(self.top, blobs - self.contents.keys()))
        return {
            path: identity.encode() if mode == b"160000" else self.contents[identity]
            for path, (mode, identity) in wanted.items()
        }

    def list_below(self, directory: str) -> Collection[str]:
        """Return the paths below a directory."""
        if directory == ".":
            return self.entries
        if not self._lists:
            for path in self.entries:
                for position in (at for at, letter in enumerate(path) if letter == "/"):
                    self._lists.setdefault(path[:position], []).append(path)
        return self._lists.get(directory, ())

    def is_occupied(self, path: str) -> bool:
        """Return whether a file or a directory has this path."""
        return path in self.entries or any(name.startswith(f"{path}/") for name in self.entries)


@dataclass(frozen=True)
class WorkTreeSnapshot:
    """The files of a work tree, next to its index.

    A file that git converts, and that did not change, has the content that is staged.
    """

    top: Path
    index: TreeSnapshot

    @cached_property
    def submodules(self) -> Mapping[str, str]:
        """The commit of each known submodule."""
        entries = self.index.entries.items()
        return {path: identity for path, (mode, identity) in entries if mode == b"160000"}

    @cached_property
    def _converted(self) -> Mapping[str, str]:
        return conversions.find_converted(self.top, self.index.entries)

    def find_kind(self, path: str) -> Kind:
        """Return the kind of a path."""
        file = self.top / path
        try:
            if file.is_symlink():
                return "link"
            if os.path.lexists(file / ".git") and path != ".":
                return "submodule" if path in self.submodules else "repository"
            return "file" if file.is_file() else "missing"
        except (OSError, ValueError):
            return "missing"

    def read(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        """Return the contents of paths."""
        kinds = {path: self.find_kind(path) for path in paths}
        return {path: self._read(path, kind) for path, kind in kinds.items() if kind in _READABLE}

    def _read(self, path: str, kind: Kind) -> bytes:
        if kind == "submodule":
            return self.submodules[path].encode()
        file = self.top / path
        if kind == "link":
            return os.fsencode(file.readlink())
        content = files.read(file)
        if attribute := self._converted.get(path):
            staged = self.index.read([path])[path]
            return staged if conversions.is_unchanged(content, staged, attribute) else content
        return content

    def is_occupied(self, path: str) -> bool:
        """Return whether anything has this path."""
        return os.path.lexists(self.top / path)

    @cached_property
    def _lists(self) -> dict[str, Collection[str]]:
        return {}

    def list_below(self, directory: str) -> Collection[str]:
        """Return the paths below a directory, without those of other repositories."""
        if directory not in self._lists:
            self._lists[directory] = list(self._walk(directory))
        return self._lists[directory]

    def _walk(self, directory: str) -> Iterable[str]:
        for step, directories, names in os.walk(self.top / directory):
            relative = os.path.relpath(step, self.top)
            if relative != "." and ".git" in (*directories, *names):
                directories.clear()
                continue
            directories[:] = [name for name in directories if name not in VOLATILE]
            yield from (normpath(join(relative, name)) for name in names)


_READABLE = ("file", "link", "submodule")

VOLATILE = frozenset({".git", ".wg", ".workgraph", ".isosmoke"})
"""Directories whose contents change by themselves."""


def read_commit(top: Path, revision: str, contents: dict[str, bytes]) -> TreeSnapshot:
    """Return the snapshot of a revision; raise `GitError` if git cannot read it."""
    listing = run(top, "ls-tree", "-r", "-z", "--full-tree", revision)
    entries = {}
    for entry in filter(None, listing.split(b"\0")):
        description, _, path = entry.partition(b"\t")
        mode, _, identity = description.split()
        entries[os.fsdecode(path)] = (mode, identity.decode())
    return TreeSnapshot(top, entries, contents)


def read_index(
    top: Path, environment: Mapping[str, str], contents: dict[str, bytes]
) -> TreeSnapshot:
    """Return the snapshot of the index, which a hook of this repository may replace.

    An unmerged file has the content of the branch that is checked out.
    """
    listing = run(top, "ls-files", "--stage", "-z", variables=_find_index(top, environment))
    entries: dict[str, tuple[bytes, str]] = {}
    for entry in filter(None, listing.split(b"\0")):
        description, _, path = entry.partition(b"\t")
        mode, identity, stage = description.split()
        if stage in (b"0", b"2"):
            entries[os.fsdecode(path)] = (mode, identity.decode())
    return TreeSnapshot(top, entries, contents)


def _find_index(top: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variable that names a hook's index, if that is in the repository's directory.

    `git commit --all` and `git commit FILE` run hooks with another index (githooks(5)).
    """
    named = environment.get("GIT_INDEX_FILE")
    if not named:
        return {}
    directory = Path(os.fsdecode(run(top, "rev-parse", "--absolute-git-dir").rstrip(b"\n")))
    index = (top / named).resolve()
    return {"GIT_INDEX_FILE": str(index)} if index.parent == directory.resolve() else {}


def read_work_tree(index: TreeSnapshot) -> WorkTreeSnapshot:
    """Return the snapshot of the work tree whose index is given."""
    return WorkTreeSnapshot(index.top, index)


def read_objects(top: Path, identities: Collection[str]) -> Mapping[str, bytes]:
    """Return the contents of objects; raise `GitError` if one cannot be read."""
    if not identities:
        return {}
    requested = sorted(identities)
    lines = "".join(f"{identity}\n" for identity in requested).encode()
    output = BytesIO(run(top, "cat-file", "--batch", stdin=lines))
    contents = {}
    for identity in requested:
        header = output.readline().split()
        if not header or not header[-1].isdigit():
            reason = header[-1].decode() if header else "missing"
            raise GitError(("cat-file",), top, f"object {identity} is {reason}")
        contents[identity] = output.read(int(header[-1]) + 1)[:-1]
    return contents
