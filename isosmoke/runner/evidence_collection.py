"""Collects what a sandbox changed as evidence: the telling part, within bounds of size and time."""

import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path, PurePosixPath
from time import monotonic

from isosmoke.results.evidence import Change, Evidence, text
from isosmoke.runner.overlay_diff import Place, Walk, opened, places, unseen
from isosmoke.sandbox.spec import SandboxSpec

MOST_LISTED = 300
"""How many changes are listed; the others are counted."""

_SHARE = 32
"""How many changes right in a folder may rank as they are; what comes after them is less telling.

`wg init` alone writes hundreds of files.
"""

TEXT_OF_A_FILE = 4 * 1024
TEXT_OF_WG = 32 * 1024
TEXT_IN_ALL = 256 * 1024
"""How many bytes of text are kept: of a file, of one that belongs to wg, and of all together."""

_MOST_COMPLAINTS = 20
_ON_THE_WAY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


_Rank = tuple[bool, bool, bool, int, str]


class _LateError(Exception):
    """The time is over."""


@dataclass(slots=True)
class _Found:
    """A change, where it was found, and how it ranks: the least is the most telling."""

    rank: _Rank
    place: Place
    change: Change


def collected(
    spec: SandboxSpec, folders: Mapping[PurePosixPath, Path], *, seconds: float
) -> Evidence:
    """What changed in a sandbox whose processes are still or gone, as far as `seconds` allow."""
    collection = _Collection(monotonic() + seconds)
    for target in unseen(spec, folders):
        collection.complain(target, "what changed in it was not kept on disk")
    try:
        for place in places(spec, folders):
            collection.look(place)
        collection.read()
    except _LateError:
        collection.complain("the rest", f"there was no time for it within {seconds:g} s")
    return collection.evidence


class _Collection:
    """What was found so far, the most telling of it kept."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._found: list[_Found] = []
        self._count = 0
        self._beside: dict[int, tuple[str, int]] = {}
        self._least: _Rank | None = None
        self._complaints: list[str] = []
        self._room, self._unread = TEXT_IN_ALL, 0

    def complain(self, about: object, why: object) -> None:
        """Note what is missing."""
        self._complaints.append(f"{about}: {why}")

    def look(self, place: Place) -> None:
        """Find what changed in a place."""
        try:
            for change in Walk(place, tick=self._tick, complain=self.complain):
                self._count += 1
                rank = _rank(change, crowded=self._number(change.path) > _SHARE)
                self._add(_Found(rank, place, change))
        except OSError as error:
            self.complain(place.target, error.strerror)

    def _number(self, path: str) -> int:
        """Which change it is of those right in its folder; a walk ends one of a depth at a time."""
        folder, depth = path.rpartition("/")[0], path.count("/")
        known, number = self._beside.get(depth, (folder, 0))
        number = number + 1 if known == folder else 1
        self._beside[depth] = folder, number
        return number

    def read(self) -> None:
        """Add the texts, the most telling first, while there is room."""
        self._choose()
        for one in self._found:
            self._tick()
            one.change = self._read(one.place, one.change)
        if self._unread:
            self.complain(f"the text of {self._unread} more", f"over {TEXT_IN_ALL} bytes in all")

    @property
    def evidence(self) -> Evidence:
        """All that is kept, by path."""
        self._choose()
        more = len(self._complaints) - _MOST_COMPLAINTS
        return Evidence(
            changes=tuple(sorted((one.change for one in self._found), key=attrgetter("path"))),
            changes_left_out=self._count - len(self._found),
            missing=(
                *self._complaints[:_MOST_COMPLAINTS],
                *((f"and {more} more",) if more > 0 else ()),
            ),
        )

    def _tick(self) -> None:
        if monotonic() > self._deadline:
            raise _LateError

    def _add(self, found: "_Found") -> None:
        if self._least is None or found.rank < self._least:
            self._found.append(found)
        if len(self._found) > 2 * MOST_LISTED:
            self._choose()
            self._least = self._found[-1].rank

    def _choose(self) -> None:
        self._found.sort(key=attrgetter("rank"))
        del self._found[MOST_LISTED:]

    def _read(self, place: Place, change: Change) -> Change:
        most = min(change.size, TEXT_OF_WG if change.is_of_wg else TEXT_OF_A_FILE)
        if change.change == "removed" or change.kind not in ("file", "link"):
            return change
        if most > self._room:
            self._unread += 1
            return change
        try:
            told = _told(place, change, most)
        except OSError as error:
            self.complain(change.path, error.strerror)
            return change
        self._room -= 0 if told.text is None else most
        return told


def _rank(change: Change, *, crowded: bool) -> _Rank:
    """What belongs to wg first, then logs, then whatever lies on top; last what is one of many."""
    path = change.path
    return crowded, not change.is_of_wg, not path.endswith(".log"), path.count("/"), path


def _told(place: Place, change: Change, most: int) -> Change:
    """The change with the last `most` bytes of its text, or with where it points."""
    *folders, name = PurePosixPath(change.path).relative_to(place.target).parts
    with ExitStack() as stack:
        folder = stack.enter_context(opened(place.upper, _ON_THE_WAY))
        for one in folders:
            folder = stack.enter_context(opened(one, _ON_THE_WAY, within=folder))
        if change.kind == "link":
            return replace(change, text=text(os.fsencode(os.readlink(name, dir_fd=folder))))
        return _ended(change, stack.enter_context(opened(name, _FILE, within=folder)), most)


def _ended(change: Change, file: int, most: int) -> Change:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        return change
    content = os.pread(file, most, max(0, status.st_size - most))
    if status.st_size > most:  # a part of a secret would not be known as one
        content = content.partition(b"\n")[2]
    told = text(content) if content or not status.st_size else None
    before = max(0, status.st_size - len(content))
    return change if told is None else replace(change, text=told, before=before)
