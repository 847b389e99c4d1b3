"""Durations of scenarios, by which shards are balanced: a file that all machines share."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import field
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.host import files
from isosmoke.results.records.record_base import Record
from isosmoke.results.run_record import RunRecord

_HINT = "write it with `isosmoke durations --output FILE`, and give the same file to all shards"


@dataclass(frozen=True, kw_only=True)
class DurationsDocument(Record):
    """The durations of scenarios in seconds, each that of its last attempt, by name."""

    schema_version: Literal[1] = 1
    seconds: Mapping[str, float] = field(default_factory=dict)


def collect(runs: Iterable[RunRecord]) -> DurationsDocument:
    """Return the durations in these runs, newest first; a scenario that did not start has none."""
    seconds: dict[str, float] = {}
    for run in runs:
        for scenario in () if run.command else run.scenarios:
            if scenario.outcome.facts.was_tried:
                seconds.setdefault(scenario.name, scenario.attempts[-1].seconds)
    return DurationsDocument(seconds=dict(sorted(seconds.items())))


def load(file: Path) -> Mapping[str, float]:
    """Return the durations in a file: one of `isosmoke durations`, or a run as JSON.

    Raises:
        UsageError: if it cannot be read, or has no durations. Without them, the shards of several
            machines would not fit together.
    """
    try:
        return dict(_parse(json.loads(files.read(file))))
    except OSError as error:
        raise UsageError(f"--durations {file}: {error.strerror}", _HINT) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UsageError(f"--durations {file}: not a file of durations: {error}", _HINT) from error


def _parse(document: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    if document["schema_version"] != 1:
        raise ValueError("it was written by a later version of isosmoke")
    if "seconds" in document and isinstance(document["seconds"], dict):
        pairs = [*document["seconds"].items()]
    else:
        pairs = [
            (scenario["name"], scenario["attempts"][-1]["seconds"])
            for scenario in document["scenarios"]
            if scenario["outcome"] != "NOT_RUN"
        ]
    for name, value in pairs:
        seconds = float(value)
        if not (isfinite(seconds) and seconds >= 0):
            raise ValueError(f"{name}: {value} is no duration in seconds")
        yield name, seconds
