"""Findings of `isosmoke doctor` about an engine."""

from isosmoke.cli.project import doctor
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
