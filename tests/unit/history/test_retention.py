"""Removal of old run records when a new run starts."""

import os
import subprocess
from pathlib import Path

from isosmoke.history import writer
from isosmoke.manifest import parser
from isosmoke.manifest.models import Retention
from support.past_runs import mark_killed, record_run
from support.project import GOOD


def set_start(directory: Path, name: str) -> Path:
    """Rename a run's directory as if it had started at the time in `name`."""
    return directory.rename(directory.with_name(name))


def test_old_runs_are_removed_but_never_a_live_one(tmp_path: Path) -> None:
    """Twenty runs stay, as do other entries and the oldest run while it is in progress."""
    live = writer.start_recording(tmp_path).directory
    dead = mark_killed(writer.start_recording(tmp_path).directory)
    (live.parent / "0-notes").mkdir()
    finished = [record_run(tmp_path) for _ in range(21)]

    assert live.exists()
    assert not dead.exists()
    assert (live.parent / "0-notes").exists()
    assert [run.exists() for run in finished] == [False, *[True] * 20]


def test_run_is_removed_after_its_days(tmp_path: Path) -> None:
    """The newest run stays, however old it is."""
    retention = Retention(keep_days=1)
    first = set_start(record_run(tmp_path), "20250101-000000-0000")
    second = set_start(record_run(tmp_path), "20250102-000000-0000")
    assert first.exists()

    writer.start_recording(tmp_path, retention)
    assert (first.exists(), second.exists()) == (False, True)

    today = writer.start_recording(tmp_path, retention).directory
    writer.start_recording(tmp_path, retention)
    assert (second.exists(), today.exists()) == (False, True)


def test_runs_are_removed_when_too_large(tmp_path: Path) -> None:
    """The oldest are removed until the others fit the size; links are not followed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/precious").write_bytes(bytes(5000))
    runs = [record_run(tmp_path) for _ in range(4)]
    for run in runs:
        (run / "log").write_bytes(bytes(1000))
        (run / "link").symlink_to(tmp_path / "elsewhere")
    whole = sum(path.lstat().st_size for path in runs[3].iterdir())

    writer.start_recording(tmp_path, Retention(keep_size=3 * whole))

    assert [run.exists() for run in runs] == [False, True, True, True]
    assert (tmp_path / "elsewhere/precious").exists()


def test_tree_too_deep_to_remove_does_not_stop_a_run(tmp_path: Path) -> None:
    """The next run starts, whatever a scenario left in a record."""
    old = record_run(tmp_path)
    here = os.open(old, os.O_DIRECTORY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        above, here = here, os.open("d", os.O_DIRECTORY, dir_fd=here)
        os.close(above)
    os.close(here)
    try:
        assert record_run(tmp_path).exists()
        assert writer.start_recording(tmp_path, Retention(keep_runs=1)).directory.exists()
    finally:
        subprocess.run(["rm", "-rf", old], check=True)


def test_manifest_sets_retention() -> None:
    """Sizes have the manifest's usual format, and omitted keys have their defaults."""
    text = GOOD + '[record]\nkeep_runs = 5\nkeep_size = "1M"\n'

    manifest = parser.parse(text, Path("/p/manifest.toml"))

    assert manifest.record == Retention(keep_runs=5, keep_days=30, keep_size=1 << 20)


def test_run_of_unknown_state_is_kept_and_named(tmp_path: Path) -> None:
    """An error in reading a lease does not mean that the run has ended."""
    doubtful = record_run(tmp_path)
    (doubtful / ".lease").mkdir()
    record_run(tmp_path)

    recording = writer.start_recording(tmp_path, Retention(keep_runs=1))

    assert doubtful.exists()
    (note,) = recording.notes
    reason = f"{doubtful}/.lease: Is a directory"
    assert note == f"{doubtful} is kept because its run may still be in progress: {reason}"
