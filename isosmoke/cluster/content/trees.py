"""Trees: directories and files of the caller as data, whose files are named by their SHA-256."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, field
from pathlib import Path
from typing import Any

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.execution.places.known_secrets import KnownSecrets
from isosmoke.host import files, git
from isosmoke.host.workspace_directories import has_repository
from isosmoke.rootfs_images.archives.limits import MAX_ENTRIES
from isosmoke.runner import mounts
from isosmoke.runner.job_builder import RunContext
from isosmoke.text import shorten

_KINDS = frozenset({"directory", "link", "file", "hardlink", "fifo", "socket"})
_LINKABLE = frozenset({"link", "file", "fifo", "socket"})
_DIGEST = re.compile(r"[0-9a-f]{64}")


class TreeError(ValueError):
    """A digest or listing is not valid."""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A path in a tree: a directory, a link to `target`, or a file with the SHA-256 `target`.

    A `hardlink` is another name of the file at the earlier path `target`; `fifo` and `socket` are
    special files. `uid` and `gid` are the owner; -1 is the user of the machine that has the tree.
    `attributes` are extended attributes with their values in Base64.
    """

    path: str
    kind: str
    mode: int
    mtime: int
    size: int
    target: str
    uid: int = -1
    gid: int = -1
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Catalog:
    """The content that a client can send: `blobs` are files, or bytes of listings."""

    blobs: dict[str, Path | bytes] = field(default_factory=dict)
    trees: dict[Path, str] = field(default_factory=dict)

    def add_tree(self, path: Path, listing: Sequence[TreeEntry], copies: Path | None) -> None:
        """Add a tree of the workspace with its listing; `copies` replace some of its files."""
        self.trees[path] = self.add(path, listing, copies)

    def add(self, path: Path, listing: Sequence[TreeEntry], copies: Path | None = None) -> str:
        """Add the content of a directory or file with this listing; return its digest."""
        content = encode(listing)
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        for entry in listing:
            if entry.kind == "file":
                file = path / entry.path if entry.path else path
                self.blobs[entry.target] = _find_content(file, copies)
        return digest

    def list_needed(self, digests: Iterable[str]) -> tuple[str, ...]:
        """Return these digests, and those of the files of their trees."""
        needed: dict[str, None] = {}
        for digest in digests:
            needed[digest] = None
            content = self.blobs.get(digest)
            if isinstance(content, bytes):
                needed.update(dict.fromkeys(list_blobs(decode(content))))
        return tuple(needed)


def check_digest(digest: object) -> None:
    """Raise an error unless this is a SHA-256 in hex, and so a plain name of a file."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise TreeError(f"{shorten(repr(digest), 80)} is not a SHA-256")


def describe_workspace(context: RunContext, known: KnownSecrets) -> Catalog:
    """Return the workspace of a run, its files outside the workspace, and its binary.

    Of a git work tree, that is its repository, all tracked and all untracked files, but not those
    that git ignores. isosmoke's own directories and `known` secret files are left out. The copies
    of files that the context has replace them.

    Raises:
        IsosmokeError: if a file cannot be read, or git has a secret file in its repository.
    """
    catalog = Catalog()
    private = tuple(mounts.list_private_directories(context.workspace))

    def is_left_out(path: Path) -> bool:
        return known.includes(path) or any(path.is_relative_to(each) for each in private)

    environment = context.caller.environment
    for directory in context.workspace.directories:
        _refuse_tracked(directory, environment, known)
    for directory in (*context.workspace.directories, *context.workspace.borrowed_objects):
        listing = tuple(_describe(directory, environment, is_left_out, context.copies))
        catalog.add_tree(directory, listing, context.copies)
    if context.binary is not None:
        name = context.binary.source.name
        catalog.blobs[context.binary.sha256] = context.binary.folder / name
    return catalog


def _find_content(path: Path, copies: Path | None) -> Path:
    """Return the copy of a file or link; the path itself if there is none."""
    if copies is None:
        return path
    copy = copies / path.relative_to("/")
    is_file = os.path.lexists(copy) and (copy.is_symlink() or not copy.is_dir())
    return copy if is_file else path


def _describe(
    top: Path,
    environment: Mapping[str, str],
    is_left_out: Callable[[Path], bool],
    copies: Path | None,
) -> Iterator[TreeEntry]:
    parents = set[Path]()
    for path in _list_paths(top, environment):
        if is_left_out(path):
            continue
        for parent in reversed(path.relative_to(top).parents):
            if parent.parts and parent not in parents:
                parents.add(parent)
                yield from _create_entry(top / parent, top, copies)
        if path.relative_to(top) not in parents:
            yield from _create_entry(path, top, copies)


def _list_paths(top: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield a path and what is below it; of a git work tree, not what git ignores."""
    is_work_tree = top.is_dir() and not top.is_symlink() and has_repository(top)
    return _list_of_git(top, environment) if is_work_tree else _walk(top)


def _list_of_git(top: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the top, the repository in it, and the tracked and untracked files.

    Nested repositories and submodules have their own rules for what git ignores.
    """
    yield top
    output = git.run(
        top, "ls-files", "-z", "--cached", "--others", "--exclude-standard", environment=environment
    )
    yield from _walk(top / ".git")
    for name in dict.fromkeys(output.split(b"\0")):
        path = top / os.fsdecode(name) if name else None
        if path is not None and os.path.lexists(path):
            yield from _list_paths(path, environment)


def _refuse_tracked(top: Path, environment: Mapping[str, str], known: KnownSecrets) -> None:
    """Raise an error if git tracks a secret file, and so has its content in the repository."""
    if not has_repository(top):
        return
    inside = sorted(str(path.relative_to(top)) for path in known.paths if top in path.parents)
    if not inside:
        return
    names = ("ls-files", "-z", "--cached", "--", *inside)
    if tracked := git.run(top, *names, environment=environment).split(b"\0")[0]:
        raise UsageError(
            f"{top / os.fsdecode(tracked)} is secret, but git tracks it, so that workers would "
            "receive it with the repository",
            "remove it from the repository, or name it in plain_files",
        )


def _walk(top: Path) -> Iterator[Path]:
    """Yield a path and everything below it, without following links."""
    yield top
    if top.is_dir() and not top.is_symlink():
        try:
            names = sorted(os.listdir(top))  # noqa: PTH208 - a Path per name would be slow
        except OSError as error:
            raise _unreadable_error(top, error) from error
        for name in names:
            yield from _walk(top / name)


def _create_entry(path: Path, top: Path, copies: Path | None) -> Iterator[TreeEntry]:
    """Yield the entry of a path; nothing for a socket, a pipe, a device or a vanished file."""
    try:
        content = _find_content(path, copies)
        status = content.lstat()
        name = "" if path == top else str(path.relative_to(top))
        mode, mtime = stat.S_IMODE(status.st_mode), status.st_mtime_ns
        if stat.S_ISDIR(status.st_mode):
            yield TreeEntry(name, "directory", mode, mtime, 0, "")
        elif stat.S_ISLNK(status.st_mode):
            yield TreeEntry(name, "link", 0, mtime, 0, str(content.readlink()))
        elif stat.S_ISREG(status.st_mode):
            yield TreeEntry(name, "file", mode, mtime, status.st_size, files.sha256(content))
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable_error(path, error) from error


def _unreadable_error(path: Path, error: OSError) -> IsosmokeError:
    return IsosmokeError(
        f"{path} cannot be sent to workers: {error.strerror}",
        "make it readable, or let git ignore it",
    )


def encode(listing: Iterable[TreeEntry]) -> bytes:
    """Return a listing as JSON; bytes of paths that are no text are kept."""
    return json.dumps([astuple(entry) for entry in listing]).encode("ascii")


def decode(content: bytes) -> tuple[TreeEntry, ...]:
    """Return the entries of a listing.

    Raises:
        TreeError: if it is not a listing, or a path leads out of the tree.
    """
    try:
        listing = tuple(map(_parse_entry, json.loads(content)))
    except (ValueError, TypeError) as error:
        raise TreeError(f"a listing is not readable: {error}") from error
    if len(listing) > MAX_ENTRIES:
        raise TreeError(f"a listing has more than {MAX_ENTRIES} entries")
    _check_paths(listing)
    return listing


def _parse_entry(values: list[Any]) -> TreeEntry:
    path, kind, mode, mtime, size, target, uid, gid, attributes = values
    named = tuple((str(name), str(text)) for name, text in attributes)
    return TreeEntry(path, kind, mode, mtime, size, target, uid, gid, named)


def _check_paths(listing: Iterable[TreeEntry]) -> None:
    """Raise an error unless each entry is in a directory of the tree that is listed before it."""
    kinds: dict[str, str] = {}
    for entry in listing:
        parent, _, name = entry.path.rpartition("/")
        is_inside = kinds.get(parent) == "directory" and not entry.path.startswith("/")
        if (entry.path or kinds) and (not is_inside or name in {"", ".", ".."}):
            raise TreeError(f"{entry.path!r} is not in its tree")
        if entry.kind not in _KINDS or kinds.get(entry.path, "directory") != "directory":
            raise TreeError(f"{entry.path!r} is no entry of a tree")
        if entry.kind == "file":
            check_digest(entry.target)
        if entry.kind == "hardlink" and kinds.get(entry.target) not in _LINKABLE:
            raise TreeError(f"{entry.target!r} is not a file of its tree")
        kinds[entry.path] = entry.kind


def list_blobs(listing: Iterable[TreeEntry]) -> tuple[str, ...]:
    """Return the digests of the files of a listing."""
    return tuple(dict.fromkeys(entry.target for entry in listing if entry.kind == "file"))
