"""Which done tasks were never shown to work: a graph, its manifest and the records, compared."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from isosmoke.gate.receipt import Statement
from isosmoke.history.gate_records import BypassRecord
from isosmoke.manifest.models import Scenario

_DONE = frozenset({"done", "pending-review", "pendingreview"})
"""What wg reads as done; the other two are names of its past."""

Changes = Callable[[Statement], Sequence[str]]
"""What is not as a receipt says, by name."""

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Graph:
    """The ids of a graph's done tasks, in its order, and the lines that nobody can read."""

    done: tuple[str, ...] = ()
    unreadable: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What the gate left behind; `spoiled` names what is there and cannot be read."""

    receipts: Sequence[Statement] = ()
    bypasses: Sequence[BypassRecord] = ()
    spoiled: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that speaks against a task, or against what is known of it.

    `weighs` is false for what is only told: it was so once, and something has come since.
    """

    subject: str
    words: str
    weighs: bool = True


def read(text: str) -> Graph:
    """A graph as wg keeps it: a JSON object a line, of which a later one replaces an earlier.

    wg passes over blank lines and comments; we also pass over kinds that we do not know.
    """
    tasks: dict[str, bool] = {}
    unreadable = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            tasks.update(_task(line.strip()))
        except (ValueError, RecursionError):
            unreadable.append(number)
    return Graph(tuple(task for task, done in tasks.items() if done), tuple(unreadable))


def _task(line: str) -> Mapping[str, bool]:
    """The task on a line, by its id, and whether it is done; `ValueError` for an unreadable one."""
    if not line or line.startswith("#"):
        return {}
    match json.loads(line):
        case {"kind": "task", "id": str(task), **rest}:
            return {task: str(rest.get("status")).lower() in _DONE}
        case {"kind": str(kind)} if kind != "task":
            return {}
        case _:
            raise ValueError(line)


def findings(
    graph: Graph, scenarios: Sequence[Scenario], records: Records, changes: Changes
) -> Iterator[Finding]:
    """All that is to be said, unreadable things first, then tasks in the graph's order."""
    for number in graph.unreadable:
        yield Finding(subject=f"graph line {number}", words="cannot be read")
    for place in records.spoiled:
        yield Finding(subject=place, words="cannot be read")
    latest = _latest(records.receipts)
    for task in graph.done:
        owned = [one.name for one in scenarios if task in one.owners]
        if owned:
            yield from _of_task(task, owned, latest.get(task), changes)
    for bypass in records.bypasses:
        yield _of_bypass(bypass, latest.get(bypass.task))


def _latest(receipts: Iterable[Statement]) -> dict[str, Statement]:
    """The last receipt of each task: an open gate means nothing once it was shut again."""
    ordered = sorted(receipts, key=lambda one: one.circumstances.tested_at)
    return {one.circumstances.task: one for one in ordered}


def _of_task(
    task: str, owned: Sequence[str], last: Statement | None, changes: Changes
) -> Iterator[Finding]:
    doubt = _doubt(owned, last)
    if doubt:
        yield Finding(subject=task, words=f"is done, {doubt}")
    elif last and (moved := changes(last)):
        words = f"is done, and since its receipt {_several(moved)}"
        yield Finding(subject=task, words=words, weighs=False)


def _doubt(owned: Sequence[str], last: Statement | None) -> str:
    if last is None:
        return f"owns {_several(owned)}, and has no receipt"
    if not last.circumstances.open:
        return f"and its last receipt is of a shut gate, at {last.circumstances.tested_at}"
    missing = [name for name in owned if name not in last.circumstances.outcomes]
    return f"and its last receipt leaves out {_several(missing)}" if missing else ""


def _of_bypass(bypass: BypassRecord, last: Statement | None) -> Finding:
    about = last.circumstances if last else None
    redeemed = about is not None and about.open and about.tested_at > bypass.at
    who = f"user {bypass.user}" if bypass.agent is None else f"agent {bypass.agent!r}"
    words = f"went by the gate at {bypass.at}, as {who}"
    if redeemed:
        words += "; it has passed through since"
    return Finding(subject=bypass.task, words=words, weighs=not redeemed)


def _several(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
