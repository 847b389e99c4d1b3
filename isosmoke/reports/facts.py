"""What a record says, in words; each report that is made of one puts it its own way."""

import shlex
from collections.abc import Iterator
from pathlib import PurePath

from isosmoke import repetition
from isosmoke.leaks import described
from isosmoke.outcome import Outcome
from isosmoke.record import AttemptRecord, RunRecord, ScenarioRecord


def of(run: RunRecord, scenario: ScenarioRecord) -> Iterator[tuple[str, str]]:
    """What is to be known of a scenario beside its output: names and values, a name may recur."""
    if scenario.assertion:
        yield "asserts", scenario.assertion
    if scenario.reason:
        yield "because", scenario.reason
    if len(scenario.attempts) > 1:
        yield "tries", ", ".join(map(tried, scenario.attempts))
    yield from (("left", described(one.process)) for one in scenario.leaks)
    yield from (
        ("may stay", f"{described(one.process)}  ({one.reason})") for one in scenario.tolerated
    )
    if scenario.output.log and scenario.output.size:
        yield "log", scenario.output.log
    yield "repeat", shlex.join(repetition.of(run, scenario.name))


def tried(attempt: AttemptRecord) -> str:
    """One attempt in a few words."""
    return f"{attempt.outcome} {'alone' if attempt.alone else 'beside others'}"


def summary(run: RunRecord) -> str:
    """The counts, how long it took and on what, in one line."""
    counts = [f"{run.counts[one]} {one}" for one in Outcome if run.counts.get(one)]
    tested = f" of {run.binary.path} (sha256 {run.binary.sha256[:12]})" if run.binary else ""
    stopped = f", stopped by {run.stopped}" if run.stopped else ""
    unfinished = "" if run.finished else ", not finished"
    told = ", ".join(counts) or "nothing"
    return f"{told} in {run.seconds:.1f} s on {run.engine}{tested}{stopped}{unfinished}"


def seen_from(folder: str, path: str) -> str:
    """A path as it is written in `folder`, where it lies in there; else as it is."""
    full, top = PurePath(path), PurePath(folder)
    return str(full.relative_to(top) if full.is_relative_to(top) else full)
