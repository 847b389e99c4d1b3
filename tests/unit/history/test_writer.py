"""The record of a run that goes on: whole whatever is written, and no verdict depends on it."""

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isosmoke.history import layout, reader, writer
from isosmoke.host.leases import Lease
from isosmoke.results import run_record
from isosmoke.results.leaks import Verdict
from isosmoke.results.outcome import Broke, Exited, Signaled, Stopped, TimedOut, Unmet
from isosmoke.results.run_results import Attempt, Captured
from isosmoke.sandbox.processes import Process
from support import available, result_factories
from support.fixture_types import Ordinary
from support.past_runs import FAILED, PASSED, outcomes, recorded
from support.project import GOOD, Project

TEXT = st.text(st.characters(codec=None), max_size=20)
SECONDS = st.floats(0, 1e6)
ENDINGS = st.one_of(
    st.builds(Exited, st.integers(0, 255)),
    st.builds(Signaled, st.integers(1, 64)),
    st.builds(TimedOut, SECONDS),
    *(st.builds(one, TEXT) for one in (Unmet, Broke, Stopped)),
)
PROCESSES = st.builds(
    Process,
    pid=st.integers(1),
    ppid=st.integers(0),
    argv=st.lists(TEXT, max_size=3).map(tuple),
    cwd=TEXT,
    exe=TEXT,
    age_seconds=SECONDS,
    state=st.sampled_from("RSDZ"),
    listens=st.lists(TEXT, max_size=2).map(tuple),
)
ATTEMPTS = st.builds(
    Attempt,
    ending=ENDINGS,
    verdict=st.builds(Verdict, st.lists(PROCESSES, max_size=2).map(tuple)),
    output=st.binary(max_size=99).map(lambda head: Captured(head=head, size=len(head))),
    stderr=st.binary(max_size=99).map(lambda head: Captured(head=head, size=len(head))),
    phases=st.dictionaries(st.sampled_from(["create", "run", "settle"]), SECONDS),
    alone=st.booleans(),
    begun=SECONDS,
    environment=st.dictionaries(TEXT, TEXT, max_size=3),
)


@settings(deadline=None)
@given(
    st.lists(st.lists(ATTEMPTS, min_size=1, max_size=3), max_size=4),
    st.builds(dict, seconds=SECONDS, stopped=TEXT, command=st.lists(TEXT).map(tuple)),
)
def test_what_is_kept_is_what_is_read(
    attempts: list[list[Attempt]], others: dict[str, object]
) -> None:
    """Whatever a run was, its record comes back from disk as it was."""
    told = [
        result_factories.result(*ones, name=f"s{number}") for number, ones in enumerate(attempts)
    ]
    with TemporaryDirectory() as top:
        recording = writer.start_recording(Path(top))
        run = result_factories.run(*told, record=recording.folder, **others)
        recording.begin(run, [one.scenario for one in told])
        for one in told:
            recording.keep(one)
        recording.end(run)

        assert recording.lost == ""
        assert reader.load_run(recording.folder) == run_record.of(run)


def test_a_finished_run_holds_no_lease_and_nothing_unfinished(tmp_path: Path) -> None:
    """What is left of a run are its header and its results."""
    folder = recorded(tmp_path, result_factories.result(PASSED))

    assert sorted(one.name for one in folder.rglob("*")) == ["one", "result.json", "run.json"]
    assert json.loads((folder / "one/result.json").read_text())["outcome"] == "PASS"
    assert json.loads((folder / "run.json").read_text())["finished"] is True


@contextmanager
def _full(most: int) -> Iterator[None]:
    """Nobody may make a file longer than this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_written_is_told_once_and_costs_nothing_else(tmp_path: Path) -> None:
    """A result that does not fit leaves no half of itself; the first reason stays."""
    one, two = (result_factories.result(PASSED, name=name) for name in ("one", "two"))
    recording = writer.start_recording(tmp_path)
    recording.begin(result_factories.run(), [one.scenario, two.scenario])
    with _full(100):
        recording.keep(one)
        recording.keep(two)
    recording.end(result_factories.run(one, two))

    assert recording.lost == f"{recording.folder}/one/result.json: File too large"
    assert list((recording.folder / "one").iterdir()) == []
    run = reader.load_run(recording.folder)
    assert outcomes(run)["one"] == "NOT_RUN its result could not be kept"
    assert run.counts == {"PASS": 2}


def test_a_log_that_is_not_whole_is_told_by_the_record(tmp_path: Path) -> None:
    """Evidence that is missing is a loss as well."""
    recording = writer.start_recording(tmp_path)
    recording.keep(
        result_factories.result(Attempt(ending=Exited(0), unlogged="/log: No space left"))
    )

    assert recording.lost == "/log: No space left"


def test_a_record_whose_folder_is_gone_costs_no_verdict(tmp_path: Path) -> None:
    """Whoever removes it under a live run gets a warning, not an error."""
    recording = writer.start_recording(tmp_path)
    shutil.rmtree(recording.folder)
    recording.keep(result_factories.result(PASSED))
    recording.end(result_factories.run(result_factories.result(PASSED)))

    assert recording.lost.endswith("one/result.json: No such file or directory")


def test_a_project_that_cannot_be_written_to_is_recorded_in_the_state_folder(
    tmp_path: Path, ordinary: Ordinary, state_folder: Path
) -> None:
    """Its runs are found again, and those of another project are not."""
    fixed, other = tmp_path / "fixed", tmp_path / "other"
    fixed.mkdir(mode=0o555)
    other.mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from isosmoke.history import reader, writer\n"
        "print(writer.start_recording(Path(sys.argv[1])).folder)"
    )

    folder = Path(ordinary(code, fixed))

    assert folder.is_relative_to(state_folder)
    shutil.copy(recorded(other) / "run.json", folder)
    assert layout.list_folders(fixed) == (folder,)
    assert folder not in layout.list_folders(other)


def test_many_runs_at_once_each_have_a_folder(tmp_path: Path) -> None:
    """Runs of one project never meet."""
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: writer.start_recording(tmp_path).folder, range(16)))

    assert len(set(started)) == 16
    assert all(str(Lease.mine()) == (one / ".lease").read_text() for one in started)


FILL = """
[[scenario]]
name = "prints"
script = "scenarios/prints.sh"
"""


def test_a_full_disk_costs_the_record_and_no_verdict(tmp_path: Path) -> None:
    """The scenario passes, exit 0, and stderr says once and loudly what could not be kept."""
    available.engine("bubblewrap")
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    project = Project.within(tmp_path, GOOD + FILL)
    project.path("scenarios/prints.sh").write_text("head -c 500000 /dev/zero | tr '\\0' x\n")
    project.path(".isosmoke").mkdir()
    mount = "mount -t tmpfs -o size=100k tmpfs .isosmoke && exec"
    command = ["unshare", "--mount", "sh", "-c", f'{mount} "$@"', "sh", *project.command("run")]

    done = subprocess.run(
        command,
        cwd=project.top,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout.count("PASS  ")) == (0, 3), done.stdout + done.stderr
    assert done.stderr.count("WARNING") == 1
    assert "No space left on device" in done.stderr


def test_the_end_of_a_run_decides_what_is_kept_of_it(tmp_path: Path) -> None:
    """What was tried on the way and is no result of the run is left out; later results replace."""
    tried, passed = result_factories.result(FAILED, name="tried"), result_factories.result(PASSED)
    recording = writer.start_recording(tmp_path)
    recording.begin(result_factories.run(), [tried.scenario])
    recording.keep(tried)
    recording.keep(result_factories.result(FAILED))
    recording.end(result_factories.run(passed))

    assert outcomes(reader.load_run(recording.folder)) == {"one": "PASS"}
