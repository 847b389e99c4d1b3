"""Where runs are found: in a project, or in the state folder of one that cannot be written to."""

from pathlib import Path

from isosmoke.history import layout
from isosmoke.host import state
from support.fixture_types import Ordinary


def begun(home: Path, name: str) -> Path:
    """A run's folder with a header."""
    folder = home / layout.RUNS / name
    folder.mkdir(parents=True)
    (folder / layout.HEADER).write_text("{}")
    return folder


def test_runs_of_all_homes_are_told_newest_first(tmp_path: Path) -> None:
    """From anywhere in a work tree they are the runs of its top, wherever each is kept."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "inner").mkdir()
    inside, outside = layout.homes(tmp_path)
    first = begun(inside, "20260101-120000-0000")
    last = begun(outside, "20260101-120001-0000")

    assert outside == state.project(tmp_path)
    assert layout.list_folders(tmp_path / "inner") == (last, first)


def test_what_is_no_run_is_not_told(tmp_path: Path) -> None:
    """Another name, a link, a file and a folder without a header are nobody's run."""
    home, _ = layout.homes(tmp_path)
    run = begun(home, "20260101-120000-0000")
    begun(home, "20260101")
    (home / "runs/20260101-120000-0001").symlink_to(run)
    (home / "runs/20260101-120000-0002").write_text("")
    (home / "runs/20260101-120000-0003").mkdir()

    assert layout.list_folders(tmp_path) == (run,)


CLOSED = """
import sys
from pathlib import Path
from isosmoke.errors import RecordError
from isosmoke.history import layout
try:
    print(layout.list_folders(Path(sys.argv[1])))
except RecordError as error:
    print(error.message)
"""


def test_runs_that_cannot_be_listed_are_not_missing(tmp_path: Path, ordinary: Ordinary) -> None:
    """A directory that this user may not read is an error that names it."""
    home, _ = layout.homes(tmp_path)
    runs = begun(home, "20260101-120000-0000").parent
    runs.chmod(0)

    said = ordinary(CLOSED, tmp_path)
    runs.chmod(0o755)

    assert said == f"cannot list the runs in {runs}: Permission denied"
