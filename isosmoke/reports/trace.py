"""Report as a trace for Perfetto or chrome://tracing: the time of each attempt and its phases.

The format is Chrome's Trace Event JSON: complete events (`X`), in microseconds since the start of
the run. Each row is a lane, and there are as many lanes as concurrent attempts. The phases of an
attempt are nested in it.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

from isosmoke.reports import wording
from isosmoke.reports.lanes import assign_lanes, to_microseconds
from isosmoke.results.records.attempt import AttemptRecord
from isosmoke.results.run_record import RunRecord

_PROCESS = 1

_Row = Mapping[str, Any]


def render(run: RunRecord) -> str:
    """Return the trace as JSON."""
    metadata = {"isosmoke": run.isosmoke, "run": run.id, "engine": run.engine}
    document = {"traceEvents": [*_create_rows(run)], "displayTimeUnit": "ms", "otherData": metadata}
    return json.dumps(document, indent=1) + "\n"


def _create_rows(run: RunRecord) -> Iterator[_Row]:
    yield _create_metadata("process_name", 0, wording.summarize_run(run))
    for lane, attempts in enumerate(assign_lanes(run)):
        yield _create_metadata("thread_name", lane, f"lane {lane + 1}")
        for name, attempt in attempts:
            times = _list_times(attempt)
            yield _create_event(name, lane, times[0], times[-1], **_describe_outcome(attempt))
            for phase, (start, end) in zip(attempt.phases, pairwise(times), strict=True):
                yield _create_event(phase, lane, start, end, cat="phase")


def _describe_outcome(attempt: AttemptRecord) -> _Row:
    return {
        "cat": "attempt",
        "cname": attempt.outcome.facts.trace,
        "args": {
            "outcome": attempt.outcome,
            "reason": wording.format_reason(attempt),
            "alone": attempt.alone,
            "waited": attempt.waited,
            "exit_code": attempt.exit_code,
            "left": len(attempt.leaks),
        },
    }


def _create_event(name: str, lane: int, start: int, end: int, **fields: Any) -> _Row:
    span = {"ts": start, "dur": end - start}
    return {"name": name, "ph": "X", **span, "pid": _PROCESS, "tid": lane, **fields}


def _create_metadata(kind: str, lane: int, name: str) -> _Row:
    return {"name": kind, "ph": "M", "pid": _PROCESS, "tid": lane, "args": {"name": name}}


def _list_times(attempt: AttemptRecord) -> list[int]:
    """Return the start of the attempt and the end of each phase, in microseconds."""
    seconds = accumulate((attempt.begun, *attempt.phases.values()))
    return [to_microseconds(time) for time in seconds]
