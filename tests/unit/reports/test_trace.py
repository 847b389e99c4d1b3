"""A run as a trace."""

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


def rows(run: RunRecord, category: str) -> list[Row]:
    """The events of one category, as a viewer gets them."""
    events = json.loads(trace.render(run))["traceEvents"]
    return [one for one in events if one.get("cat") == category]


def attempt(begun: float, **phases: float) -> Attempt:
    """An attempt that begins then and takes so long, in seconds."""
    return Attempt(ending=Exited(0), begun=begun, phases=phases)


def test_attempt_is_told_with_its_steps() -> None:
    """The attempt says how it came out; its steps follow each other inside it, in microseconds."""
    run = records.of(records.failed())
    (row,) = rows(run, "attempt")

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
    assert [(one["name"], one["ts"], one["dur"]) for one in rows(run, "phase")] == [
        ("create", 500_000, 250_000),
        ("start", 750_000, 50_000),
        ("run", 800_000, 1_000_000),
        ("settle", 1_800_000, 200_000),
        ("destroy", 2_000_000, 100_000),
    ]


def test_what_took_no_time_is_not_there() -> None:
    """A scenario that was skipped before its sandbox was made is no event; the file is valid."""
    skipped = result_factories.result(Attempt(ending=Exited(77)))

    assert rows(records.of(skipped), "attempt") == []
    assert "1 SKIP" in trace.render(records.of(skipped))


def test_lanes_are_named_and_as_many_as_are_needed() -> None:
    """Two that follow each other share a lane; one beside them has its own."""
    first, beside, second = attempt(0, run=1.0), attempt(0.5, run=2.0), attempt(1.0, run=1.0)
    run = records.of(
        *(
            result_factories.result(one, name=name)
            for one, name in ((first, "a"), (beside, "b"), (second, "c"))
        )
    )
    events = json.loads(trace.render(run))["traceEvents"]

    assert {one["name"]: one["tid"] for one in rows(run, "attempt")} == {"a": 0, "b": 1, "c": 0}
    names = {one["tid"]: one["args"]["name"] for one in events if one["name"] == "thread_name"}
    assert names == {0: "lane 1", 1: "lane 2"}


def test_every_try_is_an_event() -> None:
    """What was tried twice is there twice."""
    twice = result_factories.result(attempt(0, run=1.0), attempt(3, run=1.0), name="twice")

    assert [one["ts"] for one in rows(records.of(twice), "attempt")] == [0, 3_000_000]


def test_colours_tell_outcomes_apart() -> None:
    """A pass, a failure and what was stopped on its way look different."""
    ran = {"run": 1.0}
    endings = {"good": Exited(0), "bad": Exited(1), "skipped": Exited(77)}
    run = records.of(
        *(
            result_factories.result(Attempt(ending=one, phases=ran), name=name)
            for name, one in endings.items()
        )
    )

    assert {one["name"]: one["cname"] for one in rows(run, "attempt")} == {
        "good": "good",
        "bad": "terrible",
        "skipped": "grey",
    }


SECONDS = st.floats(0, 1000, allow_nan=False)


@given(st.lists(st.tuples(SECONDS, st.lists(SECONDS, min_size=1, max_size=6)), max_size=20))
def test_nothing_in_a_lane_overlaps(spans: list[tuple[float, list[float]]]) -> None:
    """In a lane one attempt ends before the next begins, and steps stay inside their attempt."""
    results = [
        result_factories.result(
            attempt(begun, **{f"p{at}": one for at, one in enumerate(phases)}), name=f"s{number}"
        )
        for number, (begun, phases) in enumerate(spans)
    ]
    run = records.of(*results)
    attempts = rows(run, "attempt")

    assert len(attempts) == len(spans)
    for one, other in combinations(attempts, 2):
        if one["tid"] == other["tid"]:
            first, second = sorted((one, other), key=lambda row: (row["ts"], row["dur"]))
            assert first["ts"] + first["dur"] <= second["ts"]
    assert [*outside(json.loads(trace.render(run))["traceEvents"])] == []


def outside(events: list[Row]) -> Iterator[Row]:
    """The steps that begin before the one before them ends, or end after their attempt."""
    free, end = 0, 0
    for one in events:
        if one.get("cat") == "attempt":
            free, end = one["ts"], one["ts"] + one["dur"]
        elif one.get("cat") == "phase":
            if one["ts"] < free or one["ts"] + one["dur"] > end:
                yield one
            free = one["ts"] + one["dur"]


@pytest.mark.parametrize("text", [records.HOSTILE, "\udcff"])
def test_hostile_text_is_harmless(text: str) -> None:
    """The file is JSON in UTF-8, and nothing in it steers a terminal that shows it."""
    rendered = trace.render(records.hostile_run(text))

    assert json.loads(rendered.encode())
    assert all(line.isprintable() for line in rendered.splitlines())
