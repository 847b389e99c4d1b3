"""What a record says, in words; each report that is made of one puts it its own way.

Every text is one line without anything that steers; what a script wrote is cut where it is long.
"""

import re
from collections.abc import Iterator
from pathlib import PurePath

from isosmoke.results import repeat_command
from isosmoke.results.outcome import describe_counts, sort_counts
from isosmoke.results.run_record import (
    AttemptRecord,
    ChangeRecord,
    EvidenceRecord,
    OutputRecord,
    RunRecord,
    ScenarioRecord,
)
from isosmoke.sandbox.processes import described
from isosmoke.text import command_line, cut, printable

_LONGEST = 1000
_LEAKS_SHOWN = 50
_HUNDRED, _THOUSAND = 100, 1000
_UNITS = ("B", "kB", "MB", "GB", "TB")


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
    if there := kept(run, scenario):
        yield "kept", there
    yield "repeat", command_line(repeat_command.of(run, scenario.name))


def kept(run: RunRecord, scenario: ScenarioRecord) -> str:
    """What there is to look at, and the command that shows it; empty where there is nothing."""
    telling = next((one for one in scenario.attempts if one.outcome.blocks), None)
    if telling is None or telling.evidence is None:
        return ""
    changes = len(telling.evidence.changes) + telling.evidence.changes_left_out
    numbers = {"change": changes, "pane": len(telling.evidence.panes)}
    there = [f"{many} {what}{'s' * (many > 1)}" for what, many in numbers.items() if many]
    command = command_line(("isosmoke", "show", f"{run.id}/{scenario.name}"))
    return cut(f"{', '.join(there)}: {command}", _LONGEST) if there else ""


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


def left_behind(run: RunRecord) -> tuple[str, ...]:
    """What the run could not prove to have removed, each with the command that does."""
    return tuple(cut(one, _LONGEST) for one in run.dirty)


def last_lines(output: OutputRecord) -> tuple[str, ...]:
    """The end of what was printed."""
    return tuple(cut(line, _LONGEST) for line in output.last_lines)


def tried(attempt: AttemptRecord) -> str:
    """One attempt in a few words."""
    return f"{attempt.outcome} {'alone' if attempt.alone else 'beside others'}"


def used(evidence: EvidenceRecord) -> str:
    """What an attempt took; empty where nobody counted."""
    told = []
    if usage := evidence.usage:
        told.append(f"{usage.user_seconds:.2f} s user, {usage.system_seconds:.2f} s system")
        told.append(f"{size(usage.largest)} the largest process")
    for what, most in evidence.peaks.items():
        told.append(f"{size(most) if what == 'memory' else most} {what} at most")
    return printable(", ".join(told))


def changed(change: ChangeRecord) -> str:
    """A path that was added, changed or removed, and what it is."""
    bytes_ = f", {size(change.size)}" if change.size else ""
    within = f", {change.within} changes in it" if change.within else ""
    leads = f" to {change.text}" if change.kind == "link" and change.text else ""
    end = ", its end is kept" if change.before else ""
    return cut(f"{change.path}  {change.kind}{leads}{bytes_}{within}{end}", _LONGEST)


def named(change: ChangeRecord) -> str:
    """The same in few words, for who knows the folder that it is in."""
    kind = {"folder": "/", "file": "", "link": " link"}.get(change.kind, f" {change.kind}")
    size_ = f" {size(change.size)}" if change.size and not change.within else ""
    within = f" {change.within} changes" if change.within else ""
    return cut(f"{PurePath(change.path).name}{kind}{size_}{within}", _LONGEST)


def lines(text: str) -> str:
    """Text of several lines, each as the others here are."""
    return "\n".join(cut(one, _LONGEST) for one in text.splitlines())


def line_of(scenario: ScenarioRecord) -> int:
    """The line of its script that bash complained of last, as far as its output tells; else 1."""
    names = "|".join(map(re.escape, (scenario.script, PurePath(scenario.script).name)))
    said = re.compile(rf"(?:^|[\s/])(?:{names}): line ([0-9]{{1,6}}):")
    found = [one for line in scenario.output.last_lines for one in said.findall(line)]
    return int(found[-1]) if found else 1


def summary(run: RunRecord) -> str:
    """The counts, how long it took and on what, in one line."""
    tested = f" of {run.binary.path} (sha256 {run.binary.sha256[:12]})" if run.binary else ""
    stopped = f", stopped by {run.stopped}" if run.stopped else ""
    unfinished = "" if run.finished else ", not finished"
    told = describe_counts(sort_counts(run.counts)) or "nothing"
    return printable(f"{told} in {run.seconds:.1f} s on {run.engine}{tested}{stopped}{unfinished}")


def seen_from(folder: str, path: str) -> str:
    """A path as it is written in `folder`, where it lies in there; else as it is."""
    full, top = PurePath(path), PurePath(folder)
    return printable(str(full.relative_to(top) if full.is_relative_to(top) else full))


def size(count: int) -> str:
    """A number of bytes in the unit that suits it."""
    number, unit = float(count), 0
    while number >= _THOUSAND and unit < len(_UNITS) - 1:
        number, unit = number / _THOUSAND, unit + 1
    return f"{number:.{0 if number >= _HUNDRED else 1}f} {_UNITS[unit]}".replace(".0 ", " ")
