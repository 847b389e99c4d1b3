"""Descriptions of recorded facts, shared by all reports.

Every text is one printable line without control characters. Long text by a script is truncated.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath

from isosmoke.results import repeat_command
from isosmoke.results.machine_load import Basis
from isosmoke.results.outcome import count, describe_counts, sort_counts
from isosmoke.results.records.attempt import (
    AttemptRecord,
    ChangeRecord,
    EvidenceRecord,
    OutputRecord,
)
from isosmoke.results.records.origin import BinaryRecord, RepositoryRecord
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.sandbox.survivors import describe_process
from isosmoke.text import escape_controls, quote_command, strip_styles, truncate

MAX_LENGTH = 1000
"""The number of characters after which a text by a script is truncated."""

_LEAKS_SHOWN = 50
_HUNDRED, _THOUSAND = 100, 1000
_UNITS = ("B", "kB", "MB", "GB", "TB")


def list_facts(run: RunRecord, scenario: ScenarioRecord) -> Iterator[tuple[str, str]]:
    """Yield the facts of a scenario, except its output, as names and values; names can recur."""
    if scenario.assertion:
        yield "asserts", truncate(scenario.assertion, MAX_LENGTH)
    if scenario.reason:
        yield "because", format_reason(scenario)
    if tries := describe_attempts(scenario):
        yield "tries", tries
    yield from _list_processes(scenario)
    if scenario.output.log and scenario.output.size:
        yield "log", escape_controls(scenario.output.log)
    if details := describe_evidence(run, scenario):
        yield "details", details
    yield "repeat", quote_command(repeat_command.build_repeat_command(run, scenario.name))


def describe_evidence(run: RunRecord, scenario: ScenarioRecord) -> str:
    """Return the amount of evidence and the command that shows it; empty if there is none."""
    blocking = next((attempt for attempt in scenario.attempts if attempt.outcome.blocks), None)
    if blocking is None or blocking.evidence is None:
        return ""
    changes = len(blocking.evidence.changes) + blocking.evidence.changes_left_out
    numbers = {"change": changes, "pane": len(blocking.evidence.panes)}
    amounts = [f"{number} {noun}{'s' * (number > 1)}" for noun, number in numbers.items() if number]
    command = quote_command(("isosmoke", "show", f"{run.id}/{scenario.name}"))
    return truncate(f"{', '.join(amounts)}: {command}", MAX_LENGTH) if amounts else ""


def _list_processes(scenario: ScenarioRecord) -> Iterator[tuple[str, str]]:
    for leak in scenario.leaks[:_LEAKS_SHOWN]:
        yield "leaked", truncate(describe_process(leak.process), MAX_LENGTH)
    if len(scenario.leaks) > _LEAKS_SHOWN:
        yield "leaked", f"and {len(scenario.leaks) - _LEAKS_SHOWN} more"
    for tolerated in scenario.tolerated[:_LEAKS_SHOWN]:
        yield (
            "allowed",
            truncate(f"{describe_process(tolerated.process)}  ({tolerated.reason})", MAX_LENGTH),
        )


def format_reason(record: AttemptRecord | ScenarioRecord) -> str:
    """Return the reason of an outcome."""
    return truncate(record.reason, MAX_LENGTH)


def list_leftovers(run: RunRecord) -> tuple[str, ...]:
    """Return the leftovers whose removal could not be confirmed, with commands to remove them."""
    return tuple(truncate(item, MAX_LENGTH) for item in run.dirty)


def list_shard_problems(run: RunRecord) -> tuple[tuple[str, str], ...]:
    """Return the name and the problem of each shard or other record that does not count."""
    named = [shard for shard in run.shards if shard.number is not None]
    others = [shard for shard in run.shards if shard.number is None]
    names = [
        *((f"shard {shard.number}", shard) for shard in named),
        *((f"other record {index}", shard) for index, shard in enumerate(others, start=1)),
    ]
    return tuple(
        (name, truncate(shard.problem, MAX_LENGTH)) for name, shard in names if shard.problem
    )


def list_last_lines(output: OutputRecord) -> tuple[str, ...]:
    """Return the last lines of an output, without colours."""
    return tuple(truncate(strip_styles(line), MAX_LENGTH) for line in output.last_lines)


def describe_attempts(scenario: ScenarioRecord) -> str:
    """Return each attempt of a scenario; after repetitions, how many attempts had each outcome.

    Return nothing for a single attempt on this machine.
    """
    if len(scenario.attempts) == 1 and scenario.attempts[0].worker is None:
        return ""
    repetitions = scenario.attempts[-1].repetition
    if repetitions == 1:
        return ", ".join(map(describe_attempt, scenario.attempts))
    counts = count(attempt.outcome for attempt in scenario.attempts)
    return f"{describe_counts(sort_counts(counts))} in {repetitions} repetitions"


def describe_attempt(attempt: AttemptRecord) -> str:
    """Return the outcome of an attempt, whether it ran alongside others, and its worker, if any."""
    where = f" on {truncate(attempt.worker.name, MAX_LENGTH)}" if attempt.worker else ""
    return f"{attempt.outcome} {'in isolation' if attempt.alone else 'alongside others'}{where}"


_BASES: Mapping[Basis, str] = {
    "measured": "at once: by what was measured, no other scenario can be the cause",
    "known": "at once: the same inputs failed in isolation in the same way",
    "option": "at once, as --confirm never demands",
}


def describe_basis(attempt: AttemptRecord) -> str:
    """Return why a failure alongside others counts; empty if that is no question."""
    return _BASES.get(attempt.basis, "")


def describe_doubts(attempt: AttemptRecord) -> tuple[str, ...]:
    """Return why a failure was confirmed by another run."""
    if not attempt.postponed:
        return ()
    return tuple(truncate(doubt.text, MAX_LENGTH) for doubt in attempt.doubts)


def describe_usage(evidence: EvidenceRecord) -> str:
    """Return the resources that an attempt used; empty if they were not measured."""
    parts = []
    if usage := evidence.usage:
        parts.append(f"{usage.user_seconds:.2f} s user, {usage.system_seconds:.2f} s system")
        parts.append(f"{format_size(usage.largest)} in the largest process")
    parts += [_describe_peak(resource, peak) for resource, peak in evidence.peaks.items()]
    return escape_controls(", ".join(parts))


def _describe_peak(resource: str, peak: int) -> str:
    if resource == "memory":
        return f"{format_size(peak)} memory at most"
    if resource == "cpu":
        return f"{peak / 1e6:.2f} s CPU together"
    if resource.endswith("_pressure"):
        return f"{peak / 1e6:.2f} s waiting for {resource.removesuffix('_pressure')}"
    return f"{peak} {resource} at most"


def describe_change(change: ChangeRecord) -> str:
    """Return a path that was added, changed or removed, with its kind and size."""
    bytes_ = f", {format_size(change.size)}" if change.size else ""
    within = f", {change.within} changes inside" if change.within else ""
    target = f" to {change.text}" if change.kind == "link" and change.text else ""
    end = ", its end is kept" if change.before else ""
    return truncate(f"{change.path}  {change.kind}{target}{bytes_}{within}{end}", MAX_LENGTH)


def describe_change_briefly(change: ChangeRecord) -> str:
    """Return the name of a changed path, without its directory, and its kind and size."""
    kind = {"folder": "/", "file": "", "link": " link"}.get(change.kind, f" {change.kind}")
    size_ = f" {format_size(change.size)}" if change.size and not change.within else ""
    within = f" {change.within} changes" if change.within else ""
    return truncate(f"{PurePath(change.path).name}{kind}{size_}{within}", MAX_LENGTH)


def format_lines(text: str) -> str:
    """Return text of several lines, each made printable and truncated."""
    return "\n".join(truncate(line, MAX_LENGTH) for line in text.splitlines())


def find_error_line(scenario: ScenarioRecord) -> int:
    """Return the script line of the last error message by bash in the output, or 1 if none."""
    return find_named_line(scenario) or 1


def find_named_line(scenario: ScenarioRecord) -> int | None:
    """Return the script line of the last error message by bash in the output; None if none."""
    names = "|".join(map(re.escape, (scenario.script, PurePath(scenario.script).name)))
    message = re.compile(rf"(?:^|[\s/])(?:{names}): line ([0-9]{{1,6}}):")
    numbers = [
        number for line in list_last_lines(scenario.output) for number in message.findall(line)
    ]
    return int(numbers[-1]) if numbers else None


def summarize_run(run: RunRecord) -> str:
    """Return the counts, the duration, the engine, the binary and the commit, in one line."""
    tested = f" of {run.binary.path} ({_describe_build(run.binary)})" if run.binary else ""
    commit = f", commit {describe_repository(run.repository)}" if run.repository else ""
    stopped = f", stopped by {run.stopped}" if run.stopped else ""
    unfinished = "" if run.finished else ", not finished"
    counts = describe_counts(sort_counts(run.counts)) or "nothing"
    return escape_controls(
        f"{counts} in {run.seconds:.1f} s on {run.engine}{tested}{commit}{stopped}{unfinished}"
    )


def _describe_build(binary: BinaryRecord) -> str:
    version = f"{truncate(binary.version, MAX_LENGTH)}, " if binary.version else ""
    return f"{version}sha256 {binary.sha256[:12]}"


def describe_repository(repository: RepositoryRecord) -> str:
    """Return the commit of a work tree, its branch, and whether files may differ from it."""
    return f"{format_commit(repository)}{describe_branch(repository)}"


def format_commit(repository: RepositoryRecord) -> str:
    """Return a commit in short."""
    return escape_controls(repository.commit[:12]) or "none"


def describe_branch(repository: RepositoryRecord) -> str:
    """Return what follows a commit: its branch, and whether files may differ; or an empty text."""
    branch = f" on {truncate(repository.branch, MAX_LENGTH)}" if repository.branch else ""
    return f"{branch}{', with changes' if repository.dirty else ''}"


def describe_continuation(run: RunRecord) -> str:
    """Return the command that runs the rest of an interrupted run; empty if there is none."""
    if not run.stopped or run.record is None or run.command or not run.manifest:
        return ""
    return quote_command(repeat_command.build_rerun_command(run))


def shorten_path(directory: str, path: str) -> str:
    """Return a path relative to `directory` if it is inside, else unchanged."""
    full, top = PurePath(path), PurePath(directory)
    return escape_controls(str(full.relative_to(top) if full.is_relative_to(top) else full))


def format_size(count: int) -> str:
    """Return a number of bytes in a suitable unit."""
    number, unit = float(count), 0
    while number >= _THOUSAND and unit < len(_UNITS) - 1:
        number, unit = number / _THOUSAND, unit + 1
    return f"{number:.{0 if number >= _HUNDRED else 1}f} {_UNITS[unit]}".replace(".0 ", " ")
