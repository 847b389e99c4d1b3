"""Completed tasks of a graph and its archive."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.gate.audits import graph_tasks
from isosmoke.gate.audits.graph_tasks import CompletedTask, Graph

DONE = Graph(done=(CompletedTask("a"),))
UNREADABLE = Graph(unreadable=("graph line 1",))


@pytest.mark.parametrize(
    ("line", "graph"),
    [
        ('{"kind":"task","id":"a","status":"done"}', DONE),
        ('{"kind":"task","id":"a","status":"pending-review"}', DONE),
        ('{"kind":"task","id":"a","status":"pending-eval"}', DONE),
        ('{"kind":"task","id":"a","status":"in-progress"}', Graph()),
        ('{"kind":"task","id":"a","status":"failed-pending-eval"}', Graph()),
        ('{"kind":"task","id":"a"}', Graph()),
        ('{"kind":"task","id":"a","status":["done"]}', Graph()),
        ('{"kind":"archivedboundary","id":"a","status":"done"}', Graph()),
        ('{"kind":"moon","x":[1]}', Graph()),
        ("# a comment", Graph()),
        ("  ", Graph()),
        ('{"kind":"task","id":"a","sta', UNREADABLE),
        ('{"kind":"task","status":"done"}', UNREADABLE),
        ('{"id":"a","status":"done"}', UNREADABLE),
        ("[]", UNREADABLE),
        ("[" * 5000, UNREADABLE),
    ],
)
def test_each_graph_line_is_parsed_skipped_or_unreadable(line: str, graph: Graph) -> None:
    """A line is unreadable only if it may be a task and cannot be parsed."""
    assert graph_tasks.parse_graph(line) == graph


def test_later_line_replaces_earlier() -> None:
    """Lines replace each other as in wg, and unreadable lines keep their numbers."""
    task = '{{"kind":"task","id":"a","status":"{}"}}\n'

    graph = graph_tasks.parse_graph(task.format("done") + "oh\n" + task.format("open"))

    assert graph == Graph((), ("graph line 2",))


def test_times_are_those_of_wg() -> None:
    """The graph has nanoseconds; a time that cannot be parsed is missing."""
    line = (
        '{"kind":"task","id":"a","status":"done","started_at":"yesterday",'
        '"completed_at":"2026-11-22T10:00:00.123456789+00:00"}'
    )

    (task,) = graph_tasks.parse_graph(line).done

    assert task.completed == datetime(2026, 11, 22, 10, 0, 0, 123456, UTC)
    assert task.begun is None


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-13-01T00:00Z", "", 7]
)
def test_invalid_time_is_none(text: object) -> None:
    """A time outside of the years that can be compared in UTC is invalid, not an error."""
    assert graph_tasks.parse_time(text) is None


def test_time_is_in_utc() -> None:
    """A zone is converted, and no zone means UTC."""
    expected = datetime(2026, 11, 22, 10, tzinfo=UTC)

    for text in ("2026-11-22T12:00:00+02:00", "2026-11-22T10:00:00", "2026-11-22T10:00:00Z"):
        time = graph_tasks.parse_time(text)
        assert (time, time and time.tzinfo) == (expected, UTC)


def test_archived_task_is_done_whatever_the_graph_has_now() -> None:
    """`wg archive` moves a completed task to the archive; only another completion replaces it."""
    archived = '{"kind":"task","id":"a","status":"done"}\n'
    boundary = '{"kind":"archivedboundary","id":"a","title":"A","status":"done"}\n'

    assert graph_tasks.parse_graph(boundary, archived) == DONE
    assert graph_tasks.parse_graph(archived, archived) == DONE
    assert graph_tasks.parse_graph(archived.replace("done", "open"), archived) == Graph(
        (CompletedTask("a", has_successor=True),)
    )
    assert graph_tasks.parse_graph("", "oh") == Graph((), ("archive line 1",))


@given(st.text())
def test_any_text_is_a_graph(text: str) -> None:
    """Parsing never raises, and never invents a task."""
    assert graph_tasks.parse_graph(text, text).done == ()
