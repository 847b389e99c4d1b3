"""The trace report."""

import json
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.reports import trace
from isosmoke.results.outcome import Exited
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt
from support import records, result_factories

Row = Mapping[str, Any]


def select_rows(run: RunRecord, category: str) -> list[Row]:
    """Return the events of one category, as a viewer reads them."""
    events = json.loads(trace.render(run))["traceEvents"]
    return [event for event in events if event.get("cat") == category]


def create_attempt(begun: float, **phases: float) -> Attempt:
    """Return an attempt with this start and these phases, in seconds."""
    return Attempt(ending=Exited(0), begun=begun, phases=phases)


def test_attempt_contains_its_phases() -> None:
    """The phases follow each other within the attempt, in microseconds."""
    run = records.make_record(records.make_failed())
    (row,) = select_rows(run, "attempt")

    assert {key: row[key] for key in ("name", "ph", "ts", "dur", "pid", "tid")} == {
        "name": "bad",
        "ph": "X",
        "ts": 500_000,
        "dur": 1_600_000,
        "pid": 1,
        "tid": 0,
    }
    assert row["args"] == {
        "outcome": "FAIL",
        "reason": "exit 3: broken, left 1 process: serve 'a b'",
        "alone": True,
        "waited": 0.0,
        "exit_code": 3,
        "left": 1,
    }
    assert [(row["name"], row["ts"], row["dur"]) for row in select_rows(run, "phase")] == [
        ("create", 500_000, 250_000),
        ("start", 750_000, 50_000),
        ("run", 800_000, 1_000_000),
        ("settle", 1_800_000, 200_000),
        ("destroy", 2_000_000, 100_000),
    ]


def test_attempt_without_phases_has_no_event() -> None:
    """A scenario that was skipped before its sandbox was created leaves the file valid."""
    skipped = result_factories.make_result(Attempt(ending=Exited(77)))

    assert select_rows(records.make_record(skipped), "attempt") == []
    assert "1 SKIP" in trace.render(records.make_record(skipped))


def test_lanes_are_named_and_minimal() -> None:
    """Consecutive attempts share a lane, and a concurrent one has its own."""
    first, concurrent, second = (
        create_attempt(0, run=1.0),
        create_attempt(0.5, run=2.0),
        create_attempt(1.0, run=1.0),
    )
    run = records.make_record(
        *(
            result_factories.make_result(item, name=name)
            for item, name in ((first, "a"), (concurrent, "b"), (second, "c"))
        )
    )
    events = json.loads(trace.render(run))["traceEvents"]

    assert {row["name"]: row["tid"] for row in select_rows(run, "attempt")} == {
        "a": 0,
        "b": 1,
        "c": 0,
    }
    names = {
        event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"
    }
    assert names == {0: "lane 1", 1: "lane 2"}


def test_every_attempt_is_an_event() -> None:
    """A scenario with two attempts has two events."""
    twice = result_factories.make_result(
        create_attempt(0, run=1.0), create_attempt(3, run=1.0), name="twice"
    )

    assert [row["ts"] for row in select_rows(records.make_record(twice), "attempt")] == [
        0,
        3_000_000,
    ]


def test_colours_distinguish_outcomes() -> None:
    """A pass, a failure and a skip look different."""
    ran = {"run": 1.0}
    endings = {"good": Exited(0), "bad": Exited(1), "skipped": Exited(77)}
    run = records.make_record(
        *(
            result_factories.make_result(Attempt(ending=ending, phases=ran), name=name)
            for name, ending in endings.items()
        )
    )

    assert {row["name"]: row["cname"] for row in select_rows(run, "attempt")} == {
        "good": "good",
        "bad": "terrible",
        "skipped": "grey",
    }


SECONDS = st.floats(0, 1000, allow_nan=False)


@given(st.lists(st.tuples(SECONDS, st.lists(SECONDS, min_size=1, max_size=6)), max_size=20))
def test_events_in_a_lane_do_not_overlap(spans: list[tuple[float, list[float]]]) -> None:
    """Attempts in a lane are consecutive, and phases are within their attempt."""
    results = [
        result_factories.make_result(
            create_attempt(begun, **{f"p{at}": phase for at, phase in enumerate(phases)}),
            name=f"s{number}",
        )
        for number, (begun, phases) in enumerate(spans)
    ]
    run = records.make_record(*results)
    attempts = select_rows(run, "attempt")

    assert len(attempts) == len(spans)
    for row, other in combinations(attempts, 2):
        if row["tid"] == other["tid"]:
            first, second = sorted((row, other), key=lambda row: (row["ts"], row["dur"]))
            assert first["ts"] + first["dur"] <= second["ts"]
    assert [*find_misplaced(json.loads(trace.render(run))["traceEvents"])] == []


def find_misplaced(events: list[Row]) -> Iterator[Row]:
    """Yield the phases that overlap another, or exceed their attempt."""
    free, end = 0, 0
    for event in events:
        if event.get("cat") == "attempt":
            free, end = event["ts"], event["ts"] + event["dur"]
        elif event.get("cat") == "phase":
            if event["ts"] < free or event["ts"] + event["dur"] > end:
                yield event
            free = event["ts"] + event["dur"]


@pytest.mark.parametrize("text", [records.HOSTILE, "\udcff"])
def test_hostile_text_is_harmless(text: str) -> None:
    """The file is JSON in UTF-8 without control characters."""
    rendered = trace.render(records.make_hostile_record(text))

    assert json.loads(rendered.encode())
    assert all(line.isprintable() for line in rendered.splitlines())
