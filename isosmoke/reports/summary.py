"""Console output of records: one line per scenario, failures in short, or a scenario in full."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from isosmoke.dataclass import dataclass
from isosmoke.reports import wording
from isosmoke.reports.wording import MAX_LENGTH
from isosmoke.results import repeat_command
from isosmoke.results.outcome import Outcome, sort_counts
from isosmoke.results.records.attempt import (
    AttemptRecord,
    ChangeRecord,
    EvidenceRecord,
    OutcomeRecord,
    ProcessRecord,
)
from isosmoke.results.run_record import Beginning, RunRecord, ScenarioRecord
from isosmoke.sandbox.survivors import describe_process
from isosmoke.text import Line, escape_controls, quote_command, strip_styles, truncate, wrap_words

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

_DIRTY = "bold red"
_BAR = "  │ "
_INDENT = 2
_OUTPUT_LINES = 12
_LEAKS_SHOWN = 8
_FILE_LINES = 12
_CHANGES_WITH_TEXT = 8
_MIN_WAIT = 0.01
"""The shortest wait that is shown, in seconds."""


class LinePrinter(Protocol):
    """Anything that lines are printed to; it has a width if it is a terminal."""

    @property
    def is_terminal(self) -> bool: ...

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def print(self, line: object, /) -> None: ...


@dataclass(frozen=True, slots=True)
class HangingText:
    """A label and a text with a hanging indent: a narrow terminal wraps the text at `indent`.

    Anywhere else it is one line, which can be searched. Words are never split.
    """

    label: Line
    text: str
    indent: int
    style: str = ""

    @property
    def single_line(self) -> Line:
        """The label and the text in one line."""
        return self.label + Line(self.text, self.style)

    def __str__(self) -> str:
        return str(self.single_line)

    def __rich_console__(self, console: "Console", _: "ConsoleOptions") -> Iterator[Line]:
        if not console.is_terminal:
            yield self.single_line
            return
        start = self.label.__rich__().cell_len
        rows = wrap_words(self.text, console.width, start=start, indent=self.indent)
        yield self.label + Line(rows, self.style)


Printable = Line | HangingText


def print_row(line: Line, output: LinePrinter) -> None:
    """Print a line, truncated to the width of a terminal."""
    if not output.is_terminal:
        output.print(line)
        return
    text = line.__rich__()
    text.truncate(output.width, overflow="ellipsis")
    output.print(text)


def render_head(run: Beginning, total: int) -> HangingText:
    """Return the first line of a run: shard, engine, binary and its hash, number of scenarios."""
    shard = f"shard {run.shard.number}/{run.shard.total}" if run.shard else ""
    tested = f"{run.binary.path} {run.binary.sha256[:12]}" if run.binary else ""
    count = f"{total} {'scenario' if total == 1 else 'scenarios'}"
    parts = ("isosmoke", shard, run.engine, tested, count)
    return _render_sentence(" · ".join(filter(None, parts)), "dim")


def render_line(name: str, outcome: Outcome, seconds: float, reason: str) -> HangingText:
    """Return the line of a scenario: outcome, duration, name and reason."""
    start = Line.assemble((f"{outcome:<8}", outcome.facts.console), f"{seconds:7.2f}s  ")
    indent = len(str(start))
    start.append(name, "bold")
    text = truncate(reason, MAX_LENGTH)
    return HangingText(start.append("  ") if reason else start, text, indent)


def render_failure(
    run: RunRecord, scenario: ScenarioRecord, repeat: Sequence[str]
) -> Iterator[Printable]:
    """Yield a failure in short: reason, last output lines, leaked processes, repeat command."""
    yield Line()
    yield _render_title(scenario)
    if scenario.assertion:
        yield _render_field("asserts", scenario.assertion)
    yield _render_field("because", scenario.reason)
    if tries := wording.describe_attempts(scenario):
        yield _render_field("tries", tries)
    yield from _render_output(scenario, _OUTPUT_LINES)
    yield from _render_leaks(scenario.leaks[:_LEAKS_SHOWN])
    if len(scenario.leaks) > _LEAKS_SHOWN:
        yield _render_field("leaked", f"and {len(scenario.leaks) - _LEAKS_SHOWN} more")
    if details := wording.describe_evidence(run, scenario):
        yield _render_copyable("details", details)
    yield _render_copyable("repeat", quote_command(repeat))


def render_scenario(run: RunRecord, scenario: ScenarioRecord) -> Iterator[Printable]:
    """Yield the full record of a scenario, attempt by attempt."""
    yield _render_title(scenario)
    started = f"{run.started_at.astimezone():%Y-%m-%d %H:%M}"
    yield _render_field("run", f"{run.id} on {run.engine}, {started}")
    if scenario.assertion:
        yield _render_field("asserts", scenario.assertion)
    if scenario.owners:
        yield _render_field("owners", ", ".join(scenario.owners))
    for number, attempt in enumerate(scenario.attempts, start=1):
        yield from _render_attempt(number, attempt)
        if attempt.evidence:
            same = _find_same_changes(scenario.attempts[: number - 1], attempt)
            yield from _render_evidence(attempt.evidence, same)
    yield _render_copyable(
        "repeat", quote_command(repeat_command.build_repeat_command(run, scenario.name))
    )
    if has_block(scenario.outcome):
        command = ("isosmoke", "repro", f"{run.id}/{scenario.name}", "--after")
        yield _render_copyable("shell", quote_command(command))


def render_run(run: RunRecord) -> Iterator[Printable]:
    """Yield the output of a past run as it was printed."""
    yield render_head(run, len(run.scenarios))
    for scenario in run.scenarios:
        yield render_line(scenario.name, scenario.outcome, scenario.seconds, scenario.reason)
    for scenario in list_failures(run):
        yield from render_failure(
            run, scenario, repeat_command.build_repeat_command(run, scenario.name)
        )
    yield from render_end(run)


def has_block(outcome: Outcome) -> bool:
    """Return whether the end of a run explains scenarios with this outcome: tried, and blocking."""
    return outcome.blocks and outcome.facts.was_tried


def list_failures(run: RunRecord) -> tuple[ScenarioRecord, ...]:
    """Return the scenarios that were tried and block."""
    return tuple(scenario for scenario in run.scenarios if has_block(scenario.outcome))


def render_end(run: RunRecord) -> Iterator[Printable]:
    """Yield the last lines of a run: notes, leftovers and counts."""
    for note in run.notes:
        text = note if note.startswith("WARNING: ") else f"note: {note}"
        yield _render_sentence(text, "yellow")
    for leftover in wording.list_leftovers(run):
        yield Line(f"DIRTY: {leftover}", style=_DIRTY)  # with a command, to be copied as one line
    yield render_summary(run)
    if command := wording.describe_continuation(run):
        yield Line(f"run the rest: {command}")


def _render_sentence(text: str, style: str) -> HangingText:
    return HangingText(Line(), truncate(text, MAX_LENGTH), _INDENT, style)


def render_summary(run: RunRecord) -> Line:
    """Return the counts and the duration in one line."""
    text = render_counts(run).append(f"in {run.seconds:.1f} s", "dim")
    if run.stopped:
        text.append(escape_controls(f", stopped by {run.stopped}"))
    return text if run.finished else text.append(", not finished")


def render_counts(run: RunRecord) -> Line:
    """Return the number of scenarios by outcome, each followed by two spaces."""
    text = Line()
    for outcome, number in sort_counts(run.counts):
        text.append(f"{number} {outcome}", outcome.facts.console).append("  ")
    return text


def _render_title(scenario: ScenarioRecord) -> Line:
    style = scenario.outcome.facts.console
    return Line.assemble((f"{scenario.outcome}", style), " ", (scenario.name, "bold"))


def _render_field(name: str, value: str) -> HangingText:
    label = Line.assemble((f"  {name:<8}", "dim"))
    return HangingText(label, truncate(value, MAX_LENGTH), len(str(label)))


def _render_copyable(name: str, value: str) -> Line:
    """Return a field as one line; a terminal that wraps it on its own copies it as one line."""
    return Line.assemble((f"  {name:<8}", "dim"), escape_controls(value))


def _render_attempt(number: int, attempt: AttemptRecord) -> Iterator[Printable]:
    why = f", {attempt.reason}" if attempt.reason else ""
    yield _render_field(f"try {number}", f"{wording.describe_attempt(attempt)}{why}")
    if attempt.phases:
        phases = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in attempt.phases.items())
        waited = f" after a wait of {attempt.waited:.2f} s" if attempt.waited >= _MIN_WAIT else ""
        yield _render_field("time", f"{attempt.seconds:.2f} s{waited}: {phases}")
    if basis := wording.describe_basis(attempt):
        yield _render_field("counts", basis)
    for doubt in wording.describe_doubts(attempt):
        yield _render_field("doubt", doubt)
    yield from _render_leaks(attempt.leaks)
    for tolerated in attempt.tolerated:
        yield _render_field(
            "allowed", f"{describe_process(tolerated.process)}  ({tolerated.reason})"
        )
    yield from _render_output(attempt, len(attempt.output.last_lines))


def _find_same_changes(previous: Sequence[AttemptRecord], attempt: AttemptRecord) -> int:
    """Return the number of the first attempt that changed the same paths; 0 if there is none."""
    paths = _list_paths(attempt)
    same = (number for number, other in enumerate(previous, 1) if _list_paths(other) == paths)
    return next(same, 0)


def _list_paths(attempt: AttemptRecord) -> list[tuple[str, str]]:
    changes = attempt.evidence.changes if attempt.evidence else ()
    return [(change.change, change.path) for change in changes]


def _render_evidence(evidence: EvidenceRecord, same: int) -> Iterator[Printable]:
    if usage := wording.describe_usage(evidence):
        yield _render_field("used", usage)
    if len(evidence.changes) <= _CHANGES_WITH_TEXT:
        yield from _render_changes(evidence.changes)
    elif same:
        yield _render_field("changed", f"the same {len(evidence.changes)} paths as in try {same}")
    else:
        yield from _render_directories(evidence.changes)
    if evidence.changes_left_out:
        yield _render_field("changed", f"{evidence.changes_left_out} more")
    for pane in evidence.panes:
        yield _render_field("pane", f"{pane.name} of tmux at {pane.server}")
        yield from map(quote_output, pane.lines)
    for item in evidence.missing:
        yield _render_field("missing", item)


def _render_changes(changes: Sequence[ChangeRecord]) -> Iterator[Printable]:
    """Yield each change with the end of its text."""
    for change in changes:
        yield _render_copyable(change.change, wording.describe_change(change))
        yield from map(quote_output, _split_text(change)[-_FILE_LINES:])


def _render_directories(changes: Sequence[ChangeRecord]) -> Iterator[Printable]:
    """Yield the changes by directory, without their text, which `--file` shows."""
    directories: dict[tuple[str, PurePosixPath], list[str]] = {}
    for item in changes:
        directory = PurePosixPath(item.path).parent
        directories.setdefault((item.change, directory), []).append(
            wording.describe_change_briefly(item)
        )
    for (change, directory), names in directories.items():
        yield _render_field(change, f"{directory}:  {', '.join(names)}")
    yield _render_field("hint", "use --file PATTERN to show the contents of matching files")


def render_files(scenario: ScenarioRecord, pattern: str) -> Iterator[Line]:
    """Yield the changes whose path matches `pattern` at its end, with their recorded text."""
    for attempt in scenario.attempts:
        for change in attempt.evidence.changes if attempt.evidence else ():
            if PurePosixPath(change.path).match(pattern):
                yield _render_copyable(change.change, wording.describe_change(change))
                yield from (Line(_BAR, "dim") + Line(line) for line in _split_whole(change))


def _split_whole(change: ChangeRecord) -> list[str]:
    return [escape_controls(line) for line in _split_text(change)]


def _split_text(change: ChangeRecord) -> list[str]:
    return change.text.splitlines() if change.kind == "file" and change.text else []


def _render_output(record: OutcomeRecord, limit: int) -> Iterator[Printable]:
    if record.output.log and record.output.size:
        yield _render_copyable("log", record.output.log)
    yield from map(quote_output, record.output.last_lines[-limit:])


def quote_output(line: str) -> HangingText:
    """Return a line of a script's output; a byte of it may take four characters."""
    return HangingText(Line(_BAR, "dim"), truncate(strip_styles(line), MAX_LENGTH), len(_BAR))


def _render_leaks(leaks: Sequence[ProcessRecord]) -> Iterator[Printable]:
    for leak in leaks:
        yield _render_field("leaked", describe_process(leak.process))
