"""The text of a stress run, for people and coding agents (pure)."""

from collections.abc import Iterator, Sequence

from isosmoke.investigation.repetition.statistics import CONFIDENCE, format_percent
from isosmoke.investigation.repetition.stress_record import FailureGroup, StressDocument
from isosmoke.text import quote_command, shorten

_GROUPS_SHOWN = 8


def render(document: StressDocument, repeat: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the result; `repeat` is the command that runs the scenario once."""
    yield _render_verdict(document)
    if document.times:
        jobs = f", {document.jobs} at once" if document.jobs > 1 else ""
        yield f"  time     {document.times}{jobs}"
    for group in document.groups[:_GROUPS_SHOWN]:
        yield f"  {group.count}x {group.outcome}  {shorten(group.reason)}{_locate(group)}"
    if (more := len(document.groups) - _GROUPS_SHOWN) > 0:
        yield f"  and {more} more kinds of failures"
    for fact in document.common:
        yield f"  common   {fact}"
    yield from _render_others(document)
    if document.rate.failed:
        yield f"  repeat   {quote_command(repeat)}"
    yield f"  record   {document.record}"


def _render_verdict(document: StressDocument) -> str:
    rate, name = document.rate, document.name
    stopped = f", stopped: {document.stopped}" if document.stopped else ""
    if not rate.runs:
        what = "was skipped" if document.skipped else "was not measured"
        reason = document.skip_reason or document.broken_reason
        return f"{name} {what}{f': {shorten(reason)}' if reason else ''}{stopped}"
    took = f" in {document.seconds:.1f} s{stopped}"
    if not rate.failed:
        limit = f"{CONFIDENCE:.0%} interval 0% to {format_percent(rate.high)}"
        return f"PASS {name}: none of {rate.runs} repetitions failed ({limit}){took}"
    return f"FAIL {name}: {rate.failed} of {rate.runs} repetitions failed ({rate}){took}"


def _locate(group: FailureGroup) -> str:
    numbers = ", ".join(map(str, group.repetitions))
    more = ", ..." if group.count > len(group.repetitions) else ""
    log = f", log {group.logs[0]}" if group.logs else ""
    return f"  (repetition {numbers}{more}{log})"


def _render_others(document: StressDocument) -> Iterator[str]:
    if document.rate.runs and document.skipped:
        yield f"  skipped  {document.skipped}: {shorten(document.skip_reason)}"
    if document.rate.runs and document.broken:
        yield f"  engine   failed {document.broken} times: {shorten(document.broken_reason)}"
    for leftover in document.dirty[:_GROUPS_SHOWN]:
        yield f"  DIRTY    {leftover}"
