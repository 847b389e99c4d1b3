"""A run uses what earlier runs learned about the binary; a gate learns it anew."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from isosmoke.host import binary
from isosmoke.host.learned import identities, store
from support import available
from support.project import GOOD, Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project whose binary has another known hash than its own."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, GOOD)
    monkeypatch.setenv("ISOSMOKE_STATE", project.environment()["ISOSMOKE_STATE"])
    taken = binary.take(find_binary(project))
    other = taken.folder.rename(str(taken.folder).replace(taken.sha256, "0" * 64))
    copies = {file.name: identities.identify_file(file) for file in other.iterdir()}
    basis = {"program": identities.identify_file(taken.source)}
    store.save("programs", str(taken.source), basis, {"sha256": "0" * 64, "copies": copies})
    return project


def find_binary(project: Project) -> Path:
    """Return the live binary of a project."""
    found = binary.find(None, project.environment())
    assert found is not None
    return found


def has_read_the_binary(project: Project) -> bool:
    """Return whether a command read the binary, and therefore stored a copy under its real hash."""
    sha256 = hashlib.sha256(find_binary(project).read_bytes()).hexdigest()
    return any(project.state.glob(f"binaries/**/{sha256}*"))


ISOSMOKE = (sys.executable, "-m", "isosmoke")

EXAMINING: dict[str, tuple[str, ...]] = {
    "run": (*ISOSMOKE, "run", "good"),
    "run --": (*ISOSMOKE, "run", "--", "true"),
    "stress": (*ISOSMOKE, "stress", "good", "--count", "1"),
    "repro": (*ISOSMOKE, "repro", "--", "true"),
    "api": (sys.executable, "-c", "import isosmoke; isosmoke.run_scenarios(names=['good'])"),
    "api command": (sys.executable, "-c", "import isosmoke; isosmoke.run(['true'])"),
    "pytest": (sys.executable, "-m", "pytest", "-q", "manifest.toml"),
}


@pytest.mark.parametrize("command", EXAMINING.values(), ids=EXAMINING)
def test_what_decides_nothing_uses_what_is_known(
    project: Project, command: tuple[str, ...]
) -> None:
    """A command that examines a scenario does not read a binary that has not changed."""
    done = subprocess.run(
        command,
        cwd=project.top,
        env=dict(project.environment()),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert not has_read_the_binary(project)


def test_run_reports_the_known_hash(project: Project) -> None:
    """The record has the hash that is kept."""
    document = json.loads(project.run("run", "--json").stdout)

    assert document["binary"]["sha256"] == "0" * 64


@pytest.mark.parametrize("command", [("gate", "task-a"), ("done", "task-a")], ids=" ".join)
def test_gate_reads_the_binary(project: Project, command: tuple[str, ...]) -> None:
    """The receipt has the hash of what was tested, whatever is kept about the binary."""
    project.run(*command)

    assert has_read_the_binary(project)
    (receipt,) = project.receipts()
    sha256 = hashlib.sha256(find_binary(project).read_bytes()).hexdigest()
    assert sha256 in receipt.read_text()
    assert "0" * 64 not in receipt.read_text()
