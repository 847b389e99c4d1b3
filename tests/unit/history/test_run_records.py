"""The runs of the past: kept whole, read whatever ended them, found by name, forgotten in time."""

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

from isosmoke.errors import NothingSelectedError, RecordError
from isosmoke.history import layout, run_records
from isosmoke.host.leases import Lease
from isosmoke.manifest import parser
from isosmoke.manifest.models import Retention
from isosmoke.results import record
from isosmoke.results.attempts import Attempt, Captured, ScenarioResult
from isosmoke.results.leaks import Verdict
from isosmoke.results.outcome import Broke, Exited, Outcome, Signaled, Stopped, TimedOut, Unmet
from isosmoke.results.record import RunRecord
from isosmoke.sandbox.processes import Process
from support import available, factories
from support.fixtures import Ordinary
from support.project import GOOD, Project

PASSED, FAILED = Attempt(ending=Exited(0)), Attempt(ending=Exited(1))
ENDED = "0-0.1.0"
"""A lease of another boot."""


def recorded(top: Path, *scenarios: ScenarioResult, rerun_of: str = "") -> Path:
    """The folder of a new run of these scenarios."""
    recording = run_records.start(top)
    told = factories.run(*scenarios, record=recording.folder, rerun_of=rerun_of)
    recording.begin(told, [one.scenario for one in scenarios])
    for one in scenarios:
        recording.keep(one)
    recording.end(told)
    return recording.folder


def halved(top: Path) -> Path:
    """The folder of a run that goes on: `one` passed, `two` was not begun."""
    one, two = (factories.result(PASSED, name=name) for name in ("one", "two"))
    recording = run_records.start(top)
    recording.begin(factories.run(record=recording.folder), [one.scenario, two.scenario])
    recording.keep(one)
    return recording.folder


def killed(folder: Path) -> Path:
    """The folder, as if the process of its run were gone."""
    (folder / ".lease").write_text(ENDED)
    return folder


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
    told = [factories.result(*ones, name=f"s{number}") for number, ones in enumerate(attempts)]
    with TemporaryDirectory() as top:
        recording = run_records.start(Path(top))
        run = factories.run(*told, record=recording.folder, **others)
        recording.begin(run, [one.scenario for one in told])
        for one in told:
            recording.keep(one)
        recording.end(run)

        assert recording.lost == ""
        assert run_records.load(recording.folder) == record.of(run)


def outcomes(run: RunRecord) -> dict[str, str]:
    """Each scenario's outcome and reason, as one text."""
    return {one.name: f"{one.outcome} {one.reason}".strip() for one in run.scenarios}


def test_a_run_that_goes_on_can_be_read(tmp_path: Path) -> None:
    """What is finished is told, and the rest is not run yet."""
    run = run_records.load(halved(tmp_path))

    assert not run.finished
    assert outcomes(run) == {"one": "PASS", "two": "NOT_RUN the run goes on"}
    assert run.counts == {"PASS": 1, "NOT_RUN": 1}


def test_a_run_whose_process_is_gone_ended_before_the_rest(tmp_path: Path) -> None:
    """What has no result was never run; its entry is known all the same."""
    run = run_records.load(killed(halved(tmp_path)))

    assert not run.finished
    assert outcomes(run) == {"one": "PASS", "two": "NOT_RUN the run ended before it"}
    assert run.scenarios[1].blocks
    assert run.scenarios[1].entry["script"] == "one.sh"
    assert run.scenarios[1].attempts[0].outcome is Outcome.NOT_RUN


def test_a_finished_run_holds_no_lease_and_nothing_unfinished(tmp_path: Path) -> None:
    """What is left of a run are its header and its results."""
    folder = recorded(tmp_path, factories.result(PASSED))

    assert sorted(one.name for one in folder.rglob("*")) == ["one", "result.json", "run.json"]
    assert json.loads((folder / "one/result.json").read_text())["outcome"] == "PASS"
    assert json.loads((folder / "run.json").read_text())["finished"] is True


def test_the_record_is_where_it_lies_now(tmp_path: Path) -> None:
    """A project that was moved has its records at its new place."""
    folder = recorded(tmp_path / "old", factories.result(PASSED))
    (tmp_path / "old").rename(tmp_path / "new")

    run = run_records.run(None, tmp_path / "new")

    assert run.record == str(folder).replace("/old/", "/new/")


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
    one, two = (factories.result(PASSED, name=name) for name in ("one", "two"))
    recording = run_records.start(tmp_path)
    recording.begin(factories.run(), [one.scenario, two.scenario])
    with _full(100):
        recording.keep(one)
        recording.keep(two)
    recording.end(factories.run(one, two))

    assert recording.lost == f"{recording.folder}/one/result.json: File too large"
    assert list((recording.folder / "one").iterdir()) == []
    run = run_records.load(recording.folder)
    assert outcomes(run)["one"] == "NOT_RUN its result could not be kept"
    assert run.counts == {"PASS": 2}


def test_a_log_that_is_not_whole_is_told_by_the_record(tmp_path: Path) -> None:
    """Evidence that is missing is a loss as well."""
    recording = run_records.start(tmp_path)
    recording.keep(factories.result(Attempt(ending=Exited(0), unlogged="/log: No space left")))

    assert recording.lost == "/log: No space left"


def test_a_record_whose_folder_is_gone_costs_no_verdict(tmp_path: Path) -> None:
    """Whoever removes it under a live run gets a warning, not an error."""
    recording = run_records.start(tmp_path)
    shutil.rmtree(recording.folder)
    recording.keep(factories.result(PASSED))
    recording.end(factories.run(factories.result(PASSED)))

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
        "from isosmoke.history import run_records\n"
        "print(run_records.start(Path(sys.argv[1])).folder)"
    )

    folder = Path(ordinary(code, fixed))

    assert folder.is_relative_to(state_folder)
    shutil.copy(recorded(other) / "run.json", folder)
    assert layout.folders(fixed) == (folder,)
    assert folder not in layout.folders(other)


def test_runs_are_told_newest_first(tmp_path: Path) -> None:
    """Even those that started within one second; from any folder of the repository."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep").mkdir()
    names = [recorded(tmp_path).name for _ in range(3)]

    assert [Path(one.record or "").name for one in run_records.runs(tmp_path / "deep")] == names[
        ::-1
    ]


def test_whatever_else_lies_there_is_no_run(tmp_path: Path) -> None:
    """Files, foreign folders, links and runs without a header are passed over."""
    folder = recorded(tmp_path)
    runs = folder.parent
    (runs / "20200101-000000-0000").write_text("a file")
    (runs / "20200101-000000-0001").mkdir()
    (runs / "20200101-000000-0002").symlink_to(folder)
    (runs / "notes").mkdir()
    shutil.copy(folder / "run.json", runs / "notes")

    assert layout.folders(tmp_path) == (folder,)


SPOILT = {
    "": "run.json is not whole",
    "[]": "run.json is not whole",
    "{}": "run.json is not whole: schema_version: Field required",
    '{"schema_version": 1}': "run.json is not whole: isosmoke: Field required",
    '{"schema_version": 2, "id": 7}': "run.json was written by a later isosmoke",
}


@pytest.mark.parametrize("text", SPOILT)
def test_a_broken_header_is_a_clear_error(tmp_path: Path, text: str) -> None:
    """The file and its first mistake are named; other runs can be read."""
    recorded(tmp_path)
    (recorded(tmp_path) / "run.json").write_text(text)

    with pytest.raises(RecordError, match=SPOILT[text]) as caught:
        run_records.run(None, tmp_path)
    assert caught.value.hint
    assert len(run_records.runs(tmp_path)) == 1


def test_a_broken_result_is_a_clear_error(tmp_path: Path) -> None:
    """No verdict is made up for it."""
    folder = recorded(tmp_path, factories.result(PASSED))
    (folder / "one/result.json").write_bytes(b'{"outcome": "\xff"}')

    with pytest.raises(RecordError, match=r"one/result\.json is not whole"):
        run_records.load(folder)


def test_a_folder_without_a_record_is_a_clear_error(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(RecordError, match=r"run\.json: No such file"):
        run_records.load(tmp_path)


def test_a_run_is_found_by_either_end_of_its_name(tmp_path: Path) -> None:
    """The beginning or the end is enough where no other run has it; none at all is the newest."""
    one, two = recorded(tmp_path), recorded(tmp_path)

    assert run_records.run(one.name, tmp_path).record == str(one)
    assert run_records.run(one.name[-7:], tmp_path).record == str(one)
    assert run_records.run(None, tmp_path).record == str(two)
    with pytest.raises(NothingSelectedError, match="2 runs are named '20'"):
        run_records.run("20", tmp_path)


def test_a_run_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    """A slip in the name is recognised; a project without runs says what makes one."""
    with pytest.raises(NothingSelectedError, match="no run is recorded in") as caught:
        run_records.run(None, tmp_path)
    assert "isosmoke run" in caught.value.hint

    folder = recorded(tmp_path)
    with pytest.raises(NothingSelectedError, match=f"did you mean '{folder.name}'"):
        run_records.run(f"{folder.name[:-1]}x", tmp_path)


def test_a_scenario_is_found_in_the_newest_run_that_had_it(tmp_path: Path) -> None:
    """A name alone does; a run before it chooses."""
    older = recorded(tmp_path, factories.result(FAILED, name="bad"))
    newer = recorded(tmp_path, factories.result(PASSED, name="bad"))
    recorded(tmp_path, factories.result(PASSED, name="good"))

    found = [run_records.scenario(one, tmp_path) for one in ("bad", f"{older.name}/bad")]

    assert [(run.record, one.outcome) for run, one in found] == [
        (str(newer), Outcome.PASS),
        (str(older), Outcome.FAIL),
    ]


def test_what_came_of_a_scenario_is_told_run_by_run(tmp_path: Path) -> None:
    """Newest first, without the runs that did not have it or cannot be read."""
    recorded(tmp_path, factories.result(FAILED, name="bad"))
    recorded(tmp_path, factories.result(PASSED, name="good"))
    (recorded(tmp_path, factories.result(FAILED, name="bad")) / "bad/result.json").write_text("{")
    recorded(tmp_path, factories.result(PASSED, name="bad"))

    past = run_records.outcomes("bad", tmp_path)

    assert [one.outcome for _, one in past] == [Outcome.PASS, Outcome.FAIL]


def test_a_run_knows_the_runs_whose_rest_it_did(tmp_path: Path) -> None:
    """As far back as they are kept; a record that says it is its own ends the search."""
    one = recorded(tmp_path)
    two = recorded(tmp_path, rerun_of=one.name)
    three = recorded(tmp_path, rerun_of=two.name)

    def chain() -> list[str | None]:
        return [one.record for one in run_records.chain("latest", tmp_path)]

    assert chain() == [str(three), str(two), str(one)]
    shutil.rmtree(one)
    assert chain() == [str(three), str(two)]
    text = (two / "run.json").read_text()
    (two / "run.json").write_text(text.replace(one.name, three.name))
    assert chain() == [str(three), str(two)]


def test_a_name_is_a_scenario_or_else_a_run(tmp_path: Path) -> None:
    """A scenario wins, for its name is whole; nothing named is the newest run."""
    older = recorded(tmp_path, factories.result(FAILED, name="bad"))
    newest = recorded(tmp_path, factories.result(PASSED, name="good"))

    def found(named: str | None) -> tuple[str | None, str]:
        run, scenario = run_records.found(named, tmp_path)
        return run.record, scenario.name if scenario else ""

    assert found("bad") == (str(older), "bad")
    assert found("latest/good") == (str(newest), "good")
    assert found(older.name) == (str(older), "")
    assert found("latest") == found(None) == (str(newest), "")
    with pytest.raises(NothingSelectedError, match="did you mean 'good'"):
        run_records.found("goo", tmp_path)


def test_a_log_is_found_where_its_run_lies_now(tmp_path: Path) -> None:
    """Also when the project was moved."""
    logged = factories.result(Attempt(ending=Exited(0), log=Path("/old/runs/1/one/output-1.log")))
    folder = recorded(tmp_path, logged)
    run, scenario = run_records.scenario("one", tmp_path)

    log = run_records.log(run, scenario, scenario.output.log or "")

    assert log == folder / "one/output-1.log"


def test_a_scenario_that_no_run_had_is_told_with_the_nearest(tmp_path: Path) -> None:
    """In a given run, or in all of them."""
    with pytest.raises(NothingSelectedError, match="no run is recorded"):
        run_records.scenario("bad", tmp_path)
    name = recorded(tmp_path, factories.result(PASSED, name="daemon_starts")).name
    for asked in ("daemon_start", f"{name}/daemon_start"):
        with pytest.raises(NothingSelectedError, match="did you mean 'daemon_starts'"):
            run_records.scenario(asked, tmp_path)


def test_many_runs_at_once_each_have_a_folder(tmp_path: Path) -> None:
    """Runs of one project never meet."""
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: run_records.start(tmp_path).folder, range(16)))

    assert len(set(started)) == 16
    assert all(str(Lease.mine()) == (one / ".lease").read_text() for one in started)


def aged(folder: Path, name: str) -> Path:
    """The same run, as if it had started when `name` says."""
    return folder.rename(folder.with_name(name))


def test_old_runs_are_forgotten_but_never_a_live_one(tmp_path: Path) -> None:
    """Twenty stay, what is no run stays, and so does the oldest as long as it goes on."""
    live = run_records.start(tmp_path).folder
    dead = killed(run_records.start(tmp_path).folder)
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

    run_records.start(tmp_path, kept)
    assert (first.exists(), second.exists()) == (False, True)

    today = run_records.start(tmp_path, kept).folder
    run_records.start(tmp_path, kept)
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

    run_records.start(tmp_path, Retention(keep_size=3 * whole))

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
        assert run_records.start(tmp_path, Retention(keep_runs=1)).folder.exists()
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
        assert len(layout.folders(project.top)) <= 2


SLOW = """
[[scenario]]
name = "slow"
script = "scenarios/slow.sh"
"""


def test_a_run_that_is_killed_can_be_read(tmp_path: Path) -> None:
    """After SIGKILL what was finished is there, and the rest was not run."""
    available.engine("bubblewrap")
    project = Project.within(tmp_path, GOOD + SLOW)
    project.killed_during("slow", "run", "-j", "1")

    assert outcomes(run_records.run(None, project.top)) == {
        "good": "PASS",
        "slow": "NOT_RUN the run ended before it",
    }


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
    tried, passed = factories.result(FAILED, name="tried"), factories.result(PASSED)
    recording = run_records.start(tmp_path)
    recording.begin(factories.run(), [tried.scenario])
    recording.keep(tried)
    recording.keep(factories.result(FAILED))
    recording.end(factories.run(passed))

    assert outcomes(run_records.load(recording.folder)) == {"one": "PASS"}
