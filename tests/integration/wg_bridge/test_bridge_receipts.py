"""Receipts of tasks that an unmodified wg completes through the bridge."""

import json
from pathlib import Path

import pytest

from isosmoke.gate import receipt
from isosmoke.gate.receipt import Statement
from isosmoke.results.outcome import Outcome
from isosmoke.testing.bench import Witness
from support import bridged_wg
from support.bridged_wg import Project
from support.git_repositories import Git
from support.project import Project as Caller

DONE = {"kind": "task", "id": "task", "status": "done"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project with a graph, in its own directory."""
    project = bridged_wg.create_project(tmp_path, monkeypatch)
    (project.top / ".wg").mkdir()
    (project.top / ".wg/graph.jsonl").write_text(f"{json.dumps(DONE)}\n")
    return project


def read_receipts(project: Project) -> list[Statement]:
    """Return all receipts of a project."""
    files = sorted((project.top / ".isosmoke/receipts").glob("*.json"))
    return [receipt.parse(file.read_bytes(), str(file)) for file in files]


def test_bridged_task_has_a_receipt_and_a_clean_audit(project: Project) -> None:
    """The receipt names the task, the bridge and each scenario; the honest task is not accused."""
    project.add("one", "exit 0")
    project.add("two", "exit 0")
    Git(project.top).commit("first", _gitignore=".wg\nthe mirror\ndone.txt\n")
    project.bridge()

    project.gate()
    audit = Caller(project.top, Path(project.environment({})["ISOSMOKE_STATE"])).run(
        "audit", WG_SMOKE_MANIFEST=str(project.mirror), ISOSMOKE_WG="", PATH=bridged_wg.PATH
    )

    (written,) = read_receipts(project)
    about = written.circumstances
    assert project.done
    assert (about.task, about.open, about.way) == ("task", True, "bridge")
    assert about.outcomes == {"one": Outcome.PASS, "two": Outcome.PASS}
    assert about.graph == str(project.top / ".wg")
    assert (audit.returncode, audit.stdout, audit.stderr) == (0, "audit: clean\n", "")
    assert bridged_wg.is_cleaned_up()


def test_blocked_task_has_the_receipt_of_a_shut_gate(project: Project) -> None:
    """A failure leaves a receipt as well, so that a retry is visible."""
    project.add("passes", "exit 0")
    project.add("fails", "exit 3")
    project.bridge()

    project.gate()

    (written,) = read_receipts(project)
    assert not project.done
    assert not written.circumstances.open
    assert written.circumstances.outcomes["fails"] is Outcome.FAIL


def test_script_that_is_changed_during_the_run_blocks(project: Project) -> None:
    """The last verdict is held back until everything is compared, so the task is not done."""
    with Witness() as witness:
        project.add("one", f"{witness.connect} read -r word <&3; test $word = enough")
        project.bridge()
        with project.running() as process:
            line = witness.accept()
            (project.top / "one.sh").write_text("exit 0\n")
            line.send_line("enough")
            replies = bridged_wg.read_replies(process)

    code, lines = replies["one"]
    assert (code, lines[0]) == (125, "ERROR one: tested files changed during the run")
    assert "script one.sh changed" in lines
    assert not project.done
    assert not read_receipts(project)[0].circumstances.open


def test_task_is_blocked_if_no_receipt_can_be_written(project: Project) -> None:
    """Without a receipt the last verdict is an error."""
    project.add("one", "exit 0")
    (project.top / ".isosmoke").mkdir()
    (project.top / ".isosmoke/receipts").symlink_to(project.top)
    project.bridge()

    code, lines = project.gate()["one"]

    assert code == 125
    assert "symbolic link" in lines[0]
    assert not project.done
