"""What a record says, in words; each report that is made of one puts it its own way.

Every text is one line without anything that steers; what a script wrote is cut where it is long.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import PurePath

from isosmoke import repetition
from isosmoke.leaks import described
from isosmoke.outcome import Outcome
from isosmoke.printable import cut, printable
from isosmoke.record import AttemptRecord, OutputRecord, RunRecord, ScenarioRecord

_LONGEST = 1000
_LEAKS_SHOWN = 50


def of(run: RunRecord, scenario: ScenarioRecord) -> Iterator[tuple[str, str]]:
    """What is to be known of a scenario beside its output: names and values, a name may recur."""
    if scenario.assertion:
        yield "asserts", cut(scenario.assertion, _LONGEST)
    if scenario.reason:
        yield "because", reason(scenario)
    if len(scenario.attempts) > 1:
        yield "tries", ", ".join(map(tried, scenario.attempts))
    yield from _left(scenario)
    if scenario.output.log and scenario.output.size:
        yield "log", printable(scenario.output.log)
    yield "repeat", printable(shlex.join(repetition.of(run, scenario.name)))


def _left(scenario: ScenarioRecord) -> Iterator[tuple[str, str]]:
    for one in scenario.leaks[:_LEAKS_SHOWN]:
        yield "left", cut(described(one.process), _LONGEST)
    if len(scenario.leaks) > _LEAKS_SHOWN:
        yield "left", f"and {len(scenario.leaks) - _LEAKS_SHOWN} more"
    for may in scenario.tolerated[:_LEAKS_SHOWN]:
        yield "allowed", cut(f"{described(may.process)}  ({may.reason})", _LONGEST)


def reason(told: AttemptRecord | ScenarioRecord) -> str:
    """Why it came out as it did."""
    return cut(told.reason, _LONGEST)


def last_lines(output: OutputRecord) -> tuple[str, ...]:
    """The end of what was printed."""
    return tuple(cut(line, _LONGEST) for line in output.last_lines)


def tried(attempt: AttemptRecord) -> str:
    """One attempt in a few words."""
    return f"{attempt.outcome} {'alone' if attempt.alone else 'beside others'}"


def line_of(scenario: ScenarioRecord) -> int:
    """The line of its script that bash complained of last, as far as its output tells; else 1."""
    names = "|".join(map(re.escape, (scenario.script, PurePath(scenario.script).name)))
    said = re.compile(rf"(?:^|[\s/])(?:{names}): line ([0-9]{{1,6}}):")
    found = [one for line in scenario.output.last_lines for one in said.findall(line)]
    return int(found[-1]) if found else 1


def summary(run: RunRecord) -> str:
    """The counts, how long it took and on what, in one line."""
    counts = [f"{run.counts[one]} {one}" for one in Outcome if run.counts.get(one)]
    tested = f" of {run.binary.path} (sha256 {run.binary.sha256[:12]})" if run.binary else ""
    stopped = f", stopped by {run.stopped}" if run.stopped else ""
    unfinished = "" if run.finished else ", not finished"
    told = ", ".join(counts) or "nothing"
    return printable(f"{told} in {run.seconds:.1f} s on {run.engine}{tested}{stopped}{unfinished}")


def seen_from(folder: str, path: str) -> str:
    """A path as it is written in `folder`, where it lies in there; else as it is."""
    full, top = PurePath(path), PurePath(folder)
    return printable(str(full.relative_to(top) if full.is_relative_to(top) else full))
