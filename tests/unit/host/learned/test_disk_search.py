"""The result of a search of the disk is kept until a path that the search looked at changes."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from isosmoke.host.learned import disk_search, identities
from isosmoke.host.learned.disk_search import Disk
from support.file_times import pass_tick, settle

Look = Callable[[Disk, Path], object]
Change = Callable[[Path], object]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Return a directory with a file, a directory with an entry, and a chain of two links."""
    top = tmp_path / "top"
    (top / "directory/inner").mkdir(parents=True)
    (top / "file").write_text("one")
    (top / "first").symlink_to("second")
    (top / "second").symlink_to("directory")
    return top


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files of a test count as changed some time ago."""
    settle(monkeypatch)


class Searches:
    """A search that counts how often it was made."""

    def __init__(self, look: Look, top: Path) -> None:
        self.number = 0
        self._look = look
        self._top = top

    def find(self) -> object:
        """Return the result of the search, kept or new."""
        return disk_search.find("test", "subject", {}, self._search)

    def _search(self, disk: Disk) -> object:
        self.number += 1
        found = self._look(disk, self._top)
        return sorted(found) if isinstance(found, list) else found


def replace_link(link: Path, target: str) -> None:
    """Replace a link by one with another target."""
    link.unlink()
    link.symlink_to(target)


def exchange(top: Path) -> None:
    """Replace a file by a directory, and a directory by a file."""
    (top / "file").unlink()
    (top / "file").mkdir()
    (top / "directory/inner").rmdir()
    (top / "directory/inner").touch()


def overwrite(top: Path) -> None:
    """Replace a file by another one."""
    (top / "new").write_text("two")
    (top / "new").rename(top / "file")


def names(entries: Sequence["os.DirEntry[str]"]) -> list[str]:
    """Return the names of entries."""
    return [entry.name for entry in entries]


CASES: dict[str, tuple[Look, Change]] = {
    "a missing path appears": (
        lambda disk, top: disk.exists(top / "new"),
        lambda top: (top / "new").touch(),
    ),
    "a path vanishes": (
        lambda disk, top: disk.exists(top / "file"),
        lambda top: (top / "file").unlink(),
    ),
    "a file becomes a directory": (
        lambda disk, top: disk.is_file(top / "file"),
        exchange,
    ),
    "a directory becomes a file": (
        lambda disk, top: disk.is_directory(top / "directory/inner"),
        exchange,
    ),
    "a directory is closed": (
        lambda disk, top: disk.is_open(top / "directory"),
        lambda top: (top / "directory").chmod(0o600),
    ),
    "an entry appears": (
        lambda disk, top: names(disk.scan(str(top / "directory"))),
        lambda top: (top / "directory/new").touch(),
    ),
    "an entry vanishes": (
        lambda disk, top: disk.list_names(str(top / "directory")),
        lambda top: (top / "directory/inner").rmdir(),
    ),
    "an entry is renamed": (
        lambda disk, top: disk.list_names(str(top / "first")),
        lambda top: (top / "directory/inner").rename(top / "directory/other"),
    ),
    "a file is written": (
        lambda disk, top: disk.read(str(top / "file")).decode(),
        lambda top: (top / "file").write_text("two"),
    ),
    "a file is replaced": (
        lambda disk, top: disk.read(str(top / "file"), 1).decode(),
        overwrite,
    ),
    "the end of a chain of links is replaced": (
        lambda disk, top: str(disk.resolve(top / "first/inner")),
        lambda top: replace_link(top / "second", "."),
    ),
    "a link that was read is replaced": (
        lambda disk, top: str(disk.read_link(top / "first")),
        lambda top: replace_link(top / "first", "directory"),
    ),
    "the directory of an entry is another one": (
        lambda disk, top: list(map(disk.resolve_entry, disk.scan(str(top / "first")))),
        lambda top: replace_link(top / "second", "."),
    ),
    "an entry becomes a link": (
        lambda disk, top: list(map(disk.resolve_entry, disk.scan(str(top)))),
        lambda top: replace_link(top / "file", "directory"),
    ),
    "a link in a directory leads elsewhere": (
        lambda disk, top: list(map(disk.resolve_entry, disk.scan(str(top)))),
        lambda top: replace_link(top / "second", "file"),
    ),
    "a link leads elsewhere": (
        lambda disk, top: disk.exists(top / "first/inner"),
        lambda top: replace_link(top / "second", "nowhere"),
    ),
}


@pytest.mark.parametrize(("look", "change"), CASES.values(), ids=CASES)
def test_search_is_repeated_after_a_change(top: Path, look: Look, change: Change) -> None:
    """A search is made once while nothing changes, and again after a change of what it saw."""
    pass_tick(top)
    searches = Searches(look, top)
    known = searches.find()
    assert (searches.find(), searches.number) == (known, 1)

    change(top)

    assert searches.find() == look_anew(look, top)
    assert searches.number == 2


def look_anew(look: Look, top: Path) -> object:
    """Return what a search without any former one finds."""
    found = look(Disk(), top)
    return sorted(found) if isinstance(found, list) else found


def test_change_elsewhere_does_not_matter(top: Path) -> None:
    """A path that the search did not look at does not make it look again."""
    searches = Searches(lambda disk, top: disk.list_names(str(top / "directory")), top)
    searches.find()

    (top / "file").write_text("two")
    (top / "directory/inner/new").touch()
    searches.find()

    assert searches.number == 1


def test_search_of_what_has_just_changed_is_not_kept(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A further change could have the same time, so that it would not be noticed."""
    changed = (top / "file").stat().st_ctime
    monkeypatch.setattr(identities, "time", lambda: changed + 1)
    searches = Searches(lambda disk, top: disk.read(str(top / "file")).decode(), top)

    searches.find()
    searches.find()

    assert searches.number == 2


def test_missing_paths_look_empty(top: Path) -> None:
    """A path that is missing has no content, no entries and no target."""
    disk, missing = Disk(), top / "missing"

    assert not disk.exists(missing)
    assert not disk.is_open(missing)
    assert disk.read_link(missing) is None
    assert disk.read_link(top / "file") is None
    assert (disk.read(str(missing)), disk.list_names(str(missing)), disk.scan(str(missing))) == (
        b"",
        [],
        [],
    )
