"""Audits of completed tasks: missing receipts and recorded bypasses."""

import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from isosmoke.gate import receipt
from isosmoke.gate.audits import audit
from isosmoke.gate.audits.audit import AuditedProject, Changes, ProjectBinary, Records, Uncommitted
from isosmoke.gate.audits.graph_tasks import CompletedTask, Graph
from isosmoke.gate.receipt import Circumstances, Statement
from isosmoke.history.gate_records import BypassRecord
from isosmoke.manifest.parser import parse
from isosmoke.results.finding import GateFinding
from isosmoke.results.outcome import Outcome
from support import available
from support.git_repositories import Git
from support.project import BAD, GOOD, SKIPS, Project

HASH = "ab" * 32

TWO = "".join(GOOD.replace('"good"', f'"{name}"').replace("-a", "-d") for name in ("one", "two"))
"""Two scenarios of `task-d`."""

SCENARIOS = parse(GOOD + BAD + SKIPS + TWO, Path("m.toml")).scenarios

BYPASS = BypassRecord(
    task="task-a", agent="agent-1", user="me", folder="/p", at="2026-11-22T12:00Z", repository=None
)


PROJECT = AuditedProject(
    graph="/p/.wg",
    manifests=frozenset({"m.toml", "/p/m.toml"}),
    scenarios=SCENARIOS,
    binary=ProjectBinary(HASH, ("/bin/wg",)),
    is_gone=lambda graph: graph == "/gone/.wg",
)


def create_receipt(*, at: str = "10:00", opened: bool = True, **others: Any) -> Statement:
    """Return a receipt of `isosmoke done task-a`, in which the scenario `good` passed."""
    fields: dict[str, Any] = {
        "task": "task-a",
        "open": opened,
        "tested_at": f"2026-11-22T{at}:00.000Z",
        "manifest": "m.toml",
        "binary": "/bin/wg",
        "outcomes": {"good": Outcome.PASS},
        "engine": "bubblewrap",
        "way": "done",
        "graph": "/p/.wg",
    }
    about = Circumstances(**(fields | others))
    return receipt.create_statement(
        about, receipt.create_hashed_resource("binary", "wg", others.get("version", HASH)), ()
    )


def create_receipt_of_two(one: Outcome, two: Outcome, at: str = "10:00") -> Statement:
    """Return a receipt of `task-d`; its inputs are those of no other receipt."""
    outcomes = {"one": one, "two": two}
    is_open = Outcome.FAIL not in outcomes.values()
    version = HASH if at == "10:00" else f"{int(at.replace(':', '')):064x}"
    return create_receipt(at=at, task="task-d", outcomes=outcomes, opened=is_open, version=version)


def complete(at: str = "10:01", begun: str = "09:00", task: str = "task-a") -> Graph:
    """Return a graph whose only completed task is this one, completed at this time."""
    completed, claimed = (datetime.fromisoformat(f"2026-11-22T{time}:00Z") for time in (at, begun))
    return Graph(done=(CompletedTask(task, completed, claimed),))


NOTHING = Uncommitted()


def find_all(
    graph: Graph,
    *records: Statement | BypassRecord,
    changes: str = "",
    uncommitted: Uncommitted = NOTHING,
) -> list[str]:
    """Return the kinds and messages of all findings, given what changed since each receipt."""
    found = audit.find_problems(
        graph,
        Records(
            receipts=[record for record in records if isinstance(record, Statement)],
            bypasses=[record for record in records if isinstance(record, BypassRecord)],
        ),
        PROJECT,
        lambda _: Changes(changes.splitlines(), uncommitted),
    )
    return [f"{finding.kind} {finding}" for finding in found]


LOSS = GateFinding(kind="manifest-untracked", place="m.toml", message="git does not track it")

CASES: dict[str, tuple[Graph, list[Statement], str]] = {
    "nothing at all": (complete(), [], "receipt-missing task-a: is done and owns good, but has no"),
    "another task": (complete(), [create_receipt(task="task-b")], "receipt-missing"),
    "another graph": (complete(), [create_receipt(graph="/q/.wg")], "receipt-missing"),
    "another manifest": (complete(), [create_receipt(manifest="sub/m.toml")], "receipt-missing"),
    "another project of a former version": (
        complete(),
        [create_receipt(manifest="/q/m.toml", graph=None, way=None)],
        "receipt-missing",
    ),
    "shut": (complete(), [create_receipt(opened=False)], "receipt-shut"),
    "shut after it was open": (
        complete("12:00"),
        [create_receipt(at="11:50", opened=False), create_receipt(at="11:40")],
        "receipt-shut task-a: is done, but its last receipt, from 2026-11-22T11:50:00.000Z",
    ),
    "another scenario": (
        complete(),
        [create_receipt(outcomes={"bad": Outcome.PASS})],
        "receipt-incomplete task-a: is done, but its last receipt does not cover good",
    ),
    "only skipped": (
        complete(),
        [create_receipt(outcomes={"good": Outcome.SKIP})],
        "receipt-skipped task-a: is done, but all of its scenarios were skipped: good",
    ),
    "one was skipped": (
        complete(task="task-d"),
        [create_receipt_of_two(Outcome.PASS, Outcome.SKIP)],
        "receipt-partly-skipped task-d: is done; its receipt shows nothing of what",
    ),
    "one was skipped after it failed": (
        complete(task="task-d"),
        [
            create_receipt_of_two(Outcome.PASS, Outcome.FAIL, "09:50"),
            create_receipt_of_two(Outcome.PASS, Outcome.SKIP, "09:55"),
            create_receipt_of_two(Outcome.PASS, Outcome.SKIP),
        ],
        "receipt-skipped task-d: is done, but two was skipped, after it had failed",
    ),
    "one was skipped after it failed and passed": (
        complete(task="task-d"),
        [
            create_receipt_of_two(Outcome.PASS, Outcome.FAIL, "09:50"),
            create_receipt_of_two(Outcome.PASS, Outcome.PASS, "09:55"),
            create_receipt_of_two(Outcome.PASS, Outcome.SKIP),
        ],
        "receipt-partly-skipped",
    ),
    "after the completion": (
        complete("09:59"),
        [create_receipt()],
        "receipt-missing task-a: is done and owns good, but has no receipt from before its",
    ),
    "before the task was claimed again": (
        complete("10:30", begun="10:10"),
        [create_receipt()],
        "receipt-stale task-a: is done, but its receipt is from 2026-11-22T10:00:00.000Z, before",
    ),
    "hours before the completion": (
        complete("15:30"),
        [create_receipt()],
        "receipt-stale task-a: is done, but its receipt is from 2026-11-22T10:00:00.000Z, 5.5",
    ),
    "another binary": (
        complete(),
        [create_receipt(binary="/old/wg", version="cd" * 32)],
        "receipt-binary task-a: is done, but its gate tested /old/wg (cdcdcdcdcdcd)",
    ),
    "a doubtful manifest": (
        complete(),
        [create_receipt(losses=(LOSS,))],
        "manifest-untracked task-a: is done, but its gate used a doubtful manifest",
    ),
    "open": (complete(), [create_receipt()], ""),
    "open, of a former version": (
        complete(),
        [create_receipt(manifest="/p/m.toml", graph=None, way=None)],
        "",
    ),
    "open, without a time of completion": (
        Graph(done=(CompletedTask("task-a"),)),
        [create_receipt()],
        "",
    ),
    "another build of the project's wg": (
        complete(),
        [create_receipt(version="cd" * 32)],
        "receipt-other-binary task-a: is done; /bin/wg is no longer the binary that its gate",
    ),
    "a copy of the project's wg": (complete(), [create_receipt(binary="/old/wg")], ""),
    "open after it was shut": (
        complete("11:01"),
        [create_receipt(at="11:00"), create_receipt(at="10:00", opened=False, version="cd" * 32)],
        "",
    ),
    "retried until it was open": (
        complete("11:01"),
        [
            create_receipt(at="11:00"),
            create_receipt(at="10:50", opened=False),
            create_receipt(at="10:40", opened=False),
        ],
        "receipt-retried task-a: is done; its gate had shut 2 times for the same inputs",
    ),
    "shut for a later task of the same ID": (
        Graph(done=(replace(complete().done[0], has_successor=True),)),
        [create_receipt(), create_receipt(at="11:00", opened=False)],
        "",
    ),
    "gate without done": (complete(), [create_receipt(way="gate")], "receipt-gate-only"),
    "done, but completed by a later call": (
        complete("10:06"),
        [create_receipt()],
        "receipt-gate-only task-a: is done; wg did not complete it with its receipt, from 2026",
    ),
    "of a project that was moved": (
        complete(),
        [create_receipt(graph="/gone/.wg")],
        "receipt-moved",
    ),
    "without a binary": (complete(), [create_receipt(binary=None)], "receipt-without-binary"),
}


@pytest.mark.parametrize(("graph", "receipts", "message"), CASES.values(), ids=CASES)
def test_done_task_needs_the_receipt_of_its_completion(
    graph: Graph, receipts: list[Statement], message: str
) -> None:
    """The receipt is of this project, manifest and completion, and covers what the task owns."""
    findings = find_all(graph, *receipts)

    assert len(findings) == bool(message), findings
    assert all(finding.startswith(message) for finding in findings), findings


def test_each_kind_of_note_is_shown_by_a_case() -> None:
    """The kinds that are notes are those that the tests of this module produce."""
    kinds = {message.partition(" ")[0] for _, _, message in CASES.values()}

    assert {kind for kind in kinds if kind in audit.NOTES} == audit.NOTES - {
        "bypass-redeemed",
        "manifest-differs",
        "manifest-unversioned",
        "receipt-changed",
        "receipt-draft",
    }


def test_task_without_scenarios_or_not_done_is_ignored() -> None:
    """Such a task needs no receipt."""
    assert find_all(Graph(done=(CompletedTask("task-z"),))) == []
    assert find_all(Graph()) == []


def test_changes_since_receipt_are_a_note() -> None:
    """A library that changes later does not undo a completed task; `--strict` counts it."""
    (finding,) = find_all(complete(), create_receipt(), changes="file lib.sh changed")

    assert finding == "receipt-changed task-a: is done; since its receipt: file lib.sh changed"


@pytest.mark.parametrize(("ended", "is_late"), [("10:02", False), ("10:00", True)])
def test_completion_after_the_end_of_the_gated_call_is_of_another(
    ended: str,
    is_late: bool,  # noqa: FBT001
) -> None:
    """Wg can refuse a call after the gate opened; the next one is then not gated."""
    record, end = create_receipt(at="09:59"), datetime.fromisoformat(f"2026-11-22T{ended}:30Z")
    about = record.circumstances
    records = Records(receipts=[record], ends={(about.task, about.tested_at): end})

    found = [*audit.find_problems(complete(), records, PROJECT, lambda _: Changes())]

    assert [finding.kind for finding in found] == ["receipt-gate-only"] * is_late


def test_script_that_was_never_committed_is_named() -> None:
    """It is a loss if it ran in place of a committed one, and a note otherwise."""
    uncommitted = Uncommitted(replaced=("script a.sh",), drafts=("scenario good",))

    loss, note = find_all(complete(), create_receipt(), uncommitted=uncommitted)

    assert loss.startswith("receipt-uncommitted task-a: is done, but its gate ran what no commit")
    assert loss.endswith(": script a.sh")
    assert note.startswith("receipt-draft task-a: is done; no commit has the state")
    assert note.endswith(": scenario good")


def test_bypass_is_a_loss_until_the_gate_opens() -> None:
    """The finding names the user or agent, and becomes a note once the gate opened."""
    human = replace(BYPASS, agent=None)

    (pending,) = find_all(Graph(), BYPASS, create_receipt(at="11:59"))
    (redeemed,) = find_all(Graph(), human, create_receipt(at="12:01"))
    (still_shut,) = find_all(Graph(), BYPASS, create_receipt(at="12:01", opened=False))
    (elsewhere,) = find_all(Graph(), BYPASS, create_receipt(at="12:01", graph="/q/.wg"))

    assert pending.startswith("bypass task-a: bypassed the gate at 2026-11-22T12:00Z as agent")
    assert redeemed.startswith("bypass-redeemed task-a: ")
    assert "user me; the gate has opened for it since" in redeemed
    assert still_shut.startswith("bypass task-a")
    assert elsewhere.startswith("bypass task-a")


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-23:59", "yesterday"])
def test_invalid_times_in_records_are_never_an_advantage(at: str) -> None:
    """A bypass without a valid time stays a loss, and such a receipt is of no completion."""
    bypass = replace(BYPASS, at=at)
    receipt_ = create_receipt()
    about = receipt_.circumstances.model_copy(update={"tested_at": at})
    undated = receipt_.model_copy(
        update={"predicate": receipt_.predicate.model_copy(update={"isosmoke": about})}
    )

    (pending,) = find_all(Graph(), bypass, create_receipt(at="12:01"))
    (stale,) = find_all(complete(), undated)

    assert pending.startswith("bypass task-a: ")
    assert stale.startswith("receipt-stale task-a: ")


def test_bypass_of_another_project_is_not_of_this_one() -> None:
    """Two graphs may share a home of their records, and a bypass is recorded with its graph."""
    assert find_all(Graph(), replace(BYPASS, graph="/q/.wg")) == []
    assert len(find_all(Graph(), replace(BYPASS, graph="/p/.wg"))) == 1


def test_unreadable_input_is_a_loss() -> None:
    """An unreadable line may be a completed task, and an unreadable file a shut gate's receipt."""
    graph = Graph(unreadable=("graph line 3",))
    records = Records(unreadable=["/p/r.json"])

    findings = list(audit.find_problems(graph, records, PROJECT, lambda _: Changes()))

    assert [(finding.kind, finding.place) for finding in findings] == [
        ("unreadable", "graph line 3"),
        ("unreadable", "/p/r.json"),
    ]


def test_scenario_is_found_by_its_former_name() -> None:
    """A scenario that was renamed with an alias is the one that the receipt covers."""
    renamed = tuple(
        each.change(name="better", aliases=("older", "good")) if each.name == "good" else each
        for each in SCENARIOS
    )
    project = replace(PROJECT, scenarios=renamed)
    records = Records(receipts=[create_receipt()])

    assert list(audit.find_problems(complete(), records, project, lambda _: Changes())) == []


# The tests below use the command line.


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
