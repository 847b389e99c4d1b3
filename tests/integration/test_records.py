"""The records of runs, as whole commands write, remove and read them."""

import os
import subprocess
from pathlib import Path

import pytest

from isosmoke.history import layout, reader
from support import available
from support.past_runs import get_outcomes, record_run
from support.project import GOOD, Project

SLOW = """
[[scenario]]
name = "slow"
script = "scenarios/slow.sh"
"""


def test_run_ended_by_sigkill_can_be_read(tmp_path: Path) -> None:
    """Finished results are recorded, and the other scenarios are NOT_RUN."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, GOOD + SLOW)
    project.kill_during("slow", "run", "-j", "1", recorded=["good"])

    assert get_outcomes(reader.find_run(None, project.top)) == {
        "good": "PASS",
        "slow": "NOT_RUN the run ended before this scenario",
    }


def test_run_applies_retention_of_manifest(tmp_path: Path) -> None:
    """`[record]` applies to a run and to the gate's run."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, "[record]\nkeep_runs = 2\n" + GOOD)
    for arguments in (("run",), ("run",), ("run",), ("gate", "task-a"), ("run",)):
        assert project.run(*arguments).returncode == 0
        assert len(layout.list_run_directories(project.top)) <= 2


def test_run_reports_records_it_could_not_remove(tmp_path: Path) -> None:
    """The note is in the summary of the run, and the run passes."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, "[record]\nkeep_runs = 1\n" + GOOD)
    doubtful = record_run(project.top)
    (doubtful / ".lease").mkdir()
    record_run(project.top)

    done = project.run("run")

    assert done.returncode == 0
    assert f"{doubtful} is kept" in " ".join((done.stdout + done.stderr).split())


FILL = """
[[scenario]]
name = "prints"
script = "scenarios/prints.sh"
"""


def test_full_disk_changes_no_verdict(tmp_path: Path) -> None:
    """The scenario passes with exit code 0, and one warning names what was not recorded."""
    available.require_engine("bubblewrap")
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    project = Project.within(tmp_path, GOOD + FILL)
    project.path("scenarios/prints.sh").write_text("head -c 500000 /dev/zero | tr '\\0' x\n")
    project.path(".isosmoke").mkdir()
    mount = "mount -t tmpfs -o size=100k tmpfs .isosmoke && exec"
    command = ["unshare", "--mount", "sh", "-c", f'{mount} "$@"', "sh", *project.command("run")]

    done = subprocess.run(
        command,
        cwd=project.top,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout.count("PASS  ")) == (0, 3), done.stdout + done.stderr
    assert done.stderr.count("WARNING") == 1
    assert "No space left on device" in done.stderr
