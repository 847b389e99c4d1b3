"""Durations that shards are balanced by."""

import json
from pathlib import Path

import pytest

from isosmoke.errors import UsageError
from isosmoke.results.outcome import Exited, Stopped
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_results import Attempt, ScenarioResult
from isosmoke.shards import durations
from support import records, result_factories


def make_timed(name: str, *seconds: float) -> ScenarioResult:
    """Return a scenario whose attempts took these times."""
    attempts = [Attempt(ending=Exited(0), phases={"run": each}) for each in seconds]
    return result_factories.make_result(*attempts, name=name)


NEW = records.make_record(make_timed("a", 9.0, 1.5), make_timed("b", 2.0))
OLD = records.make_record(make_timed("a", 7.0), make_timed("c", 3.0))


def test_newest_duration_counts() -> None:
    """Each scenario has the duration of its last attempt in its newest run."""
    assert durations.collect([NEW, OLD]).seconds == {"a": 1.5, "b": 2.0, "c": 3.0}


def test_what_did_not_start_has_no_duration() -> None:
    """A scenario that did not start, and a command, have no duration."""
    never = result_factories.make_result(Attempt(ending=Stopped("SIGINT")), name="never")
    command = records.make_record(make_timed("command", 1.0), command=("true",))

    assert durations.collect([records.make_record(never), command]).seconds == {}


def test_document_is_read_back(tmp_path: Path) -> None:
    """The file that `isosmoke durations` writes has the durations."""
    file = tmp_path / "durations.json"
    file.write_text(render_json(durations.collect([NEW])))

    assert durations.load(file) == {"a": 1.5, "b": 2.0}


def test_run_as_json_has_durations(tmp_path: Path) -> None:
    """A record of a run serves as well, such as that of a merged one."""
    file = tmp_path / "run.json"
    file.write_text(render_json(NEW))

    assert durations.load(file) == {"a": 1.5, "b": 2.0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        "null",
        "{}",
        '{"schema_version": 2, "seconds": {}}',
        '{"schema_version": 1}',
        '{"schema_version": 1, "seconds": {"a": -1}}',
        '{"schema_version": 1, "seconds": {"a": NaN}}',
        '{"schema_version": 1, "seconds": {"a": 1e999}}',
        '{"schema_version": 1, "seconds": {"a": null}}',
        '{"schema_version": 1, "seconds": {"a": "x"}}',
        '{"schema_version": 1, "scenarios": [{"name": "a", "attempts": [], "outcome": "PASS"}]}',
        '{"schema_version": 1, "scenarios": 3}',
        "[" * 100_000,
    ],
)
def test_anything_else_is_refused(text: str, tmp_path: Path) -> None:
    """A file without durations is an error, and never a division without them."""
    file = tmp_path / "durations.json"
    file.write_text(text)

    with pytest.raises(UsageError, match="not a file of durations") as caught:
        durations.load(file)
    assert "isosmoke durations" in caught.value.hint


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A missing file, as of a cache that was not restored, is an error."""
    with pytest.raises(UsageError, match="No such file"):
        durations.load(tmp_path / "missing.json")


def test_duration_of_a_list_is_refused(tmp_path: Path) -> None:
    """The message names the scenario whose duration is invalid."""
    file = tmp_path / "durations.json"
    file.write_text(json.dumps({"schema_version": 1, "seconds": {"odd": -0.5}}))

    with pytest.raises(UsageError, match=r"odd: -0\.5 is no duration"):
        durations.load(file)
