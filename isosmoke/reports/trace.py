"""A run as a trace for Perfetto or chrome://tracing: when each attempt ran, and what took its time.

The format is Chrome's Trace Event JSON: complete events (`X`), in microseconds since the run began.
Rows are lanes, of which there are as many as attempts went on at once; the steps of an attempt
lie within it.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

from isosmoke.reports import wording
from isosmoke.results.run_record import AttemptRecord, RunRecord

_PROCESS = 1

_Row = Mapping[str, Any]
_Named = tuple[str, AttemptRecord]


def render(run: RunRecord) -> str:
    """The trace as JSON text."""
    told = {"isosmoke": run.isosmoke, "run": run.id, "engine": run.engine}
    document = {"traceEvents": [*_rows(run)], "displayTimeUnit": "ms", "otherData": told}
    return json.dumps(document, indent=1) + "\n"


def _rows(run: RunRecord) -> Iterator[_Row]:
    yield _name("process_name", 0, wording.summary(run))
    for lane, attempts in enumerate(_lanes(run)):
        yield _name("thread_name", lane, f"lane {lane + 1}")
        for name, attempt in attempts:
            moments = _moments(attempt)
            yield _complete(name, lane, moments[0], moments[-1], **_outcome(attempt))
            for phase, (begun, end) in zip(attempt.phases, pairwise(moments), strict=True):
                yield _complete(phase, lane, begun, end, cat="phase")


def _lanes(run: RunRecord) -> list[list[_Named]]:
    """Every attempt that took time, in as few rows as show each of them beside the others."""
    lanes: list[list[_Named]] = []
    for named in sorted(_attempts(run), key=lambda one: one[1].begun):
        begun = _moments(named[1])[0]
        lane = next((one for one in lanes if _moments(one[-1][1])[-1] <= begun), None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(named)
    return lanes


def _attempts(run: RunRecord) -> Iterator[_Named]:
    for scenario in run.scenarios:
        yield from ((scenario.name, one) for one in scenario.attempts if one.phases)


def _outcome(attempt: AttemptRecord) -> _Row:
    return {
        "cat": "attempt",
        "cname": attempt.outcome.facts.trace,
        "args": {
            "outcome": attempt.outcome,
            "reason": wording.reason(attempt),
            "alone": attempt.alone,
            "waited": attempt.waited,
            "exit_code": attempt.exit_code,
            "left": len(attempt.leaks),
        },
    }


def _complete(name: str, lane: int, begun: int, end: int, **more: Any) -> _Row:
    span = {"ts": begun, "dur": end - begun}
    return {"name": name, "ph": "X", **span, "pid": _PROCESS, "tid": lane, **more}


def _name(what: str, lane: int, name: str) -> _Row:
    return {"name": what, "ph": "M", "pid": _PROCESS, "tid": lane, "args": {"name": name}}


def _moments(attempt: AttemptRecord) -> list[int]:
    """When it began and when each of its steps ended, in microseconds."""
    seconds = accumulate((attempt.begun, *attempt.phases.values()))
    return [round(one * 1_000_000) for one in seconds]
