"""Which records of past runs are removed when a new run starts."""

import os
import subprocess
from pathlib import Path

from isosmoke.history import layout, writer
from isosmoke.manifest import parser
from isosmoke.manifest.models import Retention
from support import available
from support.past_runs import killed, recorded
from support.project import GOOD, Project


def aged(folder: Path, name: str) -> Path:
    """The same run, as if it had started when `name` says."""
    return folder.rename(folder.with_name(name))


def test_old_runs_are_forgotten_but_never_a_live_one(tmp_path: Path) -> None:
    """Twenty stay, what is no run stays, and so does the oldest as long as it goes on."""
    live = writer.start_recording(tmp_path).folder
    dead = killed(writer.start_recording(tmp_path).folder)
    (live.parent / "0-notes").mkdir()
    finished = [recorded(tmp_path) for _ in range(21)]

    assert live.exists()
    assert not dead.exists()
    assert (live.parent / "0-notes").exists()
    assert [one.exists() for one in finished] == [False, *[True] * 20]


def test_a_run_is_forgotten_after_its_days(tmp_path: Path) -> None:
    """But the last one before the new one stays, however old it is."""
    kept = Retention(keep_days=1)
    first = aged(recorded(tmp_path), "20250101-000000-0000")
    second = aged(recorded(tmp_path), "20250102-000000-0000")
    assert first.exists()

    writer.start_recording(tmp_path, kept)
    assert (first.exists(), second.exists()) == (False, True)

    today = writer.start_recording(tmp_path, kept).folder
    writer.start_recording(tmp_path, kept)
    assert (second.exists(), today.exists()) == (False, True)


def test_runs_are_forgotten_when_they_fill_too_much(tmp_path: Path) -> None:
    """The oldest go first, until the others are within the size; no link is followed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/precious").write_bytes(bytes(5000))
    made_of = [recorded(tmp_path) for _ in range(4)]
    for one in made_of:
        (one / "log").write_bytes(bytes(1000))
        (one / "link").symlink_to(tmp_path / "elsewhere")
    whole = sum(one.lstat().st_size for one in made_of[3].iterdir())

    writer.start_recording(tmp_path, Retention(keep_size=3 * whole))

    assert [one.exists() for one in made_of] == [False, True, True, True]
    assert (tmp_path / "elsewhere/precious").exists()


def test_a_tree_too_deep_to_be_removed_stops_no_run(tmp_path: Path) -> None:
    """Whatever a scenario left in the record, the next run starts."""
    old = recorded(tmp_path)
    here = os.open(old, os.O_DIRECTORY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        above, here = here, os.open("d", os.O_DIRECTORY, dir_fd=here)
        os.close(above)
    os.close(here)
    try:
        assert recorded(tmp_path).exists()
        assert writer.start_recording(tmp_path, Retention(keep_runs=1)).folder.exists()
    finally:
        subprocess.run(["rm", "-rf", old], check=True)


def test_the_manifest_says_which_runs_are_kept() -> None:
    """Sizes are written as anywhere in a manifest; what is not said is the default."""
    text = GOOD + '[record]\nkeep_runs = 5\nkeep_size = "1M"\n'

    told = parser.parse(text, Path("/p/manifest.toml"))

    assert told.record == Retention(keep_runs=5, keep_days=30, keep_size=1 << 20)


def test_a_run_keeps_what_its_manifest_says(tmp_path: Path) -> None:
    """`[record]` counts for a run, and for the gate's."""
    available.engine("bubblewrap")
    project = Project.within(tmp_path, "[record]\nkeep_runs = 2\n" + GOOD)
    for words in (("run",), ("run",), ("run",), ("gate", "task-a"), ("run",)):
        assert project.run(*words).returncode == 0
        assert len(layout.list_folders(project.top)) <= 2


def test_a_run_that_cannot_be_looked_at_is_kept_and_named(tmp_path: Path) -> None:
    """An error while a lease is read does not mean that its run has ended."""
    doubtful = recorded(tmp_path)
    (doubtful / ".lease").mkdir()
    recorded(tmp_path)

    recording = writer.start_recording(tmp_path, Retention(keep_runs=1))

    assert doubtful.exists()
    assert recording.notes == (
        f"{doubtful} is kept, as its run may still go on: {doubtful}/.lease: Is a directory",
    )


def test_a_run_tells_which_old_records_it_had_to_keep(tmp_path: Path) -> None:
    """The note is in the summary of the run, and the run passes."""
    available.engine("bubblewrap")
    project = Project.within(tmp_path, "[record]\nkeep_runs = 1\n" + GOOD)
    doubtful = recorded(project.top)
    (doubtful / ".lease").mkdir()
    recorded(project.top)

    done = project.run("run")

    assert done.returncode == 0
    assert f"{doubtful} is kept" in " ".join((done.stdout + done.stderr).split())
