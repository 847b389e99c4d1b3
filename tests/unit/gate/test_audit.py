"""Audits of completed tasks: missing receipts and recorded bypasses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.gate import audit, receipt
from isosmoke.gate.audit import Finding, Graph, Records
from isosmoke.gate.receipt import Circumstances, Statement
from isosmoke.history.gate_records import BypassRecord
from isosmoke.manifest.parser import parse
from isosmoke.results.outcome import Outcome
from support import available
from support.git_repositories import Git
from support.project import BAD, GOOD, SKIPS, Project

SCENARIOS = parse(GOOD + BAD + SKIPS, Path("m.toml")).scenarios

BYPASS = BypassRecord(
    task="task-a", agent="agent-1", user="me", folder="/p", at="2026-11-22T12:00", repository=None
)


def create_receipt(
    task: str = "task-a", *, at: str = "10:00", opened: bool = True, name: str = "good"
) -> Statement:
    """Return a receipt of a task whose scenario `name` passed."""
    about = Circumstances(
        task=task,
        open=opened,
        tested_at=f"2026-11-22T{at}",
        manifest="/p/m.toml",
        outcomes={name: Outcome.PASS},
        engine="bubblewrap",
    )
    return receipt.create_statement(
        about, receipt.create_hashed_resource("manifest", "m.toml", "ab" * 32), ()
    )


def find_all(graph: Graph, records: Records, *changes: str) -> list[Finding]:
    """Return all findings, given the `changes` since each receipt."""
    return list(audit.find_problems(graph, SCENARIOS, records, lambda _: changes))


CASES = {
    "nothing at all": (Records(), "is done and owns good, but has no receipt"),
    "a receipt of another task": (Records(receipts=[create_receipt("task-b")]), "has no receipt"),
    "shut": (Records(receipts=[create_receipt(opened=False)]), "records a shut gate"),
    "shut after it was open": (
        Records(receipts=[create_receipt(at="11:00", opened=False), create_receipt(at="10:00")]),
        "from 2026-11-22T11:00, records a shut gate",
    ),
    "of another scenario": (Records(receipts=[create_receipt(name="bad")]), "does not cover good"),
    "open": (Records(receipts=[create_receipt()]), ""),
    "open after it was shut": (
        Records(receipts=[create_receipt(at="11:00"), create_receipt(at="10:00", opened=False)]),
        "",
    ),
}


@pytest.mark.parametrize(("records", "message"), CASES.values(), ids=CASES)
def test_done_task_needs_latest_receipt_of_open_gate(records: Records, message: str) -> None:
    """The latest receipt decides, and it must cover every scenario that the task owns."""
    findings = find_all(Graph(done=("task-a",)), records)

    assert len(findings) == bool(message)
    for finding in findings:
        assert (finding.subject, finding.weighs) == ("task-a", True)
        assert message in finding.words


def test_task_without_scenarios_or_not_done_is_ignored() -> None:
    """Such a task needs no receipt."""
    assert find_all(Graph(done=("task-z",)), Records()) == []
    assert find_all(Graph(), Records()) == []


def test_changes_since_receipt_are_a_note() -> None:
    """A library that changes later does not undo a completed task; `--strict` counts it."""
    (finding,) = find_all(
        Graph(done=("task-a",)), Records(receipts=[create_receipt()]), "file lib.sh changed"
    )

    assert "since its receipt: file lib.sh changed" in finding.words
    assert not finding.weighs


def test_bypass_is_a_finding_until_the_gate_opens() -> None:
    """The finding names the user or agent, and becomes a note once the gate opened."""
    human = replace(BYPASS, agent=None)

    (pending,) = find_all(
        Graph(), Records(bypasses=[BYPASS], receipts=[create_receipt(at="11:59")])
    )
    (redeemed,) = find_all(
        Graph(), Records(bypasses=[human], receipts=[create_receipt(at="12:01")])
    )
    (still_shut,) = find_all(
        Graph(), Records(bypasses=[BYPASS], receipts=[create_receipt(at="12:01", opened=False)])
    )

    assert (pending.weighs, redeemed.weighs, still_shut.weighs) == (True, False, True)
    assert "agent 'agent-1'" in pending.words
    assert "user me; the gate has opened for it since" in redeemed.words


def test_unreadable_input_is_a_finding() -> None:
    """An unreadable line may be a completed task, and an unreadable file a shut gate's receipt."""
    findings = find_all(Graph(unreadable=(3,)), Records(unreadable=["/p/r.json"]))

    assert [(finding.subject, finding.weighs) for finding in findings] == [
        ("graph line 3", True),
        ("/p/r.json", True),
    ]


@pytest.mark.parametrize(
    ("line", "graph"),
    [
        ('{"kind":"task","id":"a","status":"done"}', Graph(done=("a",))),
        ('{"kind":"task","id":"a","status":"pending-review"}', Graph(done=("a",))),
        ('{"kind":"task","id":"a","status":"in-progress"}', Graph()),
        ('{"kind":"task","id":"a"}', Graph()),
        ('{"kind":"task","id":"a","status":["done"]}', Graph()),
        ('{"kind":"archivedboundary","id":"a","status":"done"}', Graph()),
        ('{"kind":"moon","x":[1]}', Graph()),
        ("# a comment", Graph()),
        ("  ", Graph()),
        ('{"kind":"task","id":"a","sta', Graph(unreadable=(1,))),
        ('{"kind":"task","status":"done"}', Graph(unreadable=(1,))),
        ('{"id":"a","status":"done"}', Graph(unreadable=(1,))),
        ("[]", Graph(unreadable=(1,))),
        ("[" * 5000, Graph(unreadable=(1,))),
    ],
)
def test_each_graph_line_is_parsed_skipped_or_unreadable(line: str, graph: Graph) -> None:
    """A line is unreadable only if it may be a task and cannot be parsed."""
    assert audit.parse_graph(line) == graph


def test_later_line_replaces_earlier() -> None:
    """Lines replace each other as in wg, and unreadable lines keep their numbers."""
    task = '{{"kind":"task","id":"a","status":"{}"}}\n'

    assert audit.parse_graph(task.format("done") + "oh\n" + task.format("open")) == Graph((), (2,))


@given(st.text())
def test_any_text_is_a_graph(text: str) -> None:
    """Parsing never raises, and never invents a task."""
    assert audit.parse_graph(text).done == ()


# The tests below use the command line.


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose graph has two completed tasks, one of which owns no scenario."""
    project = Project.within(tmp_path)
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
    assert (after.returncode, after.stdout) == (0, "audit: clean\n")
    (finding,) = json.loads(bypassed.stdout)["findings"]
    assert (bypassed.returncode, finding["subject"]) == (1, "task-b")


def test_strict_counts_changes_since_receipt(project: Project) -> None:
    """A changed library is a note, or a finding with `--strict`; another binary is neither."""
    available.require_engine("bubblewrap")
    project.run("gate", "task-a")
    project.binary.write_text("#!/bin/sh\necho newer\n")
    clean = project.run("audit", "--strict")
    project.path("scenarios/lib.sh").write_text("fine() { true; }\n")

    plain, strict = project.run("audit"), project.run("audit", "--strict")

    assert clean.returncode == 0
    assert (plain.returncode, strict.returncode) == (0, 1)
    assert plain.stdout.startswith("note: task-a: is done; since its receipt: ")


def test_task_gated_in_removed_work_tree_is_clean(project: Project) -> None:
    """The receipt of an agent's work tree is found and compared after its removal."""
    available.require_engine("bubblewrap")
    git = Git(project.top)
    git("add", "--all", ":!.wg")
    git("commit", "--quiet", "--message", "all of it")
    linked = project.top.parent / "linked"
    git("worktree", "add", "--quiet", str(linked))
    gated = Project(linked, project.state).run("gate", "task-a")
    git("worktree", "remove", "--force", str(linked))

    done = project.run("audit", "--strict")

    assert gated.returncode == 0, gated.stderr
    assert (done.returncode, done.stdout) == (0, "audit: clean\n")


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
