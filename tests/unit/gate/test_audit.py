"""Done tasks that nothing speaks for are named, and so is everybody who went by the gate."""

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


def passed(
    task: str = "task-a", *, at: str = "10:00", opened: bool = True, name: str = "good"
) -> Statement:
    """A receipt of a task whose scenario `name` passed."""
    about = Circumstances(
        task=task,
        open=opened,
        tested_at=f"2026-11-22T{at}",
        manifest="/p/m.toml",
        outcomes={name: Outcome.PASS},
        engine="bubblewrap",
    )
    return receipt.statement(about, receipt.hashed("manifest", "m.toml", "ab" * 32), ())


def told(graph: Graph, records: Records, *changes: str) -> list[Finding]:
    """The findings where `changes` came after every receipt."""
    return list(audit.findings(graph, SCENARIOS, records, lambda _: changes))


CASES = {
    "nothing at all": (Records(), "is done, owns good, and has no receipt"),
    "a receipt of another task": (Records(receipts=[passed("task-b")]), "has no receipt"),
    "shut": (Records(receipts=[passed(opened=False)]), "of a shut gate"),
    "shut after it was open": (
        Records(receipts=[passed(at="11:00", opened=False), passed(at="10:00")]),
        "of a shut gate, at 2026-11-22T11:00",
    ),
    "of another scenario": (Records(receipts=[passed(name="bad")]), "leaves out good"),
    "open": (Records(receipts=[passed()]), ""),
    "open after it was shut": (
        Records(receipts=[passed(at="11:00"), passed(at="10:00", opened=False)]),
        "",
    ),
}


@pytest.mark.parametrize(("records", "words"), CASES.values(), ids=CASES)
def test_a_done_task_needs_a_last_receipt_of_an_open_gate(records: Records, words: str) -> None:
    """The last receipt decides, and it must cover all that the task owns."""
    findings = told(Graph(done=("task-a",)), records)

    assert len(findings) == bool(words)
    for one in findings:
        assert (one.subject, one.weighs) == ("task-a", True)
        assert words in one.words


def test_a_task_that_owns_nothing_or_is_not_done_is_not_named() -> None:
    """There is nothing to ask of it."""
    assert told(Graph(done=("task-z",)), Records()) == []
    assert told(Graph(), Records()) == []


def test_what_changed_since_is_told_and_does_not_weigh() -> None:
    """A library that goes on does not undo what was done; whoever wants it counts it."""
    (finding,) = told(Graph(done=("task-a",)), Records(receipts=[passed()]), "file lib.sh changed")

    assert "since its receipt file lib.sh changed" in finding.words
    assert not finding.weighs


def test_a_bypass_is_always_told_and_weighs_until_the_gate_was_open() -> None:
    """Who it was, and whether the task made up for it."""
    human = replace(BYPASS, agent=None)

    (open_one,) = told(Graph(), Records(bypasses=[BYPASS], receipts=[passed(at="11:59")]))
    (redeemed,) = told(Graph(), Records(bypasses=[human], receipts=[passed(at="12:01")]))
    (still_shut,) = told(
        Graph(), Records(bypasses=[BYPASS], receipts=[passed(at="12:01", opened=False)])
    )

    assert (open_one.weighs, redeemed.weighs, still_shut.weighs) == (True, False, True)
    assert "agent 'agent-1'" in open_one.words
    assert "user me; it has passed through since" in redeemed.words


def test_what_cannot_be_read_weighs() -> None:
    """A line of the graph may be a done task, and a file a receipt of a shut gate."""
    findings = told(Graph(unreadable=(3,)), Records(spoiled=["/p/r.json"]))

    assert [(one.subject, one.weighs) for one in findings] == [
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
def test_each_line_of_a_graph_is_known_passed_over_or_named(line: str, graph: Graph) -> None:
    """Only what may be a task and cannot be understood is unreadable."""
    assert audit.read(line) == graph


def test_a_later_line_replaces_an_earlier() -> None:
    """As wg reads it, and the unreadable ones count on."""
    task = '{{"kind":"task","id":"a","status":"{}"}}\n'

    assert audit.read(task.format("done") + "oh\n" + task.format("open")) == Graph((), (2,))


@given(st.text())
def test_any_text_is_a_graph(text: str) -> None:
    """Reading never raises, and a task is never invented."""
    assert audit.read(text).done == ()


# From here on the command line.


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a graph in which two tasks are done, of which one owns nothing."""
    project = Project.within(tmp_path)
    project.path(".wg").mkdir()
    lines = [{"kind": "task", "id": one, "status": "done"} for one in ("task-a", "task-z")]
    lines.append({"kind": "task", "id": "task-b", "status": "open"})
    project.path(".wg/graph.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    return project


def test_a_gate_makes_the_audit_clean(project: Project) -> None:
    """Before it, the done task is named; after it, nothing is; a bypass is named again."""
    available.engine("bubblewrap")

    before = project.run("audit")
    project.run("gate", "task-a")
    after = project.run("audit")
    project.run("gate", "task-b", "--skip-smoke")
    bypassed = project.run("audit", "--json")

    assert before.returncode == 1
    assert before.stdout == "task-a: is done, owns good, and has no receipt\naudit: 1 to look at\n"
    assert (after.returncode, after.stdout) == (0, "audit: clean\n")
    (finding,) = json.loads(bypassed.stdout)["findings"]
    assert (bypassed.returncode, finding["subject"]) == (1, "task-b")


def test_strict_counts_what_changed_since(project: Project) -> None:
    """A changed library is a note, or with --strict a finding; another binary is neither."""
    available.engine("bubblewrap")
    project.run("gate", "task-a")
    project.binary.write_text("#!/bin/sh\necho newer\n")
    clean = project.run("audit", "--strict")
    project.path("scenarios/lib.sh").write_text("fine() { true; }\n")

    plain, strict = project.run("audit"), project.run("audit", "--strict")

    assert clean.returncode == 0
    assert (plain.returncode, strict.returncode) == (0, 1)
    assert plain.stdout.startswith("note: task-a: is done, and since its receipt")


def test_a_task_gated_in_a_work_tree_that_is_gone_is_clean(project: Project) -> None:
    """As agents work: their work tree is removed, and its receipt is found and compared."""
    available.engine("bubblewrap")
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


def test_what_is_spoiled_is_named(project: Project) -> None:
    """An unreadable line of the graph, a torn bypass and a file that is no receipt."""
    with project.path(".wg/graph.jsonl").open("a") as graph:
        graph.write("{oh\n")
    project.path(".isosmoke/receipts").mkdir(parents=True)
    project.path(".isosmoke/receipts/r.json").write_text("{}")
    project.path(".isosmoke/bypasses.jsonl").write_text("{")

    done = project.run("audit")

    assert done.returncode == 1
    for name in ("graph line 4", "receipts/r.json", "bypasses.jsonl:1"):
        assert f"{name}: cannot be read" in done.stdout


def test_without_a_graph_or_a_manifest_it_exits_2(project: Project) -> None:
    """What cannot be looked at is not clean."""
    no_manifest = project.run("audit", "--manifest", "none.toml")
    project.path(".wg/graph.jsonl").unlink()
    no_graph = project.run("audit")

    assert (no_manifest.returncode, no_graph.returncode) == (2, 2)
    assert "none.toml" in no_manifest.stderr
    assert "graph.jsonl" in no_graph.stderr
