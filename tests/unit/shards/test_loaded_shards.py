"""Records of shards of unknown origin."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.errors import UsageError
from isosmoke.shards import loaded_shards, merged_record, merging
from isosmoke.shards.loaded_shards import Unusable
from support import records, shard_records
from support.shard_records import edit

RESULTS = (records.make_passed("a"), records.make_failed("b"))
Change = Callable[[Path], object]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Return the record of the only shard of a run with `a` and `b`."""
    return shard_records.write(tmp_path / "shard", 1, 1, RESULTS)


def link(path: Path, target: Path | str) -> None:
    """Replace a path by a symbolic link."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(target)


def make_pipe(path: Path) -> None:
    """Replace a file by a named pipe."""
    path.unlink()
    os.mkfifo(path)


def make_sparse(*paths: Path) -> None:
    """Create files of 600 MiB each that need no space."""
    for path in paths:
        path.touch()
        os.truncate(path, 600 << 20)


def test_record_is_loaded(record: Path) -> None:
    """A record of a shard has its shard, its results and the whole selection."""
    part = shard_records.load(record)

    assert (part.shard.number, part.shard.total) == (1, 1)
    assert [str(scenario.outcome) for scenario in part.run.scenarios] == ["PASS", "FAIL"]
    assert [selected.name for selected in part.selection] == ["a", "b"]


CHANGES: dict[str, tuple[Change, str]] = {
    "no header": (lambda path: (path / "run.json").unlink(), "No such file"),
    "damaged header": (lambda path: (path / "run.json").write_text('{"a"'), "run.json is invalid"),
    "damaged result": (lambda path: (path / "b/result.json").write_text("[]"), "b/result.json is"),
    "deep JSON": (lambda path: (path / "run.json").write_text("[" * 90_000), "run.json is invalid"),
    "header is a link": (lambda path: link(path / "run.json", "/etc/passwd"), "symbolic link"),
    "scenario is a link": (lambda path: link(path / "b", "/etc"), "symbolic link"),
    "result is a link": (lambda path: link(path / "b/result.json", "/dev/zero"), "symbolic link"),
    "header is a pipe": (lambda path: make_pipe(path / "run.json"), "named pipe"),
    "header is huge": (lambda path: os.truncate(path / "run.json", 300 << 20), "more than 256 MiB"),
    "all is huge": (lambda path: make_sparse(path / "1.log", path / "2.log"), "exceed 1 GiB"),
    "signed receipt is a link": (
        lambda path: link(path / "receipt.dsse", "/etc/passwd"),
        "receipt.dsse",
    ),
    "signed receipt is no text": (
        lambda path: (path / "receipt.dsse").write_bytes(b"\xff"),
        "receipt.dsse is no text",
    ),
    "signed receipt is huge": (
        lambda path: (path / "receipt.dsse").write_text("x" * (17 << 20)),
        "receipt.dsse is larger than a signed receipt",
    ),
    "no shard": (
        lambda path: edit(path / "run.json", lambda run: run.update(shard=None)),
        "not the record of a shard",
    ),
    "escaping name": (
        lambda path: edit(path / "run.json", lambda run: run["planned"][0].update(name="../a")),
        "run.json is invalid: planned.0.name",
    ),
    "later version": (
        lambda path: edit(path / "run.json", lambda run: run.update(schema_version=2)),
        "newer isosmoke",
    ),
    "number 0": (
        lambda path: edit(path / "run.json", lambda run: run["shard"].update(number=0)),
        "a number is that of no shard",
    ),
    "selection is shorter": (
        lambda path: edit(path / "run.json", lambda run: run["selection"].pop()),
        "its selection has another hash",
    ),
    "selection is longer": (
        lambda path: edit(
            path / "run.json", lambda run: run["selection"].append(run["selection"][0])
        ),
        "a scenario is in it twice",
    ),
    "total is huge": (
        lambda path: edit(path / "run.json", lambda run: run["shard"].update(total=10**9)),
        "more shards than a run",
    ),
    "division changed": (
        lambda path: edit(path / "run.json", lambda run: run["shard"].update(partition="0" * 64)),
        "its division has another hash",
    ),
    "result of another": (
        lambda path: edit(path / "b/result.json", lambda result: result.update(name="a")),
        "its scenarios are not those of its shard",
    ),
    "start has no time zone": (
        lambda path: edit(
            path / "run.json", lambda run: run.update(started_at="2026-11-22T12:30:00")
        ),
        "its start has no time zone",
    ),
    "plan is shorter": (
        lambda path: edit(path / "run.json", lambda run: run["planned"].pop()),
        "its scenarios are not those of its shard",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_altered_record_cannot_be_used(name: str, record: Path) -> None:
    """A record that is damaged, too large, or contradicts itself is refused with a reason."""
    change, reason = CHANGES[name]
    change(record)

    part = loaded_shards.load(record)

    assert isinstance(part, Unusable)
    assert reason in part.reason


def test_blocking_follows_from_the_outcome(record: Path) -> None:
    """A record that claims that a failure does not block is corrected."""
    edit(record / "b/result.json", lambda result: result.update(blocks=False))
    edit(record / "run.json", lambda run: run.update(counts={"PASS": 2}))

    run = shard_records.load(record).run

    assert [scenario.blocks for scenario in run.scenarios] == [False, True]
    assert run.counts == {"PASS": 1, "FAIL": 1}


def test_result_that_is_missing_is_not_run(record: Path) -> None:
    """A scenario without a result did not run, as in any other record."""
    (record / "a/result.json").unlink()

    run = shard_records.load(record).run

    assert str(run.scenarios[0].outcome) == "NOT_RUN"


def test_records_are_found_in_directories(tmp_path: Path) -> None:
    """A directory may contain records, in directories, and each record is found once."""
    top = tmp_path / "all"
    for number in (1, 2):
        shard_records.write(tmp_path / f"{number}", number, 2, RESULTS)
        (top / f"shard-{number}" / "runs").mkdir(parents=True)
        (tmp_path / f"{number}").rename(top / f"shard-{number}" / "runs" / "id")

    found = loaded_shards.find_records([top, top / "shard-1", top / "shard-2/../shard-1"])

    assert found == tuple(top / f"shard-{number}/runs/id" for number in (1, 2))


def test_link_to_a_record_is_not_searched(tmp_path: Path, record: Path) -> None:
    """A link in a directory of records is not followed."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "shard").symlink_to(record)

    assert loaded_shards.find_records([tmp_path / "links"]) == (tmp_path / "links",)


def test_missing_directory_is_an_error(tmp_path: Path) -> None:
    """A directory that does not exist is an error of the command line."""
    with pytest.raises(UsageError, match="no such directory"):
        loaded_shards.find_records([tmp_path / "missing"])


def save(record: Path, working: Path) -> Path:
    """Merge and save a single record; return the directory of the merged one."""
    working.mkdir(exist_ok=True)
    part = shard_records.load(record)
    run = merged_record.save(merging.merge([part], []), [part], working)
    return Path(run.record or "")


def test_logs_are_copied(tmp_path: Path, record: Path) -> None:
    """The merged record has the logs of the shards, at its own paths."""
    merged = save(record, tmp_path / "project")

    assert (merged / "a/output-1.log").read_text() == "a 1\n"
    result = json.loads((merged / "a/result.json").read_text())
    assert result["output"]["log"] == str(merged / "a/output-1.log")


@pytest.mark.parametrize("target", ["/etc/passwd", "../b/output-1.log", "missing"])
def test_log_that_is_a_link_is_not_copied(target: str, tmp_path: Path, record: Path) -> None:
    """A link in place of a log is not followed: the log is missing, the outcome stays."""
    link(record / "a/output-1.log", target)
    merged = save(record, tmp_path / "project")

    assert not (merged / "a/output-1.log").exists()
    assert json.loads((merged / "a/result.json").read_text())["output"]["log"] is None


@pytest.mark.parametrize("log", ["result.json", "..", "/etc/passwd", "output-1.log/../x", ""])
def test_log_with_another_name_is_not_copied(log: str, tmp_path: Path, record: Path) -> None:
    """A record may name any path as its log; only the names that runs give are copied."""
    edit(
        record / "a/result.json",
        lambda result: result["attempts"][0]["output"].update(log=log),
    )
    merged = save(record, tmp_path / "project")

    assert sorted(path.name for path in (merged / "a").iterdir()) == ["result.json"]
    assert json.loads((merged / "a/result.json").read_text())["name"] == "a"


def test_working_of_a_record_is_not_used(tmp_path: Path) -> None:
    """Nothing is read or written at the paths that a record names."""
    record = shard_records.write(
        tmp_path / "odd", 1, 1, RESULTS, working=tmp_path / "trap", manifest=tmp_path / "trap/m"
    )
    save(record, tmp_path / "project")

    assert not (tmp_path / "trap").exists()
