"""Location of runs: in a project, or in the state directory if the project is read-only."""

from pathlib import Path

from isosmoke.history import layout
from isosmoke.host import state
from support.fixture_types import Ordinary


def create_run(home: Path, name: str) -> Path:
    """Create a run's directory with a header, and return it."""
    directory = home / layout.RUNS / name
    directory.mkdir(parents=True)
    (directory / layout.HEADER).write_text("{}")
    return directory


def test_runs_of_all_homes_are_listed_newest_first(tmp_path: Path) -> None:
    """From anywhere in a work tree, the runs of its root are listed, wherever they are stored."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "inner").mkdir()
    inside, outside = layout.list_homes(tmp_path)
    first = create_run(inside, "20260101-120000-0000")
    last = create_run(outside, "20260101-120001-0000")

    assert outside == state.get_fallback_directory(tmp_path)
    assert layout.list_run_directories(tmp_path / "inner") == (last, first)


def test_only_runs_are_listed(tmp_path: Path) -> None:
    """A foreign name, a link, a file and a directory without a header are not runs."""
    home, _ = layout.list_homes(tmp_path)
    run = create_run(home, "20260101-120000-0000")
    create_run(home, "20260101")
    (home / "runs/20260101-120000-0001").symlink_to(run)
    (home / "runs/20260101-120000-0002").write_text("")
    (home / "runs/20260101-120000-0003").mkdir()

    assert layout.list_run_directories(tmp_path) == (run,)


CLOSED = """
import sys
from pathlib import Path
from isosmoke.errors import RecordError
from isosmoke.history import layout
try:
    print(layout.list_run_directories(Path(sys.argv[1])))
except RecordError as error:
    print(error.message)
"""


def test_unreadable_runs_are_an_error(tmp_path: Path, ordinary: Ordinary) -> None:
    """The error names the directory that the user may not read."""
    home, _ = layout.list_homes(tmp_path)
    runs = create_run(home, "20260101-120000-0000").parent
    runs.chmod(0)

    message = ordinary(CLOSED, tmp_path)
    runs.chmod(0o755)

    assert message == f"cannot list the runs in {runs}: Permission denied"
