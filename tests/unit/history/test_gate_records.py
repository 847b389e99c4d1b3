"""Records are written whole or not at all, beside the runs or else in the state folder."""

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


def test_homes_are_the_projects_then_the_state_folders(tmp_path: Path, state_folder: Path) -> None:
    """Each project has a place of its own in the state folder."""
    one, two = (gate_records.homes(tmp_path / name, os.environ) for name in ("a", "b"))

    assert one[0] == tmp_path / "a/.isosmoke"
    assert one[-1].parent == two[-1].parent == state_folder / "projects"
    assert one[-1] != two[-1]


def test_a_receipt_is_kept_in_the_first_home_that_takes_it(tmp_path: Path) -> None:
    """A home that is no folder is passed over; what is kept is found again."""
    (tmp_path / "one").write_text("in the way")
    homes = (tmp_path / "one", tmp_path / "two")

    kept = gate_records.keep_receipt(homes, "run", "text\n")

    assert kept.read_text() == "text\n"
    assert gate_records.receipts(homes) == (kept,)
    assert sorted(one.name for one in kept.parent.parent.iterdir()) == [".gitignore", "receipts"]
    assert list(kept.parent.iterdir()) == [kept]


def test_two_receipts_of_one_name_do_not_meet(tmp_path: Path) -> None:
    """Two work trees may share a home, and a second."""
    one, two = (gate_records.keep_receipt([tmp_path], "run", text) for text in ("1", "2"))

    assert (one.read_text(), two.read_text()) == ("1", "2")


def test_where_no_home_takes_a_record_each_is_named(tmp_path: Path) -> None:
    """A verdict without a record is none."""
    (tmp_path / "one").write_text("in the way")

    with pytest.raises(IsosmokeError, match="one"):
        gate_records.keep_receipt([tmp_path / "one"], "run", "text")
    with pytest.raises(IsosmokeError, match="one"):
        gate_records.keep_bypass([tmp_path / "one"], WHO)


def test_a_project_that_cannot_be_written_to_has_its_records_elsewhere(
    tmp_path: Path, ordinary: Ordinary
) -> None:
    """An ordinary user's read-only folder falls back to the next home."""
    (tmp_path / "fixed").mkdir(mode=0o500)
    code = (
        "import sys; from pathlib import Path\n"
        "from isosmoke.history import gate_records\n"
        "homes = [Path(sys.argv[1]) / 'fixed/.isosmoke', Path(sys.argv[1]) / 'free']\n"
        "print(gate_records.keep_receipt(homes, 'run', 'text'))"
    )

    assert ordinary(code, tmp_path).startswith(f"{tmp_path}/free/receipts/run-")


def test_bypasses_of_many_at_once_stay_whole(tmp_path: Path) -> None:
    """Every line is there, and each is one record."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: gate_records.keep_bypass([tmp_path], WHO), range(200)))

    assert gate_records.bypasses([tmp_path, tmp_path / "none"]) == (WHO,) * 200


def test_a_spoiled_line_is_named_by_its_place(tmp_path: Path) -> None:
    """What cannot be read is told, not passed over."""
    file = gate_records.keep_bypass([tmp_path], WHO)
    with file.open("ab") as end:
        end.write(b'{"task": "cut sh\n\xff\n')

    assert gate_records.bypasses([tmp_path]) == (WHO, f"{file}:2", f"{file}:3")
