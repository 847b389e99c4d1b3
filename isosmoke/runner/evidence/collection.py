"""The collection of a sandbox's most relevant changes, within limits of size and time."""

import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from operator import attrgetter
from pathlib import Path, PurePosixPath
from time import monotonic

from isosmoke.dataclass import dataclass
from isosmoke.results.evidence import Change, Evidence, decode_text
from isosmoke.runner.evidence.overlay_diff import (
    ChangedMount,
    Walk,
    find_unstored,
    list_changed_mounts,
    opened,
)
from isosmoke.sandbox.spec import SandboxSpec

MAX_LISTED = 300
"""The maximum number of listed changes; all others are only counted."""

_MAX_PER_DIRECTORY = 32
"""The maximum number of changes directly in a directory that keep their rank.

Further changes rank lower, because `wg init` alone writes hundreds of files.
"""

MAX_FILE_TEXT = 4 * 1024
MAX_WG_TEXT = 32 * 1024
MAX_TOTAL_TEXT = 256 * 1024
"""The maximum size of text in bytes: of a file, of a file of wg, and of all files in total."""

_MAX_COMPLAINTS = 20
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


_Rank = tuple[bool, bool, bool, int, str]


class _DeadlineError(Exception):
    """The deadline has passed."""


@dataclass(slots=True)
class _Candidate:
    """A change, its mount, and its rank: the lowest rank is the most relevant."""

    rank: _Rank
    mount: ChangedMount
    change: Change


def collect_changes(
    spec: SandboxSpec, directories: Mapping[PurePosixPath, Path], *, seconds: float
) -> Evidence:
    """Return the changes of a sandbox without running processes, as found within `seconds`."""
    collection = _Collection(monotonic() + seconds)
    for target in find_unstored(spec, directories):
        collection.complain(target, "its changes were not stored on disk")
    try:
        for mount in list_changed_mounts(spec, directories):
            collection.add_changes(mount)
        collection.add_texts()
    except _DeadlineError:
        collection.complain("the rest", f"not collected within {seconds:g} s")
    return collection.evidence


class _Collection:
    """The most relevant changes so far."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._candidates: list[_Candidate] = []
        self._count = 0
        self._siblings: dict[int, tuple[str, int]] = {}
        self._max_rank: _Rank | None = None
        self._complaints: list[str] = []
        self._remaining, self._unread = MAX_TOTAL_TEXT, 0

    def complain(self, about: object, why: object) -> None:
        """Record that something could not be collected."""
        self._complaints.append(f"{about}: {why}")

    def add_changes(self, mount: ChangedMount) -> None:
        """Add the changes in a mount."""
        try:
            for change in Walk(mount, tick=self._tick, complain=self.complain):
                self._count += 1
                rank = _compute_rank(
                    change, crowded=self._count_sibling(change.path) > _MAX_PER_DIRECTORY
                )
                self._add(_Candidate(rank, mount, change))
        except OSError as error:
            self.complain(mount.target, error.strerror)

    def _count_sibling(self, path: str) -> int:
        """Return the position of a change in its directory.

        A walk has one open directory at each depth.
        """
        directory, depth = path.rpartition("/")[0], path.count("/")
        known, number = self._siblings.get(depth, (directory, 0))
        number = number + 1 if known == directory else 1
        self._siblings[depth] = directory, number
        return number

    def add_texts(self) -> None:
        """Add the texts, the most relevant first, up to the maximum size."""
        self._discard_least_relevant()
        for candidate in self._candidates:
            self._tick()
            candidate.change = self._add_text(candidate.mount, candidate.change)
        if self._unread:
            self.complain(
                f"the text of {self._unread} more", f"over {MAX_TOTAL_TEXT} bytes in total"
            )

    @property
    def evidence(self) -> Evidence:
        """The retained changes, sorted by path."""
        self._discard_least_relevant()
        more = len(self._complaints) - _MAX_COMPLAINTS
        return Evidence(
            changes=tuple(
                sorted((candidate.change for candidate in self._candidates), key=attrgetter("path"))
            ),
            changes_left_out=self._count - len(self._candidates),
            missing=(
                *self._complaints[:_MAX_COMPLAINTS],
                *((f"and {more} more",) if more > 0 else ()),
            ),
        )

    def _tick(self) -> None:
        if monotonic() > self._deadline:
            raise _DeadlineError

    def _add(self, candidate: "_Candidate") -> None:
        if self._max_rank is None or candidate.rank < self._max_rank:
            self._candidates.append(candidate)
        if len(self._candidates) > 2 * MAX_LISTED:
            self._discard_least_relevant()
            self._max_rank = self._candidates[-1].rank

    def _discard_least_relevant(self) -> None:
        self._candidates.sort(key=attrgetter("rank"))
        del self._candidates[MAX_LISTED:]

    def _add_text(self, mount: ChangedMount, change: Change) -> Change:
        max_size = min(change.size, MAX_WG_TEXT if change.is_of_wg else MAX_FILE_TEXT)
        if change.change == "removed" or change.kind not in ("file", "link"):
            return change
        if max_size > self._remaining:
            self._unread += 1
            return change
        try:
            changed = _read_text(mount, change, max_size)
        except OSError as error:
            self.complain(change.path, error.strerror)
            return change
        self._remaining -= 0 if changed.text is None else max_size
        return changed


def _compute_rank(change: Change, *, crowded: bool) -> _Rank:
    """Rank files of wg first, then logs, then by depth; changes in crowded directories last."""
    path = change.path
    return crowded, not change.is_of_wg, not path.endswith(".log"), path.count("/"), path


def _read_text(mount: ChangedMount, change: Change, max_size: int) -> Change:
    """Return the change with the end of its text, or with the target of a link."""
    *directories, name = PurePosixPath(change.path).relative_to(mount.target).parts
    with ExitStack() as stack:
        directory = stack.enter_context(opened(mount.upper, _DIRECTORY))
        for path in directories:
            directory = stack.enter_context(opened(path, _DIRECTORY, within=directory))
        if change.kind == "link":
            return replace(
                change, text=decode_text(os.fsencode(os.readlink(name, dir_fd=directory)))
            )
        file = stack.enter_context(opened(name, _FILE, within=directory))
        return _read_end(change, file, max_size)


def _read_end(change: Change, file: int, max_size: int) -> Change:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        return change
    content = os.pread(file, max_size, max(0, status.st_size - max_size))
    # Part of a secret would not be redacted, so an incomplete first line is dropped.
    if status.st_size > max_size:
        content = content.partition(b"\n")[2]
    end = decode_text(content) if content or not status.st_size else None
    before = max(0, status.st_size - len(content))
    return change if end is None else replace(change, text=end, before=before)
