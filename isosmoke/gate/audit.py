"""Audit of completed tasks: compare a graph with its manifest and the gate's records."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from isosmoke.gate.receipt import Statement
from isosmoke.history.gate_records import BypassRecord
from isosmoke.manifest.models import Scenario

_DONE = frozenset({"done", "pending-review", "pendingreview"})
"""The statuses that wg reads as done; the last two are former names."""

FindChanges = Callable[[Statement], Sequence[str]]
"""A function that describes each difference between a receipt and the present state."""

_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Graph:
    """The IDs of a graph's completed tasks, in file order, and its unreadable line numbers."""

    done: tuple[str, ...] = ()
    unreadable: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The records that the gate wrote; `unreadable` locates those that cannot be read."""

    receipts: Sequence[Statement] = ()
    bypasses: Sequence[BypassRecord] = ()
    unreadable: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A reason to doubt that a task works, or that its records are complete.

    If `weighs` is false, the finding is a note: later events have settled or superseded it.
    """

    subject: str
    words: str
    weighs: bool = True


def parse_graph(text: str) -> Graph:
    """Parse a graph as wg stores it: one JSON object per line, where later lines replace earlier.

    Blank lines and comments are skipped, as wg does. Objects of an unknown kind are skipped too.
    """
    tasks: dict[str, bool] = {}
    unreadable = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            tasks.update(_parse_task(line.strip()))
        except (ValueError, RecursionError):
            unreadable.append(number)
    return Graph(tuple(task for task, done in tasks.items() if done), tuple(unreadable))


def _parse_task(line: str) -> Mapping[str, bool]:
    """Map the ID of a line's task to whether it is done; empty if the line holds no task.

    Raises:
        ValueError: if the line cannot be read.
    """
    if not line or line.startswith("#"):
        return {}
    match json.loads(line):
        case {"kind": "task", "id": str(task), **rest}:
            return {task: str(rest.get("status")).lower() in _DONE}
        case {"kind": str(kind)} if kind != "task":
            return {}
        case _:
            raise ValueError(line)


def find_problems(
    graph: Graph, scenarios: Sequence[Scenario], records: Records, changes: FindChanges
) -> Iterator[Finding]:
    """Yield all findings: unreadable input first, then tasks in graph order, then bypasses."""
    for number in graph.unreadable:
        yield Finding(subject=f"graph line {number}", words="cannot be read")
    for location in records.unreadable:
        yield Finding(subject=location, words="cannot be read")
    latest = _find_latest(records.receipts)
    for task in graph.done:
        owned = [scenario.name for scenario in scenarios if task in scenario.owners]
        if owned:
            yield from _check_task(task, owned, latest.get(task), changes)
    for bypass in records.bypasses:
        yield _check_bypass(bypass, latest.get(bypass.task))


def _find_latest(receipts: Iterable[Statement]) -> dict[str, Statement]:
    """Map each task to its latest receipt; a gate that shut later supersedes one that opened."""
    ordered = sorted(receipts, key=lambda receipt: receipt.circumstances.tested_at)
    return {receipt.circumstances.task: receipt for receipt in ordered}


def _check_task(
    task: str, owned: Sequence[str], receipt: Statement | None, changes: FindChanges
) -> Iterator[Finding]:
    problem = _describe_problem(owned, receipt)
    if problem:
        yield Finding(subject=task, words=f"is done{problem}")
    elif receipt and (differences := changes(receipt)):
        words = f"is done; since its receipt: {_enumerate(differences)}"
        yield Finding(subject=task, words=words, weighs=False)


def _describe_problem(owned: Sequence[str], receipt: Statement | None) -> str:
    """Describe why the latest receipt does not cover the owned scenarios; empty if it does."""
    if receipt is None:
        return f" and owns {_enumerate(owned)}, but has no receipt"
    about = receipt.circumstances
    if not about.open:
        return f", but its last receipt, from {about.tested_at}, records a shut gate"
    missing = [name for name in owned if name not in about.outcomes]
    return f", but its last receipt does not cover {_enumerate(missing)}" if missing else ""


def _check_bypass(bypass: BypassRecord, receipt: Statement | None) -> Finding:
    about = receipt.circumstances if receipt else None
    redeemed = about is not None and about.open and about.tested_at > bypass.at
    who = f"user {bypass.user}" if bypass.agent is None else f"agent {bypass.agent!r}"
    words = f"bypassed the gate at {bypass.at} as {who}"
    if redeemed:
        words += "; the gate has opened for it since"
    return Finding(subject=bypass.task, words=words, weighs=not redeemed)


def _enumerate(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
