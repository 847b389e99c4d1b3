"""Storage of receipts and bypasses, in the project or else in the state directory."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isosmoke.errors import IsosmokeError
from isosmoke.history import gate_records
from isosmoke.history.gate_records import BypassRecord
from support.fixture_types import Ordinary

WHO = BypassRecord(
    task="task-a", agent=None, user="me", folder="/p", at="2026-11-22T20:00:00Z", repository=None
)


def test_homes_are_in_project_then_in_state_directory(tmp_path: Path, state_folder: Path) -> None:
    """Each project has its own directory in the state directory."""
    first, second = (gate_records.list_homes(tmp_path / name, os.environ) for name in ("a", "b"))

    assert first[0] == tmp_path / "a/.isosmoke"
    assert first[-1].parent == second[-1].parent == state_folder / "projects"
    assert first[-1] != second[-1]


def test_receipt_is_saved_in_first_writable_home(tmp_path: Path) -> None:
    """A home that is not a directory is skipped, and the receipt is listed afterwards."""
    (tmp_path / "one").write_text("in the way")
    homes = (tmp_path / "one", tmp_path / "two")

    receipt = gate_records.save_receipt(homes, "run", "text\n")

    assert receipt.read_text() == "text\n"
    assert gate_records.list_receipts(homes[1:]) == (receipt,)
    assert sorted(path.name for path in receipt.parent.parent.iterdir()) == [
        ".gitignore",
        "receipts",
    ]
    assert list(receipt.parent.iterdir()) == [receipt]


def test_receipts_of_same_name_do_not_collide(tmp_path: Path) -> None:
    """Two work trees can share a home, and write in the same second."""
    first, second = (gate_records.save_receipt([tmp_path], "run", text) for text in ("1", "2"))

    assert (first.read_text(), second.read_text()) == ("1", "2")


def test_error_names_every_home_when_none_is_writable(tmp_path: Path) -> None:
    """A verdict without a record is not valid."""
    (tmp_path / "one").write_text("in the way")

    with pytest.raises(IsosmokeError, match="one"):
        gate_records.save_receipt([tmp_path / "one"], "run", "text")
    with pytest.raises(IsosmokeError, match="one"):
        gate_records.save_bypass([tmp_path / "one"], WHO)


def test_read_only_project_falls_back_to_next_home(tmp_path: Path, ordinary: Ordinary) -> None:
    """An unprivileged user's record goes to the next home."""
    (tmp_path / "fixed").mkdir(mode=0o500)
    code = (
        "import sys; from pathlib import Path\n"
        "from isosmoke.history import gate_records\n"
        "homes = [Path(sys.argv[1]) / 'fixed/.isosmoke', Path(sys.argv[1]) / 'free']\n"
        "print(gate_records.save_receipt(homes, 'run', 'text'))"
    )

    assert ordinary(code, tmp_path).startswith(f"{tmp_path}/free/receipts/run-")


def test_concurrent_bypasses_are_each_one_line(tmp_path: Path) -> None:
    """Every line is present, and each is one record."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: gate_records.save_bypass([tmp_path], WHO), range(200)))

    assert gate_records.list_bypasses([tmp_path, tmp_path / "none"]) == (WHO,) * 200


def test_unreadable_line_is_reported_by_location(tmp_path: Path) -> None:
    """An unreadable line is listed rather than skipped."""
    file = gate_records.save_bypass([tmp_path], WHO)
    with file.open("ab") as end:
        end.write(b'{"task": "cut sh\n\xff\n')

    assert gate_records.list_bypasses([tmp_path]) == (WHO, f"{file}:2", f"{file}:3")
