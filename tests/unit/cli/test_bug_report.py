"""Unexpected errors: one line, a file with the rest, and an exit code that says nothing of wg."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from isosmoke.cli import bug_report

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def raised() -> Exception:
    """Return an error with a traceback."""
    try:
        raise KeyError("a\nb")  # noqa: TRY301 - as an unexpected one comes
    except KeyError as error:
        return error


def test_report_has_what_a_maintainer_needs() -> None:
    """It gives the command as a shell takes it, versions, and the traceback."""
    text = bug_report.render(raised(), ["isosmoke", "run", "a b"], NOW)

    assert "command: isosmoke run 'a b'\n" in text
    assert "time: 2026-11-29T12:00:00+00:00\n" in text
    assert re.search(r"^isosmoke: \d", text, re.MULTILINE)
    assert re.search(r"^libraries: click \d.*, pydantic \d", text, re.MULTILINE)
    assert "in raised" in text


def test_error_is_one_line_with_the_path_of_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file exists, and only its owner can read it, as a command line may hold a secret."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path))
    error = bug_report.report(raised(), ["isosmoke"])
    (file,) = (tmp_path / "bug-reports").iterdir()

    assert error.message == r"unexpected error: KeyError: 'a\nb'"
    assert str(file) in error.hint
    assert file.stat().st_mode & 0o077 == 0
    assert file.read_text().endswith("KeyError: 'a\\nb'\n")


def test_error_names_the_line_where_no_file_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state directory that is a file costs the report, and not the message."""
    (tmp_path / "state").write_text("")
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))
    error = bug_report.report(raised(), ["isosmoke"])

    assert re.fullmatch(
        r"unexpected error: KeyError: .* \(.*test_bug_report\.py:\d+\)", error.message
    )
