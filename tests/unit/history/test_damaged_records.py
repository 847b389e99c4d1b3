"""Damaged records: each is named, and none is waited for or passed over."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.errors import ManifestError, RecordError, UsageError
from isosmoke.history import gate_records, layout, reader, rerun
from isosmoke.host import files
from isosmoke.host.files import MAX_READ
from isosmoke.manifest import loader
from isosmoke.manifest.models import Scenario
from support import result_factories
from support.past_runs import FAILED, PASSED, record_run


def create_sparse_file(path: Path, size: int) -> None:
    """Create a file that has a size, but no content."""
    path.touch()
    os.truncate(path, size)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "named pipe": os.mkfifo,
    "directory": Path.mkdir,
    "loop of links": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "another type": lambda path: path.write_text("[7]"),
    "another version": lambda path: path.write_text('{"schema_version": 99}'),
    "no end": lambda path: create_sparse_file(path, MAX_READ + 1),
}
"""Functions that create something at the path of a record."""


@pytest.fixture(params=DAMAGES)
def damage(request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """Return a function that replaces a file and returns its path."""

    def replace(file: Path) -> Path:
        file.unlink(missing_ok=True)
        DAMAGES[request.param](file)
        return file

    return replace


@pytest.mark.parametrize("name", ["run.json", "one/result.json"])
def test_damaged_record_of_run_is_named(
    tmp_path: Path, damage: Callable[[Path], Path], name: str
) -> None:
    """A command that depends on the record fails, and a list of runs names it."""
    record_run(tmp_path, result_factories.make_result(PASSED))
    file = damage(record_run(tmp_path, result_factories.make_result(FAILED)) / name)
    scenarios = (Scenario(name="one", script="one.sh"),)
    requests: list[Callable[[], object]] = [
        lambda: reader.find_run(None, tmp_path),
        lambda: reader.find_scenario("one", tmp_path),
        lambda: reader.find_run_or_scenario("one", tmp_path),
        lambda: rerun.select_failed(scenarios, reader.load_runs(tmp_path, reader.fail)),
    ]
    for request in requests:
        with pytest.raises(RecordError, match=str(file)) as caught:
            request()
        assert caught.value.hint
    reported: list[RecordError] = []
    assert len(reader.list_outcomes("one", tmp_path, reported.append)) == 1
    assert len(tuple(reader.load_runs(tmp_path, reported.append))) == 1
    assert [str(file) in error.message for error in reported] == [True, True]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attempts", []),  # no scenario is tried zero times
        ("seconds", math.nan),
        ("seconds", math.inf),
        ("name", "x\0y"),
        ("name", "../one"),
    ],
)
def test_impossible_value_is_named(tmp_path: Path, key: str, value: object) -> None:
    """A value that isosmoke never writes is an error with the file and the key."""
    file = record_run(tmp_path, result_factories.make_result(FAILED)) / "one/result.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, key: value}))

    with pytest.raises(RecordError, match=f"{file} is invalid: {key}: "):
        reader.find_run_or_scenario("one", tmp_path)


def test_planned_name_leads_nowhere(tmp_path: Path) -> None:
    """The name of a planned scenario is part of a path, so it is checked first."""
    file = record_run(tmp_path, result_factories.make_result(FAILED)) / "run.json"
    file.write_text(file.read_text().replace('"one"', '"../one"'))

    with pytest.raises(RecordError, match=rf"{file} is invalid: planned\.0\.name: "):
        reader.find_run(None, tmp_path)


def test_intact_run_can_be_named_next_to_a_damaged_one(tmp_path: Path) -> None:
    """A damaged run hides only itself from a command that names another run."""
    intact = record_run(tmp_path, result_factories.make_result(PASSED))
    (record_run(tmp_path) / "run.json").write_text("[]")

    run, scenario = reader.find_run_or_scenario(intact.name, tmp_path)

    assert (run.id, scenario) == (reader.load_run(intact).id, None)


def test_older_damaged_run_does_not_prevent_a_selection(tmp_path: Path) -> None:
    """A run that is older than the last outcome of every scenario cannot change a selection."""
    (record_run(tmp_path) / "run.json").write_text("[]")
    record_run(tmp_path, result_factories.make_result(FAILED))
    scenarios = (Scenario(name="one", script="one.sh"),)

    past = reader.load_runs(tmp_path, reader.fail)

    assert rerun.select_failed(scenarios, past) == scenarios


def list_records(top: Path) -> None:
    """List the runs and the receipts of a project."""
    layout.list_run_directories(top)
    gate_records.list_receipts([top / ".isosmoke"])


@pytest.mark.parametrize("name", [".isosmoke", ".isosmoke/runs", ".isosmoke/receipts"])
@pytest.mark.parametrize("kind", ["named pipe", "another type", "loop of links"])
def test_damaged_directory_of_records_is_named(tmp_path: Path, kind: str, name: str) -> None:
    """A file in place of a directory is not a project without records."""
    (tmp_path / ".isosmoke").mkdir()
    if name == ".isosmoke":
        (tmp_path / name).rmdir()
    DAMAGES[kind](tmp_path / name)
    with pytest.raises((RecordError, UsageError), match=str(tmp_path / name)) as caught:
        list_records(tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["named pipe", "directory", "another type"])
def test_damaged_list_of_bypasses_is_named(tmp_path: Path, kind: str) -> None:
    """An audit lists the file, or the line in it, as unreadable."""
    file = tmp_path / "bypasses.jsonl"
    DAMAGES[kind](file)
    (location,) = gate_records.list_bypasses([tmp_path])
    assert str(location).startswith(str(file))


def test_bypass_is_not_written_to_a_named_pipe(tmp_path: Path) -> None:
    """A write to a named pipe without a reader is refused instead of waiting for one."""
    os.mkfifo(tmp_path / "bypasses.jsonl")
    with (
        pytest.raises(UsageError, match="not a regular file"),
        files.open_file(tmp_path / "bypasses.jsonl", os.O_WRONLY | os.O_APPEND),
    ):
        pass


@pytest.mark.parametrize("kind", ["named pipe", "directory", "loop of links"])
def test_manifest_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    """The error names the path and how to name another manifest."""
    DAMAGES[kind](tmp_path / "manifest.toml")
    with pytest.raises(ManifestError, match=r"manifest\.toml") as caught:
        loader.load(tmp_path / "manifest.toml")
    assert "--manifest" in caught.value.hint
