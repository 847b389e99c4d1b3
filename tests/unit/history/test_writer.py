"""Writing of the record of a run in progress; no verdict depends on it."""

import json
import resource
import shutil
import sys
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
from isosmoke.results.leaks import LeakVerdict
from isosmoke.results.outcome import Broke, Exited, MissingRequirement, Signaled, Stopped, TimedOut
from isosmoke.results.records import creation, validation
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_record import StoredHeader
from isosmoke.results.run_results import Attempt, CapturedOutput
from isosmoke.sandbox.survivors import Process
from support import result_factories
from support.fixture_types import Ordinary
from support.past_runs import FAILED, PASSED, get_outcomes, record_run

TEXT = st.text(st.characters(codec=None), max_size=20)
SECONDS = st.floats(0, 1e6)
ENDINGS = st.one_of(
    st.builds(Exited, st.integers(0, 255)),
    st.builds(Signaled, st.integers(1, 64)),
    st.builds(TimedOut, SECONDS),
    *(st.builds(ending, TEXT) for ending in (MissingRequirement, Broke, Stopped)),
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
    verdict=st.builds(LeakVerdict, st.lists(PROCESSES, max_size=2).map(tuple)),
    output=st.binary(max_size=99).map(lambda head: CapturedOutput(head=head, size=len(head))),
    stderr=st.binary(max_size=99).map(lambda head: CapturedOutput(head=head, size=len(head))),
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
def test_record_survives_round_trip(groups: list[list[Attempt]], fields: dict[str, object]) -> None:
    """The record of any run reads back as it was written."""
    results = [
        result_factories.make_result(*group, name=f"s{number}")
        for number, group in enumerate(groups)
    ]
    with TemporaryDirectory() as top:
        recording = writer.start_recording(Path(top))
        run = result_factories.make_run(*results, record=recording.directory, **fields)
        recording.begin(run, [result.scenario for result in results])
        for result in results:
            recording.keep(result)
        recording.end(run)

        assert recording.write_error == ""
        assert reader.load_run(recording.directory) == creation.record_run(run)


def test_finished_run_has_only_header_and_results(tmp_path: Path) -> None:
    """No lease or temporary file remains."""
    directory = record_run(tmp_path, result_factories.make_result(PASSED))

    assert sorted(path.name for path in directory.rglob("*")) == ["one", "result.json", "run.json"]
    assert json.loads((directory / "one/result.json").read_text())["outcome"] == "PASS"
    assert json.loads((directory / "run.json").read_text())["finished"] is True


@contextmanager
def _limited_file_size(most: int) -> Iterator[None]:
    """Limit the size of any file to `most` bytes; no part of a module's bytecode is written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_write_error_is_reported_once(tmp_path: Path) -> None:
    """No partial result remains, and the first error is kept."""
    first, second = (result_factories.make_result(PASSED, name=name) for name in ("one", "two"))
    recording = writer.start_recording(tmp_path)
    recording.begin(result_factories.make_run(), [first.scenario, second.scenario])
    with _limited_file_size(100):
        recording.keep(first)
        recording.wait()
        recording.keep(second)
        recording.wait()
    recording.end(result_factories.make_run(first, second))

    assert recording.write_error == f"{recording.directory}/one/result.json: File too large"
    assert list((recording.directory / "one").iterdir()) == []
    run = reader.load_run(recording.directory)
    assert get_outcomes(run)["one"] == "NOT_RUN its result could not be saved"
    assert run.counts == {"PASS": 2}


def test_last_result_of_a_scenario_remains(tmp_path: Path) -> None:
    """Results are written in the background, but those of one scenario one after another."""
    recording = writer.start_recording(tmp_path)
    passed = result_factories.make_result(PASSED)
    for _ in range(20):
        recording.keep(result_factories.make_result(FAILED))
        recording.keep(passed)
    recording.wait()
    written = json.loads((recording.directory / "one/result.json").read_text())

    assert written["outcome"] == "PASS"
    recording.end(result_factories.make_run(passed))


def test_end_of_a_run_has_all_results(tmp_path: Path) -> None:
    """A run is marked as finished only when each of its results is on disk."""
    results = [result_factories.make_result(PASSED, name=f"s{number}") for number in range(50)]
    recording = writer.start_recording(tmp_path)
    recording.begin(result_factories.make_run(), [result.scenario for result in results])
    for result in results:
        recording.keep(result)
    recording.end(result_factories.make_run(*results, record=recording.directory))

    assert set(get_outcomes(reader.load_run(recording.directory)).values()) == {"PASS"}


def test_incomplete_log_is_an_error_of_the_record(tmp_path: Path) -> None:
    """Missing evidence counts as a loss as well."""
    recording = writer.start_recording(tmp_path)
    recording.keep(
        result_factories.make_result(Attempt(ending=Exited(0), unlogged="/log: No space left"))
    )

    assert recording.write_error == "/log: No space left"


def test_removed_record_changes_no_verdict(tmp_path: Path) -> None:
    """Removing it during a run causes a warning rather than an error."""
    recording = writer.start_recording(tmp_path)
    shutil.rmtree(recording.directory)
    recording.keep(result_factories.make_result(PASSED))
    recording.end(result_factories.make_run(result_factories.make_result(PASSED)))

    assert recording.write_error.endswith("one/result.json: No such file or directory")


def test_read_only_project_is_recorded_in_state_directory(
    tmp_path: Path, ordinary: Ordinary, state_folder: Path
) -> None:
    """Its runs are listed, and those of another project are not."""
    fixed, other = tmp_path / "fixed", tmp_path / "other"
    fixed.mkdir(mode=0o555)
    other.mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from isosmoke.history import reader, writer\n"
        "print(writer.start_recording(Path(sys.argv[1])).directory)"
    )

    directory = Path(ordinary(code, fixed))

    assert directory.is_relative_to(state_folder)
    shutil.copy(record_run(other) / "run.json", directory)
    assert layout.list_run_directories(fixed) == (directory,)
    assert directory not in layout.list_run_directories(other)


def test_concurrent_runs_have_separate_directories(tmp_path: Path) -> None:
    """Runs of one project never share a directory."""
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: writer.start_recording(tmp_path).directory, range(16)))

    assert len(set(started)) == 16
    assert all(str(Lease.current()) == (directory / ".lease").read_text() for directory in started)


def test_end_of_run_decides_its_results(tmp_path: Path) -> None:
    """Earlier results that are not part of the run are omitted; later ones replace earlier."""
    tried, passed = (
        result_factories.make_result(FAILED, name="tried"),
        result_factories.make_result(PASSED),
    )
    recording = writer.start_recording(tmp_path)
    recording.begin(result_factories.make_run(), [tried.scenario])
    recording.keep(tried)
    recording.keep(result_factories.make_result(FAILED))
    recording.end(result_factories.make_run(passed))

    assert get_outcomes(reader.load_run(recording.directory)) == {"one": "PASS"}


@pytest.mark.parametrize("number", [0, 1, 3])
def test_header_in_parts_is_one_document(number: int) -> None:
    """The header is written scenario by scenario, and is the same text as if rendered whole."""
    results = [result_factories.make_result(PASSED, name=f"s{index}") for index in range(number)]
    run = result_factories.make_run(*results, notes=("[]", "a\nb"))
    scenarios = [result.scenario for result in results]

    text = "".join(creation.render_header(run, scenarios, finished=True))

    header = validation.parse(StoredHeader, text.encode())
    assert [plan.name for plan in header.planned] == [result.name for result in results]
    assert header.finished
    assert text == render_json(header)
