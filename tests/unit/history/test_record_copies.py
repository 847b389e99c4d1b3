"""Copies of a record in a directory that the user names."""

from pathlib import Path

import pytest

from isosmoke.errors import UsageError
from isosmoke.history import reader, record_copies
from support import result_factories
from support.past_runs import PASSED, record_half_run, record_run


def test_copy_is_a_record(tmp_path: Path) -> None:
    """A copy can be read like the record."""
    record = record_run(tmp_path, result_factories.make_result(PASSED))
    target = tmp_path / "deep" / "copy"

    record_copies.check_target(target)
    record_copies.copy_record(record, target)

    assert reader.load_run(target).scenarios == reader.load_run(record).scenarios


def test_copy_is_of_no_running_process(tmp_path: Path) -> None:
    """The copy of a run in progress has no lease, which would be that of another machine."""
    record = record_half_run(tmp_path)
    record_copies.copy_record(record, tmp_path / "copy")

    assert (record / ".lease").exists()
    assert not (tmp_path / "copy/.lease").exists()


def test_empty_directory_is_a_target(tmp_path: Path) -> None:
    """An empty directory can receive a record."""
    record_copies.check_target(tmp_path)


@pytest.mark.parametrize("kind", ["file", "full", "link", "dangling"])
def test_anything_else_is_no_target(kind: str, tmp_path: Path) -> None:
    """A file, a directory with content or a link is refused before anything runs."""
    target = tmp_path / "target"
    match kind:
        case "file":
            target.touch()
        case "full":
            target.mkdir()
            (target / "x").touch()
        case "link":
            (tmp_path / "other").mkdir()
            target.symlink_to("other")
        case _:
            target.symlink_to("missing")

    with pytest.raises(UsageError, match="--output"):
        record_copies.check_target(target)
