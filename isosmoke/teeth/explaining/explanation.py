"""The explanation of a survivor: a JSON document, and lines of text (pure)."""

from collections.abc import Iterator, Sequence
from typing import Literal

from isosmoke.gate.proofs import teeth_cells
from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage, Verdict
from isosmoke.host.binary import COMMAND_NAME
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.teeth import report
from isosmoke.teeth.calls import script_lines
from isosmoke.teeth.calls.call_log import Call
from isosmoke.teeth.calls.script_lines import Frame

_MAX_TEXT = 120


class PlaceRecord(RecordModel):
    """A command in a script: its file, as bash was given it, and its line number from 1."""

    file: Text

    line: int


class CallExplanation(RecordModel):
    """One call, and whether the scenario notices if this call alone is sabotaged."""

    number: int
    """The number among the calls of the subcommand in this scenario, from 1."""

    argv: tuple[Text, ...]

    line: int | None
    """The line of the script that makes the call, from 1; null if it is not known."""

    text: Text
    """The content of that line; empty if it is not known."""

    inner: tuple[PlaceRecord, ...]
    """The commands of sourced files that this line runs to make the call, the last one first."""

    outer: tuple[PlaceRecord, ...]
    """The commands of the script that call the function with this line."""

    verdict: Verdict

    outcome: Outcome | None
    """The outcome of the run in which this call was sabotaged; null if it was not run."""

    reason: Text


class ExplanationDocument(RecordModel):
    """The output of `isosmoke teeth NAME --explain SUBCOMMAND --json`."""

    schema_version: Literal[1] = 1

    binary: Text
    """The SHA-256 of the live binary."""

    program: Text = COMMAND_NAME
    """The name of the live binary."""

    scenario: Text

    script: Text
    """The path of its script."""

    subcommand: Text

    sabotage: Sabotage
    """The strongest sabotage that the scenario does not notice, or the one that was chosen."""

    sentence: Text
    """The statement that its verdict proves, if all calls are sabotaged."""

    calls: tuple[CallExplanation, ...]

    note: Text
    """The reason why lines are not known; else empty."""

    runs: int
    """The number of sabotaged runs."""

    seconds: float


def describe_call(number: int, call: Call, cell: Cell, script: Sequence[str]) -> CallExplanation:
    """Return the record of a call and of its verdict; `script` has the lines of the script."""
    place = script_lines.locate(script_lines.parse(call.place))
    line = place.line if place else None
    return CallExplanation(
        number=number,
        argv=tuple(word.decode(errors="surrogateescape") for word in call.argv),
        line=line,
        text=script[line - 1].strip() if line is not None and 0 < line <= len(script) else "",
        inner=_record_frames(place.inner if place else ()),
        outer=_record_frames(place.outer if place else ()),
        verdict=cell.verdict,
        outcome=cell.outcome,
        reason=cell.reason,
    )


def _record_frames(frames: Sequence[Frame]) -> tuple[PlaceRecord, ...]:
    return tuple(PlaceRecord(file=frame.file, line=frame.line) for frame in frames)


def render(document: ExplanationDocument) -> Iterator[str]:
    """Yield the lines of an explanation: each call, then those that are not noticed."""
    yield f"{document.scenario}: {document.sentence}"
    for call in document.calls:
        yield ""
        words = " ".join((document.program, *call.argv[1:]))
        yield f"  call {call.number} of {len(document.calls)}: {_shorten(words)}"
        yield from (f"    {line}" for line in _describe_place(document.script, call))
        yield f"    {call.verdict}{f': {call.reason}' if call.reason else ''}"
    yield ""
    yield _summarize(document)
    if document.note:
        yield f"note: {document.note}"


def _describe_place(script: str, call: CallExplanation) -> Iterator[str]:
    if call.line is None:
        return
    yield f"{script}:{call.line}: {_shorten(call.text)}"
    yield from (f"through {place.file}:{place.line}" for place in call.inner)
    yield from (f"called in line {place.line}" for place in call.outer)


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."


def _summarize(document: ExplanationDocument) -> str:
    found = [call for call in document.calls if call.verdict in report.SURVIVING]
    broken = teeth_cells.describe_sabotage(document.sabotage, document.program, document.subcommand)
    if not found:
        return f"it notices if {broken} in any single call, but not in all of them at once"
    names = ", ".join(f"call {call.number}{_name_line(call)}" for call in found)
    return f"it does not notice if {broken} in {names}"


def _name_line(call: CallExplanation) -> str:
    """Return the line that makes a call in brackets, the outermost one; empty if unknown."""
    lines = [call.line, *(place.line for place in call.outer)]
    return "" if call.line is None else f" (line {lines[-1]})"
