"""The command audit, next to the gates that wrote the receipts."""

import json
import shutil
from pathlib import Path

import pytest

from support import available
from support.git_repositories import Git
from support.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose graph has two completed tasks, one of which owns no scenario."""
    project = Project.within(tmp_path)
    Git(project.top).commit("first", _gitignore=".wg\n")
    project.path(".wg").mkdir()
    lines = [{"kind": "task", "id": task, "status": "done"} for task in ("task-a", "task-z")]
    lines.append({"kind": "task", "id": "task-b", "status": "open"})
    project.path(".wg/graph.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return project


def test_gate_makes_audit_clean(project: Project) -> None:
    """The completed task is a finding before the gate, and a bypass is one after it."""
    available.require_engine("bubblewrap")

    before = project.run("audit")
    project.run("gate", "task-a")
    after = project.run("audit")
    project.run("gate", "task-b", "--skip-smoke")
    bypassed = project.run("audit", "--json")

    assert before.returncode == 1
    assert before.stdout == "task-a: is done and owns good, but has no receipt\naudit: 1 finding\n"
    note = "note: task-a: is done; its receipt is of `isosmoke gate`, which completes no task\n"
    assert (after.returncode, after.stdout) == (0, f"{note}audit: clean\n")
    document = json.loads(bypassed.stdout)
    assert bypassed.returncode == 1
    assert [(loss["kind"], loss["place"]) for loss in document["losses"]] == [("bypass", "task-b")]
    assert [note["kind"] for note in document["notes"]] == ["receipt-gate-only"]
    assert [finding["subject"] for finding in document["findings"]] == ["task-b", "task-a"]


def test_strict_counts_changes_since_receipt(project: Project) -> None:
    """A changed library is a note, or a finding with `--strict`; so is another binary."""
    available.require_engine("bubblewrap")
    project.run("gate", "task-a")
    project.binary.write_text("#!/bin/sh\necho newer\n")
    clean = project.run("audit")
    project.path("scenarios/lib.sh").write_text("fine() { true; }\n")

    plain, strict = project.run("audit"), project.run("audit", "--strict")

    assert clean.returncode == 0
    assert "since its receipt" not in clean.stdout
    assert "is no longer the binary that its gate tested" in clean.stdout
    assert (plain.returncode, strict.returncode) == (0, 1)
    assert "note: task-a: is done; since its receipt: file scenarios/lib.sh" in plain.stdout


def test_renamed_scenario_stays_clean(project: Project) -> None:
    """A rename with an alias is no loss, and no change of what was tested."""
    available.require_engine("bubblewrap")
    project.run("gate", "task-a")
    text = project.manifest.read_text()
    alias = 'name = "better"\naliases = ["good"]'
    project.manifest.write_text(text.replace('name = "good"', alias))

    done = project.run("audit")

    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "audit: clean")
    assert "since its receipt" not in done.stdout


def test_task_gated_in_removed_work_tree_is_clean(project: Project) -> None:
    """The receipt of an agent's work tree is found and compared after its removal."""
    available.require_engine("bubblewrap")
    git, linked = Git(project.top), project.top.parent / "linked"
    git("worktree", "add", "--quiet", str(linked))
    (linked / ".wg").symlink_to(project.path(".wg"))
    gated = Project(linked, project.state).run("gate", "task-a")
    git("worktree", "remove", "--force", str(linked))

    done = project.run("audit")

    assert gated.returncode == 0, gated.stderr
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "audit: clean"


def test_receipt_is_with_the_graph_wherever_the_gate_was_called(
    project: Project, tmp_path: Path
) -> None:
    """A gate and a bypass in another repository are recorded in the project of their graph."""
    available.require_engine("bubblewrap")
    elsewhere = tmp_path / "elsewhere"
    Git(elsewhere)
    other = Project(elsewhere, project.state)
    named = {
        "WG_DIR": str(project.path(".wg")),
        "ISOSMOKE_WG": str(project.binary),
    }
    gated = other.run("gate", "task-a", "--manifest", str(project.manifest), **named)
    bypassed = other.run("gate", "task-b", "--skip-smoke", **named)

    done = project.run("audit")

    assert (gated.returncode, bypassed.returncode) == (0, 0), gated.stderr
    assert len(project.receipts()) == 1
    assert not (elsewhere / ".isosmoke/receipts").exists()
    assert "task-a: is done and owns good, but has no receipt" not in done.stdout
    assert "task-b: bypassed the gate" in done.stdout


def test_manifests_of_a_repository_never_accept_each_others_receipts(tmp_path: Path) -> None:
    """The receipt of a task in one part of a repository is not of the same task in another."""
    available.require_engine("bubblewrap")
    whole = Project.within(tmp_path)
    for part in ("one", "two"):
        shutil.copytree(whole.top / "scenarios", whole.top / part / "scenarios")
        shutil.copy(whole.manifest, whole.top / part / "manifest.toml")
    graph = whole.path(".wg/graph.jsonl")
    graph.parent.mkdir()
    graph.write_text('{"kind":"task","id":"task-a","status":"done"}\n')
    Git(whole.top).commit("first", _gitignore=".wg\n")
    whole.run("gate", "task-a", "--manifest", "one/manifest.toml")

    one, two = (
        whole.run("audit", "--manifest", f"{part}/manifest.toml") for part in ("one", "two")
    )

    assert "has no receipt" not in one.stdout
    assert "task-a: is done and owns good, but has no receipt" in two.stdout


def test_archived_task_is_audited(project: Project) -> None:
    """A task that was archived after its completion needs a receipt as before."""
    graph = project.path(".wg/graph.jsonl")
    project.path(".wg/archive.jsonl").write_text(graph.read_text())
    graph.write_text('{"kind":"archivedboundary","id":"task-a","title":"A","status":"done"}\n')

    done = project.run("audit")

    assert done.returncode == 1
    assert "task-a: is done and owns good, but has no receipt" in done.stdout


def test_unreadable_records_are_named(project: Project) -> None:
    """A broken graph line, a truncated bypass and an invalid receipt are all findings."""
    with project.path(".wg/graph.jsonl").open("a") as graph:
        graph.write("{oh\n")
    project.path(".isosmoke/receipts").mkdir(parents=True)
    project.path(".isosmoke/receipts/r.json").write_text("{}")
    project.path(".isosmoke/bypasses.jsonl").write_text("{")

    done = project.run("audit")

    assert done.returncode == 1
    for name in ("graph line 4", "receipts/r.json", "bypasses.jsonl:1"):
        assert f"{name}: cannot be read" in done.stdout


def test_missing_graph_or_manifest_exits_2(project: Project) -> None:
    """An audit without its input is not clean."""
    no_manifest = project.run("audit", "--manifest", "none.toml")
    project.path(".wg/graph.jsonl").unlink()
    no_graph = project.run("audit")

    assert (no_manifest.returncode, no_graph.returncode) == (2, 2)
    assert "none.toml" in no_manifest.stderr
    assert "graph.jsonl" in no_graph.stderr
