"""The files that stand-ins leave in a sandbox: regular ones of a limited size, and nothing else."""

from pathlib import Path, PurePosixPath

from isosmoke.execution.places import stand_in_mounts
from isosmoke.execution.places.stand_in_mounts import ReceivedStandIns
from isosmoke.manifest.models import Scenario

CALLS = "/run/calls"


def collect(directory: Path) -> ReceivedStandIns:
    """Return the stand-ins of an order whose sandbox left this directory."""
    received = ReceivedStandIns(directories={}, returned=(CALLS,), empty=directory)
    scenario = Scenario.validate({"name": "one", "script": "one.sh"}).place(directory)
    received.collect(scenario, {PurePosixPath(CALLS): directory, PurePosixPath("/x"): Path("/")})
    return received


def test_only_regular_files_are_returned(tmp_path: Path) -> None:
    """A link that a script left is not followed, and neither is a directory."""
    (tmp_path / "log").write_bytes(b"calls")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "directory").mkdir()

    assert collect(tmp_path).files == {CALLS: {"log": b"calls"}}


def test_files_that_are_too_large_are_not_returned(tmp_path: Path) -> None:
    """A recording over the limit is left out, and a note says so."""
    with (tmp_path / "log").open("wb") as file:
        file.truncate(stand_in_mounts.MAX_BYTES + 1)
    received = collect(tmp_path)

    assert received.files == {}
    (note,) = received.notes
    assert note.startswith("one: its stand-in recorded more than 64 MiB")
