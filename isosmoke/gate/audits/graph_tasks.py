"""Completed tasks of a graph and its archive, as wg stores them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from isosmoke.dataclass import dataclass

_DONE = frozenset({"done", "pending-eval", "pending-review", "pendingreview"})
"""The statuses that wg reads as done: marked by `wg done`, evaluated or not; two former names."""


@dataclass(frozen=True, slots=True)
class CompletedTask:
    """A completed task; None for a time that the graph does not have.

    `begun` is when the task was last claimed. When wg reopens a task, it clears that time, so no
    earlier gate was for this completion. `has_successor` is true for an archived task whose ID is
    that of a task in the graph that is not done: later gates are for that one.
    """

    id: str
    completed: datetime | None = None
    begun: datetime | None = None
    has_successor: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """The completed tasks, in file order, and the places of unreadable lines."""

    done: tuple[CompletedTask, ...] = ()
    unreadable: tuple[str, ...] = ()


def parse_graph(text: str, archive: str = "") -> Graph:
    """Parse a graph and its archive: one JSON object per line, where later lines replace earlier.

    A completed task in the graph replaces that in the archive. A task that is not done does not:
    anyone can add one with the ID of an archived task, whose completion stays a fact. Blank lines
    and comments are skipped, as wg does. Objects of an unknown kind are skipped too.
    """
    archived, unreadable = _parse_lines("archive", archive)
    current, also_unreadable = _parse_lines("graph", text)
    tasks = archived | {
        name: task or _add_successor(archived.get(name)) for name, task in current.items()
    }
    done = tuple(task for task in tasks.values() if task)
    return Graph(done, (*unreadable, *also_unreadable))


def _add_successor(task: CompletedTask | None) -> CompletedTask | None:
    return replace(task, has_successor=True) if task else None


def _parse_lines(
    origin: str, content: str
) -> tuple[dict[str, CompletedTask | None], Sequence[str]]:
    """Return the tasks by ID, None for one that is not done, and the unreadable lines."""
    tasks: dict[str, CompletedTask | None] = {}
    unreadable = []
    for number, line in enumerate(content.split("\n"), start=1):
        try:
            tasks.update(_parse_line(line.strip()))
        except (ValueError, RecursionError):
            unreadable.append(f"{origin} line {number}")
    return tasks, unreadable


def _parse_line(line: str) -> Mapping[str, CompletedTask | None]:
    """Map the ID of a line's task to the task, or to None if it is not done.

    Raises:
        ValueError: if the line cannot be read.
    """
    if not line or line.startswith("#"):
        return {}
    match json.loads(line):
        case {"kind": "task", "id": str(task), **rest}:
            is_done = str(rest.get("status")).lower() in _DONE
            return {task: _create_task(task, rest) if is_done else None}
        case {"kind": str(kind)} if kind != "task":
            return {}
        case _:
            raise ValueError(line)


def _create_task(task: str, fields: Mapping[Any, Any]) -> CompletedTask:
    completed, begun = fields.get("completed_at"), fields.get("started_at")
    return CompletedTask(task, completed=parse_time(completed), begun=parse_time(begun))


def parse_time(text: object) -> datetime | None:
    """Return the time of a timestamp (RFC 3339) in UTC, also without a zone; None if it is invalid.

    A time that has no equal in UTC, because it is near the first or the last year, is invalid.
    """
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        if time is None or time.tzinfo is not None:
            return time and time.astimezone(UTC)
        return time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
