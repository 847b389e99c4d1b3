"""What doctor says of an engine, whatever it meets."""

from isosmoke.cli.project import doctor
from isosmoke.testing import Act, FakeEngine


def test_an_engine_that_makes_no_sandbox_is_told_with_what_it_is() -> None:
    """A daemon that answers and can make nothing is named, with its endpoint and why that one."""
    found = doctor.looked_at("fake", lambda: FakeEngine({"doctor": Act(refuses="no room")}))

    assert not found.works
    assert found.words == "no process, no sandbox: no room"
    assert (found.version, found.where, found.reason) == ("1", "here", "a test")
    assert found.memory_limit is None


def test_an_engine_that_is_not_there_is_told_by_its_own_words() -> None:
    """Nothing is known of it but what keeps it away."""
    found = doctor.looked_at("fake", lambda: FakeEngine(unavailable="no daemon"))

    assert (found.works, found.words, found.version) == (False, "no daemon", None)
