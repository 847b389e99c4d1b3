"""Findings of `isosmoke doctor` about an engine and the state directory."""

from pathlib import Path

import pytest

from isosmoke.cli.project import doctor
from isosmoke.host import state
from isosmoke.testing import Act, FakeEngine


def test_engine_without_sandboxes_is_described() -> None:
    """An engine that answers but creates no sandbox is reported with its endpoint."""
    finding = doctor.check_engine("fake", lambda: FakeEngine({"doctor": Act(refuses="no room")}))

    assert not finding.works
    assert finding.words == "no process, no sandbox: no room"
    assert (finding.version, finding.where, finding.reason) == ("1", "here", "a test")
    assert finding.memory_limit is None


def test_unavailable_engine_is_reported_with_its_message() -> None:
    """For an unavailable engine, only the reason is known."""
    finding = doctor.check_engine("fake", lambda: FakeEngine(unavailable="no daemon"))

    assert (finding.works, finding.words, finding.version) == (False, "no daemon", None)


@pytest.mark.parametrize("kind", ["file", "read-only"])
def test_state_that_cannot_be_written_is_reported(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finding has the path, the reason and a hint."""
    directory = tmp_path if kind == "file" else Path("/proc/self")
    if kind == "file":
        (tmp_path / "scratch").touch()
    monkeypatch.setenv("ISOSMOKE_STATE", str(directory))

    finding = doctor.check_state()

    assert not finding.good
    assert str(directory) in finding.words
    assert finding.hint


def test_state_that_can_be_written_is_reported() -> None:
    """Nothing remains of the check."""
    finding = doctor.check_state()

    assert finding.good
    assert not list(state.ensure_directory("scratch").iterdir())
