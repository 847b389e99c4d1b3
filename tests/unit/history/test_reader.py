"""Past runs are read whatever ended them, and found by name."""

import shutil
from pathlib import Path

import pytest

from isosmoke.errors import NothingSelectedError, RecordError
from isosmoke.history import layout, reader
from isosmoke.results.outcome import Exited, Outcome
from isosmoke.results.run_results import Attempt
from support import available, result_factories
from support.past_runs import FAILED, PASSED, halved, killed, outcomes, recorded
from support.project import GOOD, Project


def test_a_run_that_goes_on_can_be_read(tmp_path: Path) -> None:
    """What is finished is told, and the rest is not run yet."""
    run = reader.load_run(halved(tmp_path))

    assert not run.finished
    assert outcomes(run) == {"one": "PASS", "two": "NOT_RUN the run goes on"}
    assert run.counts == {"PASS": 1, "NOT_RUN": 1}


def test_a_run_whose_process_is_gone_ended_before_the_rest(tmp_path: Path) -> None:
    """What has no result was never run; its entry is known all the same."""
    run = reader.load_run(killed(halved(tmp_path)))

    assert not run.finished
    assert outcomes(run) == {"one": "PASS", "two": "NOT_RUN the run ended before it"}
    assert run.scenarios[1].blocks
    assert run.scenarios[1].entry["script"] == "one.sh"
    assert run.scenarios[1].attempts[0].outcome is Outcome.NOT_RUN


def test_the_record_is_where_it_lies_now(tmp_path: Path) -> None:
    """A project that was moved has its records at its new place."""
    folder = recorded(tmp_path / "old", result_factories.result(PASSED))
    (tmp_path / "old").rename(tmp_path / "new")

    run = reader.find_run(None, tmp_path / "new")

    assert run.record == str(folder).replace("/old/", "/new/")


def test_runs_are_told_newest_first(tmp_path: Path) -> None:
    """Even those that started within one second; from any folder of the repository."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep").mkdir()
    names = [recorded(tmp_path).name for _ in range(3)]

    assert [Path(one.record or "").name for one in reader.list_runs(tmp_path / "deep")] == names[
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

    assert layout.list_folders(tmp_path) == (folder,)


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
        reader.find_run(None, tmp_path)
    assert caught.value.hint
    assert len(reader.list_runs(tmp_path)) == 1


def test_a_broken_result_is_a_clear_error(tmp_path: Path) -> None:
    """No verdict is made up for it."""
    folder = recorded(tmp_path, result_factories.result(PASSED))
    (folder / "one/result.json").write_bytes(b'{"outcome": "\xff"}')

    with pytest.raises(RecordError, match=r"one/result\.json is not whole"):
        reader.load_run(folder)


def test_a_folder_without_a_record_is_a_clear_error(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(RecordError, match=r"run\.json: No such file"):
        reader.load_run(tmp_path)


def test_a_run_is_found_by_either_end_of_its_name(tmp_path: Path) -> None:
    """The beginning or the end is enough where no other run has it; none at all is the newest."""
    one, two = recorded(tmp_path), recorded(tmp_path)

    assert reader.find_run(one.name, tmp_path).record == str(one)
    assert reader.find_run(one.name[-7:], tmp_path).record == str(one)
    assert reader.find_run(None, tmp_path).record == str(two)
    with pytest.raises(NothingSelectedError, match="2 runs are named '20'"):
        reader.find_run("20", tmp_path)


def test_a_run_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    """A slip in the name is recognised; a project without runs says what makes one."""
    with pytest.raises(NothingSelectedError, match="no run is recorded in") as caught:
        reader.find_run(None, tmp_path)
    assert "isosmoke run" in caught.value.hint

    folder = recorded(tmp_path)
    with pytest.raises(NothingSelectedError, match=f"did you mean '{folder.name}'"):
        reader.find_run(f"{folder.name[:-1]}x", tmp_path)


def test_a_scenario_is_found_in_the_newest_run_that_had_it(tmp_path: Path) -> None:
    """A name alone does; a run before it chooses."""
    older = recorded(tmp_path, result_factories.result(FAILED, name="bad"))
    newer = recorded(tmp_path, result_factories.result(PASSED, name="bad"))
    recorded(tmp_path, result_factories.result(PASSED, name="good"))

    found = [reader.find_scenario(one, tmp_path) for one in ("bad", f"{older.name}/bad")]

    assert [(run.record, one.outcome) for run, one in found] == [
        (str(newer), Outcome.PASS),
        (str(older), Outcome.FAIL),
    ]


def test_what_came_of_a_scenario_is_told_run_by_run(tmp_path: Path) -> None:
    """Newest first, without the runs that did not have it or cannot be read."""
    recorded(tmp_path, result_factories.result(FAILED, name="bad"))
    recorded(tmp_path, result_factories.result(PASSED, name="good"))
    (
        recorded(tmp_path, result_factories.result(FAILED, name="bad")) / "bad/result.json"
    ).write_text("{")
    recorded(tmp_path, result_factories.result(PASSED, name="bad"))

    past = reader.list_outcomes("bad", tmp_path)

    assert [one.outcome for _, one in past] == [Outcome.PASS, Outcome.FAIL]


def test_a_run_knows_the_runs_whose_rest_it_did(tmp_path: Path) -> None:
    """As far back as they are kept; a record that says it is its own ends the search."""
    one = recorded(tmp_path)
    two = recorded(tmp_path, rerun_of=one.name)
    three = recorded(tmp_path, rerun_of=two.name)

    def chain() -> list[str | None]:
        return [one.record for one in reader.find_rerun_chain("latest", tmp_path)]

    assert chain() == [str(three), str(two), str(one)]
    shutil.rmtree(one)
    assert chain() == [str(three), str(two)]
    text = (two / "run.json").read_text()
    (two / "run.json").write_text(text.replace(one.name, three.name))
    assert chain() == [str(three), str(two)]


def test_a_name_is_a_scenario_or_else_a_run(tmp_path: Path) -> None:
    """A scenario wins, for its name is whole; nothing named is the newest run."""
    older = recorded(tmp_path, result_factories.result(FAILED, name="bad"))
    newest = recorded(tmp_path, result_factories.result(PASSED, name="good"))

    def found(named: str | None) -> tuple[str | None, str]:
        run, scenario = reader.find_run_or_scenario(named, tmp_path)
        return run.record, scenario.name if scenario else ""

    assert found("bad") == (str(older), "bad")
    assert found("latest/good") == (str(newest), "good")
    assert found(older.name) == (str(older), "")
    assert found("latest") == found(None) == (str(newest), "")
    with pytest.raises(NothingSelectedError, match="did you mean 'good'"):
        reader.find_run_or_scenario("goo", tmp_path)


def test_a_log_is_found_where_its_run_lies_now(tmp_path: Path) -> None:
    """Also when the project was moved."""
    logged = result_factories.result(
        Attempt(ending=Exited(0), log=Path("/old/runs/1/one/output-1.log"))
    )
    folder = recorded(tmp_path, logged)
    run, scenario = reader.find_scenario("one", tmp_path)

    log = reader.locate_log(run, scenario, scenario.output.log or "")

    assert log == folder / "one/output-1.log"


def test_a_scenario_that_no_run_had_is_told_with_the_nearest(tmp_path: Path) -> None:
    """In a given run, or in all of them."""
    with pytest.raises(NothingSelectedError, match="no run is recorded"):
        reader.find_scenario("bad", tmp_path)
    name = recorded(tmp_path, result_factories.result(PASSED, name="daemon_starts")).name
    for asked in ("daemon_start", f"{name}/daemon_start"):
        with pytest.raises(NothingSelectedError, match="did you mean 'daemon_starts'"):
            reader.find_scenario(asked, tmp_path)


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

    assert outcomes(reader.find_run(None, project.top)) == {
        "good": "PASS",
        "slow": "NOT_RUN the run ended before it",
    }


def test_a_run_that_cannot_be_looked_at_may_still_go_on(tmp_path: Path) -> None:
    """It is not said to have ended, and the reason is told."""
    folder = halved(tmp_path)
    (folder / ".lease").unlink()
    (folder / ".lease").mkdir()

    reason = outcomes(reader.load_run(folder))["two"]

    assert reason == f"NOT_RUN the run may still go on: {folder}/.lease: Is a directory"


def test_a_result_that_cannot_be_read_is_not_one_that_is_missing(tmp_path: Path) -> None:
    """An error while a result is read is an error of the record."""
    folder = recorded(tmp_path, result_factories.result(PASSED))
    (folder / "one/result.json").unlink()
    (folder / "one/result.json").mkdir()

    with pytest.raises(RecordError, match=r"one/result\.json: Is a directory"):
        reader.load_run(folder)
