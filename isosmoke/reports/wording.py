"""Descriptions of recorded facts, shared by all reports.

Every text is one printable line without control characters. Long text by a script is truncated.
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

_MAX_LENGTH = 1000
_LEAKS_SHOWN = 50
_HUNDRED, _THOUSAND = 100, 1000
_UNITS = ("B", "kB", "MB", "GB", "TB")


def of(run: RunRecord, scenario: ScenarioRecord) -> Iterator[tuple[str, str]]:
    """Yield the facts of a scenario, except its output, as names and values; names can recur."""
    if scenario.assertion:
        yield "asserts", cut(scenario.assertion, _MAX_LENGTH)
    if scenario.reason:
        yield "because", reason(scenario)
    if len(scenario.attempts) > 1:
        yield "tries", ", ".join(map(tried, scenario.attempts))
    yield from _list_processes(scenario)
    if scenario.output.log and scenario.output.size:
        yield "log", printable(scenario.output.log)
    if details := kept(run, scenario):
        yield "details", details
    yield "repeat", command_line(repeat_command.of(run, scenario.name))


def kept(run: RunRecord, scenario: ScenarioRecord) -> str:
    """Return the amount of evidence and the command that shows it; empty if there is none."""
    blocking = next((attempt for attempt in scenario.attempts if attempt.outcome.blocks), None)
    if blocking is None or blocking.evidence is None:
        return ""
    changes = len(blocking.evidence.changes) + blocking.evidence.changes_left_out
    numbers = {"change": changes, "pane": len(blocking.evidence.panes)}
    amounts = [f"{number} {noun}{'s' * (number > 1)}" for noun, number in numbers.items() if number]
    command = command_line(("isosmoke", "show", f"{run.id}/{scenario.name}"))
    return cut(f"{', '.join(amounts)}: {command}", _MAX_LENGTH) if amounts else ""


def _list_processes(scenario: ScenarioRecord) -> Iterator[tuple[str, str]]:
    for leak in scenario.leaks[:_LEAKS_SHOWN]:
        yield "leaked", cut(described(leak.process), _MAX_LENGTH)
    if len(scenario.leaks) > _LEAKS_SHOWN:
        yield "leaked", f"and {len(scenario.leaks) - _LEAKS_SHOWN} more"
    for tolerated in scenario.tolerated[:_LEAKS_SHOWN]:
        yield "allowed", cut(f"{described(tolerated.process)}  ({tolerated.reason})", _MAX_LENGTH)


def reason(record: AttemptRecord | ScenarioRecord) -> str:
    """Return the reason of an outcome."""
    return cut(record.reason, _MAX_LENGTH)


def left_behind(run: RunRecord) -> tuple[str, ...]:
    """Return the leftovers whose removal could not be confirmed, with commands to remove them."""
    return tuple(cut(item, _MAX_LENGTH) for item in run.dirty)


def last_lines(output: OutputRecord) -> tuple[str, ...]:
    """Return the last lines of an output."""
    return tuple(cut(line, _MAX_LENGTH) for line in output.last_lines)


def tried(attempt: AttemptRecord) -> str:
    """Return the outcome of an attempt, and whether it ran alongside others or in isolation."""
    return f"{attempt.outcome} {'in isolation' if attempt.alone else 'alongside others'}"


def used(evidence: EvidenceRecord) -> str:
    """Return the resources that an attempt used; empty if they were not measured."""
    parts = []
    if usage := evidence.usage:
        parts.append(f"{usage.user_seconds:.2f} s user, {usage.system_seconds:.2f} s system")
        parts.append(f"{size(usage.largest)} in the largest process")
    for resource, peak in evidence.peaks.items():
        amount = size(peak) if resource == "memory" else peak
        parts.append(f"{amount} {resource} at most")
    return printable(", ".join(parts))


def changed(change: ChangeRecord) -> str:
    """Return a path that was added, changed or removed, with its kind and size."""
    bytes_ = f", {size(change.size)}" if change.size else ""
    within = f", {change.within} changes inside" if change.within else ""
    target = f" to {change.text}" if change.kind == "link" and change.text else ""
    end = ", its end is kept" if change.before else ""
    return cut(f"{change.path}  {change.kind}{target}{bytes_}{within}{end}", _MAX_LENGTH)


def named(change: ChangeRecord) -> str:
    """Return the name of a changed path, without its directory, and its kind and size."""
    kind = {"folder": "/", "file": "", "link": " link"}.get(change.kind, f" {change.kind}")
    size_ = f" {size(change.size)}" if change.size and not change.within else ""
    within = f" {change.within} changes" if change.within else ""
    return cut(f"{PurePath(change.path).name}{kind}{size_}{within}", _MAX_LENGTH)


def lines(text: str) -> str:
    """Return text of several lines, each made printable and truncated."""
    return "\n".join(cut(line, _MAX_LENGTH) for line in text.splitlines())


def line_of(scenario: ScenarioRecord) -> int:
    """Return the script line of the last error message by bash in the output, or 1 if none."""
    names = "|".join(map(re.escape, (scenario.script, PurePath(scenario.script).name)))
    message = re.compile(rf"(?:^|[\s/])(?:{names}): line ([0-9]{{1,6}}):")
    numbers = [number for line in scenario.output.last_lines for number in message.findall(line)]
    return int(numbers[-1]) if numbers else 1


def summary(run: RunRecord) -> str:
    """Return the counts, the duration, the engine and the binary of a run, in one line."""
    tested = f" of {run.binary.path} (sha256 {run.binary.sha256[:12]})" if run.binary else ""
    stopped = f", stopped by {run.stopped}" if run.stopped else ""
    unfinished = "" if run.finished else ", not finished"
    counts = describe_counts(sort_counts(run.counts)) or "nothing"
    return printable(
        f"{counts} in {run.seconds:.1f} s on {run.engine}{tested}{stopped}{unfinished}"
    )


def seen_from(directory: str, path: str) -> str:
    """Return a path relative to `directory` if it is inside, else unchanged."""
    full, top = PurePath(path), PurePath(directory)
    return printable(str(full.relative_to(top) if full.is_relative_to(top) else full))


def size(count: int) -> str:
    """Return a number of bytes in a suitable unit."""
    number, unit = float(count), 0
    while number >= _THOUSAND and unit < len(_UNITS) - 1:
        number, unit = number / _THOUSAND, unit + 1
    return f"{number:.{0 if number >= _HUNDRED else 1}f} {_UNITS[unit]}".replace(".0 ", " ")
