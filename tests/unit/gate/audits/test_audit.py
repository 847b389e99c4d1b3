"""Audits of completed tasks: missing receipts and recorded bypasses."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from isosmoke.gate import in_toto, receipt
from isosmoke.gate.audits import audit
from isosmoke.gate.audits.audit import AuditedProject, Changes, ProjectBinary, Records, Uncommitted
from isosmoke.gate.audits.graph_tasks import CompletedTask, Graph
from isosmoke.gate.receipt import Circumstances, ReceiptWorker, ShardPart, Statement
from isosmoke.history.gate_records import BypassRecord
from isosmoke.manifest.parser import parse
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.finding import GateFinding
from support.project import BAD, GOOD, SKIPS

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
    find_pins=lambda place: {"aa"} if place == "tls://h:1" else set(),
)

WORKER, OTHER = (
    ReceiptWorker(name=name, host="h", system="Linux", certificate=certificate)
    for name, certificate in (("w:1", "aa"), ("o:2", "bb"))
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
        about, in_toto.create_hashed_resource("binary", "wg", others.get("version", HASH)), ()
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


PART = ShardPart(
    number=1,
    total=1,
    run="1",
    commit="c" * 40,
    manifest=HASH,
    selection=HASH,
    partition=HASH,
    inputs=HASH,
    options="",
    results=HASH,
)

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
    "a mere shard, open or not": (
        complete(),
        [create_receipt(shard=PART), create_receipt(shard=PART, opened=False)],
        "receipt-missing",
    ),
    "merged shards": (
        complete(),
        [create_receipt(way="shard", graph=None)],
        "receipt-gate-only task-a: is done; its receipt is of shards, which complete no task",
    ),
    "merged shards, of which the last one ran after the completion": (
        complete("09:59"),
        [create_receipt(way="shard", graph=None, first_tested_at="2026-11-22T09:58:00.000Z")],
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
    "a worker that no reviewed place has": (
        complete(),
        [create_receipt(place="tls://h:1", workers={"good": (WORKER, OTHER)})],
        "receipt-worker task-a: is done, but its gate ran on the worker o:2, with the certificate",
    ),
    "a worker of another place": (
        complete(),
        [create_receipt(place="tls://h:2", workers={"good": (WORKER,)})],
        "receipt-worker task-a: is done, but its gate ran on the worker w:1",
    ),
    "a worker of no place": (
        complete(),
        [create_receipt(workers={"good": (WORKER,)})],
        "receipt-worker task-a: is done, but its gate ran on the worker w:1",
    ),
    "a worker that is not named": (
        complete(),
        [create_receipt(place="tls://h:1")],
        "receipt-worker task-a: is done, but its receipt names no worker of good",
    ),
    "a pinned worker": (
        complete(),
        [create_receipt(place="tls://h:1", workers={"good": (WORKER,)})],
        "",
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


def test_first_shard_decides_how_old_a_merge_is() -> None:
    """A merge whose first shard ran before the claim is of an earlier completion."""
    merged = create_receipt(way="shard", graph=None, first_tested_at="2026-11-22T08:59:00.000Z")

    found = find_all(complete(), merged)

    words = (
        "receipt-stale task-a: is done, but its receipt is from 2026-11-22T08:59:00.000Z, before"
    )
    assert found[0].startswith(words)
