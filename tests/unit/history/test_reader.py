"""Reading of past runs, however they ended, and look-up by name."""

import shutil
from pathlib import Path

import pytest

from isosmoke.errors import NothingSelectedError, RecordError
from isosmoke.history import layout, reader
from isosmoke.results.outcome import Exited, Outcome
from isosmoke.results.run_results import Attempt
from support import result_factories
from support.past_runs import FAILED, PASSED, get_outcomes, mark_killed, record_half_run, record_run


def test_run_in_progress_can_be_read(tmp_path: Path) -> None:
    """Finished scenarios have results, and the others are NOT_RUN."""
    run = reader.load_run(record_half_run(tmp_path))

    assert not run.finished
    assert get_outcomes(run) == {"one": "PASS", "two": "NOT_RUN the run is still in progress"}
    assert run.counts == {"PASS": 1, "NOT_RUN": 1}


def test_killed_run_ended_before_remaining_scenarios(tmp_path: Path) -> None:
    """A scenario without a result is NOT_RUN, and its manifest entry is known."""
    run = reader.load_run(mark_killed(record_half_run(tmp_path)))

    assert not run.finished
    assert get_outcomes(run) == {"one": "PASS", "two": "NOT_RUN the run ended before this scenario"}
    assert run.scenarios[1].blocks
    assert run.scenarios[1].entry["script"] == "one.sh"
    assert run.scenarios[1].attempts[0].outcome is Outcome.NOT_RUN


def test_record_is_at_its_current_path(tmp_path: Path) -> None:
    """The records of a moved project are found at the new path."""
    directory = record_run(tmp_path / "old", result_factories.make_result(PASSED))
    (tmp_path / "old").rename(tmp_path / "new")

    run = reader.find_run(None, tmp_path / "new")

    assert run.record == str(directory).replace("/old/", "/new/")


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    """Runs within one second are in order too, from any directory of the repository."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep").mkdir()
    names = [record_run(tmp_path).name for _ in range(3)]

    assert [
        Path(run.record or "").name for run in reader.load_runs(tmp_path / "deep", reader.fail)
    ] == names[::-1]


def test_other_entries_are_not_runs(tmp_path: Path) -> None:
    """Files, foreign directories, links and runs without a header are skipped."""
    directory = record_run(tmp_path)
    runs = directory.parent
    (runs / "20200101-000000-0000").write_text("a file")
    (runs / "20200101-000000-0001").mkdir()
    (runs / "20200101-000000-0002").symlink_to(directory)
    (runs / "notes").mkdir()
    shutil.copy(directory / "run.json", runs / "notes")

    assert layout.list_run_directories(tmp_path) == (directory,)


INVALID_HEADERS = {
    "": "run.json is invalid",
    "[]": "run.json is invalid",
    "{}": "run.json is invalid: schema_version: Field required",
    '{"schema_version": 1}': "run.json is invalid: isosmoke: Field required",
    '{"schema_version": 2, "id": 7}': "run.json was written by a newer isosmoke",
}


@pytest.mark.parametrize("text", INVALID_HEADERS)
def test_invalid_header_is_an_error(tmp_path: Path, text: str) -> None:
    """The error names the file and its first mistake; other runs can be read."""
    record_run(tmp_path)
    (record_run(tmp_path) / "run.json").write_text(text)

    with pytest.raises(RecordError, match=INVALID_HEADERS[text]) as caught:
        reader.find_run(None, tmp_path)
    assert caught.value.hint
    reported: list[RecordError] = []
    assert len(list(reader.load_runs(tmp_path, reported.append))) == len(reported) == 1


def test_invalid_result_is_an_error(tmp_path: Path) -> None:
    """An unreadable result is never replaced by a verdict."""
    directory = record_run(tmp_path, result_factories.make_result(PASSED))
    (directory / "one/result.json").write_bytes(b'{"outcome": "\xff"}')

    with pytest.raises(RecordError, match=r"one/result\.json is invalid"):
        reader.load_run(directory)


def test_directory_without_record_is_an_error(tmp_path: Path) -> None:
    """The error names the missing file."""
    with pytest.raises(RecordError, match=r"run\.json: No such file"):
        reader.load_run(tmp_path)


def test_run_is_found_by_either_end_of_its_name(tmp_path: Path) -> None:
    """A unique prefix or suffix is sufficient, and no name means the newest run."""
    older, newer = record_run(tmp_path), record_run(tmp_path)

    assert reader.find_run(older.name, tmp_path).record == str(older)
    assert reader.find_run(older.name[-7:], tmp_path).record == str(older)
    assert reader.find_run(None, tmp_path).record == str(newer)
    with pytest.raises(NothingSelectedError, match="'20' matches 2 runs"):
        reader.find_run("20", tmp_path)


def test_unknown_run_suggests_nearest(tmp_path: Path) -> None:
    """The error suggests a similar name; without any run, the hint says how to record one."""
    with pytest.raises(NothingSelectedError, match="no run is recorded in") as caught:
        reader.find_run(None, tmp_path)
    assert "isosmoke run" in caught.value.hint

    directory = record_run(tmp_path)
    with pytest.raises(NothingSelectedError, match=f"did you mean '{directory.name}'"):
        reader.find_run(f"{directory.name[:-1]}x", tmp_path)


def test_scenario_is_found_in_newest_run_that_includes_it(tmp_path: Path) -> None:
    """A name alone is sufficient; a run before it selects that run."""
    older = record_run(tmp_path, result_factories.make_result(FAILED, name="bad"))
    newer = record_run(tmp_path, result_factories.make_result(PASSED, name="bad"))
    record_run(tmp_path, result_factories.make_result(PASSED, name="good"))

    results = [reader.find_scenario(name, tmp_path) for name in ("bad", f"{older.name}/bad")]

    assert [(run.record, scenario.outcome) for run, scenario in results] == [
        (str(newer), Outcome.PASS),
        (str(older), Outcome.FAIL),
    ]


def test_outcomes_of_scenario_are_listed_by_run(tmp_path: Path) -> None:
    """The newest run is first, runs without the scenario are skipped, unreadable ones reported."""
    record_run(tmp_path, result_factories.make_result(FAILED, name="bad"))
    record_run(tmp_path, result_factories.make_result(PASSED, name="good"))
    (
        record_run(tmp_path, result_factories.make_result(FAILED, name="bad")) / "bad/result.json"
    ).write_text("{")
    record_run(tmp_path, result_factories.make_result(PASSED, name="bad"))

    reported: list[RecordError] = []
    past = reader.list_outcomes("bad", tmp_path, reported.append)

    assert [scenario.outcome for _, scenario in past] == [Outcome.PASS, Outcome.FAIL]
    assert ["result.json is invalid" in error.message for error in reported] == [True]


def test_rerun_chain_is_followed(tmp_path: Path) -> None:
    """The chain goes back as far as records exist, and a cycle ends it."""
    first = record_run(tmp_path)
    second = record_run(tmp_path, rerun_of=first.name)
    third = record_run(tmp_path, rerun_of=second.name)

    def chain() -> list[str | None]:
        return [run.record for run in reader.find_rerun_chain("latest", tmp_path)]

    assert chain() == [str(third), str(second), str(first)]
    shutil.rmtree(first)
    assert chain() == [str(third), str(second)]
    text = (second / "run.json").read_text()
    (second / "run.json").write_text(text.replace(first.name, third.name))
    assert chain() == [str(third), str(second)]


def test_name_is_a_scenario_or_else_a_run(tmp_path: Path) -> None:
    """A scenario takes precedence, and no name means the newest run."""
    older = record_run(tmp_path, result_factories.make_result(FAILED, name="bad"))
    newest = record_run(tmp_path, result_factories.make_result(PASSED, name="good"))

    def find(named: str | None) -> tuple[str | None, str]:
        run, scenario = reader.find_run_or_scenario(named, tmp_path)
        return run.record, scenario.name if scenario else ""

    assert find("bad") == (str(older), "bad")
    assert find("latest/good") == (str(newest), "good")
    assert find(older.name) == (str(older), "")
    assert find("latest") == find(None) == (str(newest), "")
    with pytest.raises(NothingSelectedError, match="did you mean 'good'"):
        reader.find_run_or_scenario("goo", tmp_path)


def test_log_is_found_at_its_current_path(tmp_path: Path) -> None:
    """The log of a moved project is found as well."""
    logged = result_factories.make_result(
        Attempt(ending=Exited(0), log=Path("/old/runs/1/one/output-1.log"))
    )
    directory = record_run(tmp_path, logged)
    run, scenario = reader.find_scenario("one", tmp_path)

    log = reader.locate_log(run, scenario, scenario.output.log or "")

    assert log == directory / "one/output-1.log"


def test_unknown_scenario_suggests_nearest(tmp_path: Path) -> None:
    """The error suggests a similar name, from one run or from all."""
    with pytest.raises(NothingSelectedError, match="no run is recorded"):
        reader.find_scenario("bad", tmp_path)
    run = record_run(tmp_path, result_factories.make_result(PASSED, name="daemon_starts"))
    for name in ("daemon_start", f"{run.name}/daemon_start"):
        with pytest.raises(NothingSelectedError, match="did you mean 'daemon_starts'"):
            reader.find_scenario(name, tmp_path)


def test_run_of_unknown_state_may_be_in_progress(tmp_path: Path) -> None:
    """The reason of NOT_RUN is the error, and not that the run ended."""
    directory = record_half_run(tmp_path)
    (directory / ".lease").unlink()
    (directory / ".lease").mkdir()

    reason = get_outcomes(reader.load_run(directory))["two"]

    assert reason == f"NOT_RUN the run may still be in progress: {directory}/.lease: Is a directory"


def test_unreadable_result_is_not_missing(tmp_path: Path) -> None:
    """A read error of a result is an error of the record."""
    directory = record_run(tmp_path, result_factories.make_result(PASSED))
    (directory / "one/result.json").unlink()
    (directory / "one/result.json").mkdir()

    with pytest.raises(RecordError, match=r"one/result\.json: Is a directory"):
        reader.load_run(directory)
