"""The caches of this machine's user that a sandbox shows, copy-on-write."""

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from pathlib import Path, PurePosixPath

from isosmoke.caches.catalog import CATALOG, CacheRoot
from isosmoke.dataclass import dataclass
from isosmoke.host import mount_table, state
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace, contains_home
from isosmoke.sandbox.added import user_files
from isosmoke.sandbox.spec import CopyOnWrite, Mount, ReadOnly

MAX_ORIGINS = 50_000
"""The maximum number of files of a cache that are searched for tokens; a larger one is hidden.

Where any depth is searched, the directories count too.
"""

MAX_BYTES = 1 << 20
"""The maximum size of a file that is searched, in bytes; a larger one is empty in a sandbox."""

_USER = re.compile(rb"(?P<scheme>[A-Za-z0-9+.-]\\?:(?:\\?/){2})[^/\s\"'<>@]+@")
"""The user and password of a URL (RFC 3986, 3.2.1).

Only the last character of the scheme is searched, so that the time is linear. A file of properties
has a backslash before each colon and equals sign (java.util.Properties.store), and JSON may have
one before each slash (RFC 8259, 7).
"""

_TOKEN = re.compile(
    rb"(?P<name>(?:[?&;]|\\u0026)"
    rb"[\w.-]*(?:token|key|secret|signature|sig|password|passwd|auth|credential)\\?=)"
    rb"[^&\s\"'<>#]+",
    re.IGNORECASE,
)
"""A query parameter of a URL whose value is secret, by its name."""

_HEADER = re.compile(
    rb"(?P<name>authorization(?:\\?[\"'])?\s*\\?[:=]\s*(?:\\?[\"'])?)(?:\w+[ \t]+)?[^\s\"'\\]+",
    re.IGNORECASE,
)
"""A header that git sends (git-config(1), `http.extraHeader`), with or without a scheme."""

_MASK = b"isosmoke-masked"


@dataclass(frozen=True, slots=True)
class Caches:
    """Mounts of caches, the variables that say where they are, and notes about hidden ones."""

    mounts: tuple[Mount, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_caches(
    names: Iterable[str],
    caller: Caller,
    workspace: Workspace,
    kept: Path | None = None,
    *,
    creates: bool = False,
) -> Caches:
    """Return the caches of these tools that exist, with what former runs added to them in `kept`.

    With `creates`, caches that do not exist are empty, except those whose name is a pattern.
    A cache in the workspace is part of the workspace. One that contains mounts cannot be copied.
    """
    table = mount_table.find_visible(mount_table.read_table())
    mounts: list[Mount] = []
    variables: dict[str, str] = {}
    notes: list[str] = []
    for root in (root for name in dict.fromkeys(names) for root in CATALOG[name]):
        directory = _locate(root, caller)
        if contains_home(directory, caller.home) or workspace.includes(directory.resolve()):
            continue
        masks = _list_masks(root, directory)
        if masks is None:
            notes.append(f"the cache {directory} has too many files to search for tokens: hidden")
            continue
        copies = tuple(
            copy
            for copy in _list_copies(root, directory, kept, creates=creates)
            if not any(mount_table.find_below(copy.source, table))
            and not _is_shown(copy.target, mounts)
        )
        mounts += [*copies, *(mask for mask in masks if _is_shown(mask.target, copies))]
        if copies and root.variable and directory != _get_default(root, caller):
            variables[root.variable] = str(directory)
    return Caches(tuple(mounts), variables, tuple(notes))


def mask_tokens(content: bytes) -> bytes:
    """Return a text with a placeholder for each user, password and token in a URL or header."""
    content = _USER.sub(rb"\g<scheme>" + _MASK + b"@", content)
    content = _HEADER.sub(rb"\g<name>" + _MASK, content)
    return _TOKEN.sub(rb"\g<name>" + _MASK, content)


def is_hidden(path: PurePosixPath, caller: Caller) -> bool:
    """Return whether a path in a cache is that of a file of configuration."""
    return any(str(name) in root.hidden for root, name in _find_roots(path, caller))


def records_origin(path: PurePosixPath, caller: Caller) -> bool:
    """Return whether a path in a cache is that of a file whose URLs may have tokens."""
    return any(
        _matches(name, pattern)
        for root, name in _find_roots(path, caller)
        for pattern in root.origins
    )


def _find_roots(path: PurePosixPath, caller: Caller) -> Iterator[tuple[CacheRoot, PurePosixPath]]:
    """Yield the roots that contain a path, and its name relative to each."""
    for root in (root for roots in CATALOG.values() for root in roots):
        directory = _locate(root, caller)
        if path.is_relative_to(directory):
            yield root, path.relative_to(directory)


def _matches(name: PurePosixPath, pattern: str) -> bool:
    top, is_deep, last = pattern.partition("/**/")
    if is_deep:
        return name.is_relative_to(top) and fnmatch.fnmatchcase(name.name, last)
    patterns = PurePosixPath(pattern).parts
    return len(patterns) == len(name.parts) and all(map(fnmatch.fnmatchcase, name.parts, patterns))


def locate_kept(kept: Path, target: PurePosixPath) -> Path:
    """Return the directory for what runs of a project added to a cache."""
    return kept / str(target).strip("/").replace("%", "%25").replace("/", "%2F")


def _get_default(root: CacheRoot, caller: Caller) -> Path:
    """Return where a tool looks if none of the caller's variables is set."""
    return caller.home / (f".cache/{root.cache}" if root.cache else root.default)


def _locate(root: CacheRoot, caller: Caller) -> Path:
    variables = caller.environment
    if named := variables.get(root.variable):
        return Path(os.path.normpath(caller.working / named))
    if root.default == "go/pkg/mod" and variables.get("GOPATH"):
        return Path(variables["GOPATH"].split(":")[0], "pkg/mod")
    if root.cache:
        return Path(variables.get("XDG_CACHE_HOME") or caller.home / ".cache", root.cache)
    return _get_default(root, caller)


def _list_copies(
    root: CacheRoot, directory: Path, kept: Path | None, *, creates: bool
) -> Iterator[CopyOnWrite]:
    for entry in root.entries:
        for path in _list_entries(directory, entry):
            target = PurePosixPath(path)
            above = locate_kept(kept, target) if kept else None
            above = above if above and above.is_dir() else None
            if os.access(path, os.R_OK | os.X_OK) and path.is_dir():
                yield CopyOnWrite(path.resolve(), at=target, above=above, is_cache=True)
            elif (creates or above) and not os.path.lexists(path):
                empty = state.ensure_directory("empty")
                yield CopyOnWrite(empty, at=target, above=above, is_cache=True)


def _list_entries(directory: Path, entry: str) -> Iterable[Path]:
    return sorted(directory.glob(entry)) if "*" in entry else (directory / entry,)


def _list_masks(root: CacheRoot, directory: Path) -> tuple[ReadOnly, ...] | None:
    """Return the files to show in place of those with secrets; None if there are too many files."""
    masks = [
        ReadOnly(user_files.store_text(""), PurePosixPath(directory, name), is_mask=True)
        for name in root.hidden
        if (directory / name).is_file()
    ]
    files = (file for pattern in root.origins for file in _list_origins(directory, pattern))
    for number, file in enumerate(files):
        if number >= MAX_ORIGINS:
            return None
        if (shown := _mask_file(file)) is not None:
            masks.append(ReadOnly(shown, PurePosixPath(file), is_mask=True))
    return tuple(masks)


def _list_origins(directory: Path, pattern: str) -> Iterator[Path]:
    """Yield the files that match; with `**`, each directory too, which makes a search countable."""
    top, is_deep, name = pattern.partition("/**/")
    if not is_deep:
        yield from directory.glob(pattern)
        return
    for parent, _, files in os.walk(directory / top):
        yield Path(parent)
        yield from (Path(parent, file) for file in fnmatch.filter(files, name))


def _mask_file(file: Path) -> Path | None:
    """Return a copy of a file without tokens; None if it has none or is no file."""
    with suppress(OSError):
        if not file.is_file() or file.is_symlink():
            return None
        if file.stat().st_size > MAX_BYTES:
            return user_files.store_text("")
        content = file.read_bytes()
        masked = mask_tokens(content)
        if masked != content:
            return user_files.store_text(masked.decode(errors="surrogateescape"))
    return None


def _is_shown(target: PurePosixPath, copies: Iterable[Mount]) -> bool:
    return any(target.is_relative_to(copy.target) for copy in copies)
