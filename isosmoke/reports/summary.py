"""A record told on a terminal: line by line, a failure in short, or a scenario whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from textwrap import wrap

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from isosmoke.reports import wording
from isosmoke.results import repeat_command
from isosmoke.results.outcome import Outcome, sort_counts
from isosmoke.results.run_record import (
    AttemptRecord,
    Beginning,
    ChangeRecord,
    EvidenceRecord,
    ProcessRecord,
    RunRecord,
    ScenarioRecord,
    Told,
)
from isosmoke.sandbox.processes import described
from isosmoke.text import command_line, printable

_DIRTY = "bold red"
_OUTPUT_LINES = 12
_LEAKS_SHOWN = 8
_FILE_LINES = 12
_CHANGES_WITH_TEXT = 8
_WAITING = 0.01
"""Seconds; who waited for less did not wait."""


@dataclass(frozen=True, slots=True)
class Hanging:
    """Words after a head. A terminal that is too narrow has them go on below it, from `indent`.

    Anywhere else they are one line, which can be searched. No word is ever broken.
    """

    head: Text
    words: str
    indent: int

    @property
    def whole(self) -> Text:
        """All in one line."""
        return self.head + Text(self.words)

    def __rich_console__(self, console: Console, _: ConsoleOptions) -> Iterator[Text]:
        yield self.head + Text(self._folded(console.width)) if console.is_terminal else self.whole

    def _folded(self, width: int) -> str:
        rows = wrap(
            self.words,
            width,
            initial_indent=" " * self.head.cell_len,
            subsequent_indent=" " * self.indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return "\n".join(rows)[self.head.cell_len :]


def one_row(text: Text, console: Console) -> Text:
    """Cut where a terminal ends; anywhere else as it is."""
    if console.is_terminal:
        text.truncate(console.width, overflow="ellipsis")
    return text


def head(run: Beginning, total: int) -> Text:
    """What a run is made with: engine, path and hash of the binary, how many scenarios."""
    tested = f" · {run.binary.path} {run.binary.sha256[:12]}" if run.binary else ""
    count = f"{total} {'scenario' if total == 1 else 'scenarios'}"
    return Text(printable(f"isosmoke · {run.engine}{tested} · {count}"), style="dim")


def line(name: str, outcome: Outcome, seconds: float, reason: str) -> Hanging:
    """What came of something, in one line."""
    told = Text.assemble((f"{outcome:<8}", outcome.facts.console), f"{seconds:7.2f}s  ")
    indent = told.cell_len
    told.append(name, "bold")
    return Hanging(told.append("  ") if reason else told, printable(reason), indent)


def failure(run: RunRecord, one: ScenarioRecord, repeat: Sequence[str]) -> Iterator[RenderableType]:
    """Why it broke, the last lines of its output, what it left, and how to repeat it."""
    yield Text()
    yield _title(one)
    if one.assertion:
        yield _field("asserts", one.assertion)
    yield _field("because", one.reason)
    if len(one.attempts) > 1:
        yield _field("tries", ", ".join(map(wording.tried, one.attempts)))
    yield from _output(one, _OUTPUT_LINES)
    yield from _left(one.leaks[:_LEAKS_SHOWN])
    if len(one.leaks) > _LEAKS_SHOWN:
        yield _field("left", f"and {len(one.leaks) - _LEAKS_SHOWN} more")
    if there := wording.kept(run, one):
        yield _exact("kept", there)
    yield _exact("repeat", command_line(repeat))


def whole(run: RunRecord, one: ScenarioRecord) -> Iterator[RenderableType]:
    """All that is recorded of a scenario, try by try."""
    yield _title(one)
    yield _field("run", f"{run.id} on {run.engine}, {run.started_at.astimezone():%Y-%m-%d %H:%M}")
    if one.assertion:
        yield _field("asserts", one.assertion)
    if one.owners:
        yield _field("owners", ", ".join(one.owners))
    for number, attempt in enumerate(one.attempts, start=1):
        yield from _attempt(number, attempt)
        if attempt.evidence:
            yield from _evidence(attempt.evidence, _alike(one.attempts[: number - 1], attempt))
    yield _exact("repeat", command_line(repeat_command.of(run, one.name)))
    if has_block(one.outcome):
        yield _exact(
            "sit in", command_line(("isosmoke", "repro", f"{run.id}/{one.name}", "--after"))
        )


def replay(run: RunRecord) -> Iterator[RenderableType]:
    """A run as it was told when it ended."""
    yield head(run, len(run.scenarios))
    for one in run.scenarios:
        yield line(one.name, one.outcome, one.seconds, one.reason)
    for one in failures(run):
        yield from failure(run, one, repeat_command.of(run, one.name))
    yield from end(run)


def has_block(outcome: Outcome) -> bool:
    """Whether the end of a run tells more of what came out so: it was tried, and blocks."""
    return outcome.blocks and outcome.facts.was_tried


def failures(run: RunRecord) -> tuple[ScenarioRecord, ...]:
    """What was tried and blocks."""
    return tuple(one for one in run.scenarios if has_block(one.outcome))


def end(run: RunRecord) -> Iterator[Text]:
    """What the user should know beside the outcomes, what was left behind, and the counts."""
    for note in run.notes:
        told = note if note.startswith("WARNING: ") else f"note: {note}"
        yield Text(printable(told), style="yellow")
    for left in run.dirty:
        yield Text(printable(f"DIRTY: {left}"), style=_DIRTY)
    yield summary(run)


def summary(run: RunRecord) -> Text:
    """The counts, in one line."""
    told = counts(run).append(f"in {run.seconds:.1f} s", style="dim")
    if run.stopped:
        told.append(printable(f", stopped by {run.stopped}"))
    return told if run.finished else told.append(", not finished")


def counts(run: RunRecord) -> Text:
    """How many came out how, two spaces after each."""
    told = Text()
    for outcome, number in sort_counts(run.counts):
        told.append(f"{number} {outcome}", style=outcome.facts.console).append("  ")
    return told


def _title(one: ScenarioRecord) -> Text:
    return Text.assemble((f"{one.outcome}", one.outcome.facts.console), " ", (one.name, "bold"))


def _field(name: str, value: str) -> Hanging:
    head = Text.assemble((f"  {name:<8}", "dim"))
    return Hanging(head, printable(value), head.cell_len)


def _exact(name: str, value: str) -> Text:
    """A field to be copied: a terminal that joins what it folded itself gives it back whole."""
    return _field(name, value).whole


def _attempt(number: int, attempt: AttemptRecord) -> Iterator[RenderableType]:
    why = f", {attempt.reason}" if attempt.reason else ""
    yield _field(f"try {number}", f"{wording.tried(attempt)}{why}")
    if attempt.phases:
        steps = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in attempt.phases.items())
        waited = f" after {attempt.waited:.2f} s of waiting" if attempt.waited >= _WAITING else ""
        yield _field("took", f"{attempt.seconds:.2f} s{waited}: {steps}")
    yield from _left(attempt.leaks)
    for one in attempt.tolerated:
        yield _field("allowed", f"{described(one.process)}  ({one.reason})")
    yield from _output(attempt, len(attempt.output.last_lines))


def _alike(before: Sequence[AttemptRecord], attempt: AttemptRecord) -> int:
    """The number of the first try that changed the same paths; 0 if there is none."""
    same = (number for number, one in enumerate(before, 1) if _paths(one) == _paths(attempt))
    return next(same, 0)


def _paths(attempt: AttemptRecord) -> list[tuple[str, str]]:
    changes = attempt.evidence.changes if attempt.evidence else ()
    return [(one.change, one.path) for one in changes]


def _evidence(evidence: EvidenceRecord, alike: int) -> Iterator[RenderableType]:
    if used := wording.used(evidence):
        yield _field("used", used)
    if len(evidence.changes) <= _CHANGES_WITH_TEXT:
        yield from _few(evidence.changes)
    elif alike:
        yield _field("changed", f"the same {len(evidence.changes)} paths as in try {alike}")
    else:
        yield from _many(evidence.changes)
    if evidence.changes_left_out:
        yield _field("changed", f"{evidence.changes_left_out} more")
    for pane in evidence.panes:
        yield _field("pane", f"{pane.name} of tmux at {pane.server}")
        yield from map(_quoted, pane.lines)
    for one in evidence.missing:
        yield _field("missing", one)


def _few(changes: Sequence[ChangeRecord]) -> Iterator[RenderableType]:
    """Each by itself, with the end of its text."""
    for change in changes:
        yield _exact(change.change, wording.changed(change))
        yield from map(_quoted, _text(change)[-_FILE_LINES:])


def _many(changes: Sequence[ChangeRecord]) -> Iterator[RenderableType]:
    """Folder by folder, without texts: `--file` shows those that are asked for."""
    folders: dict[tuple[str, PurePosixPath], list[str]] = {}
    for one in changes:
        folder = PurePosixPath(one.path).parent
        folders.setdefault((one.change, folder), []).append(wording.named(one))
    for (change, folder), names in folders.items():
        yield _field(change, f"{folder}:  {', '.join(names)}")
    yield _field("look", "with --file PATTERN, for what files hold that match it")


def files(one: ScenarioRecord, pattern: str) -> Iterator[Text]:
    """The changes whose path ends as `pattern` says, try by try, with all that is kept of them."""
    for attempt in one.attempts:
        for change in attempt.evidence.changes if attempt.evidence else ():
            if PurePosixPath(change.path).match(pattern):
                yield _exact(change.change, wording.changed(change))
                yield from map(_quoted, _text(change))


def _text(change: ChangeRecord) -> list[str]:
    return change.text.splitlines() if change.kind == "file" and change.text else []


def _output(told: Told, most: int) -> Iterator[Text]:
    if told.output.log and told.output.size:
        yield _exact("log", told.output.log)
    yield from map(_quoted, told.output.last_lines[-most:])


def _quoted(text: str) -> Text:
    return Text.assemble(("  │ ", "dim"), printable(text))


def _left(leaks: Sequence[ProcessRecord]) -> Iterator[RenderableType]:
    for one in leaks:
        yield _field("left", described(one.process))
