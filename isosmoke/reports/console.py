"""A run on a terminal as it happens, or as plain lines anywhere else."""

import shlex
from collections.abc import Callable, Iterator
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from isosmoke.leaks import described
from isosmoke.outcome import Outcome
from isosmoke.printable import printable
from isosmoke.results import (
    Attempt,
    Event,
    RunFinished,
    RunResult,
    RunStarted,
    ScenarioFinished,
    ScenarioPostponed,
    ScenarioResult,
    ScenarioStarted,
)

_STYLES = {
    Outcome.PASS: "bold green",
    Outcome.FLAKY: "bold yellow",
    Outcome.SKIP: "bold yellow",
    Outcome.NOT_RUN: "bold dim",
}
_BROKEN = "bold red"
_RUNNING_SHOWN = 8
_OUTPUT_LINES = 12
_LEAKS_SHOWN = 8


Repeat = Callable[[str], tuple[str, ...]]


class Progress:
    """Consumes a run's events; `repeat` gives the command line that repeats a scenario by name."""

    def __init__(self, console: Console, *, live: bool, repeat: Repeat) -> None:
        self._console = console
        self._repeat = repeat
        self._running: dict[str, float] = {}
        self._counts: dict[Outcome, int] = {}
        self._total = 0
        self._display = Live(console=console, get_renderable=self._board, transient=True)
        self._live = live

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._begin(event)
            case ScenarioStarted(name):
                self._running[name] = monotonic()
            case ScenarioPostponed(result):
                self._running.pop(result.name, None)
                told = result.telling
                self._console.print(_line(result.name, told.outcome, told.seconds, _POSTPONED))
            case ScenarioFinished(result):
                self._finish(result)
            case RunFinished(result):
                self._end(result)

    def _begin(self, event: RunStarted) -> None:
        self._total = len(event.names)
        binary = event.run.binary
        tested = f" · {binary[0]} {binary[1][:12]}" if binary else ""
        count = _counted(self._total, "scenario")
        head = printable(f"isosmoke · {event.run.engine}{tested} · {count}")
        self._console.print(Text(head, style="dim"))
        if self._live:
            self._display.start()

    def _finish(self, result: ScenarioResult) -> None:
        self._running.pop(result.name, None)
        self._counts[result.outcome] = self._counts.get(result.outcome, 0) + 1
        self._console.print(
            _line(result.name, result.outcome, result.seconds, result.telling.reason)
        )

    def _end(self, run: RunResult) -> None:
        self._display.stop()
        for result in run.scenarios:
            if result.outcome.blocks and result.outcome is not Outcome.NOT_RUN:
                self._console.print(Group(*failure(result, self._repeat)))
        for note in run.notes:
            self._console.print(Text(printable(f"note: {note}"), style="yellow"))
        self._console.print(summary(run))

    def _board(self) -> RenderableType:
        """The live part: counts, then what runs and for how long."""
        done = sum(self._counts.values())
        counts = ", ".join(f"{number} {name}" for name, number in self._counts.items())
        now = monotonic()
        running = [
            Text(f"{now - begun:15.1f}s  {name}", style="cyan")
            for name, begun in list(self._running.items())[:_RUNNING_SHOWN]
        ]
        return Group(Text(f"{done}/{self._total}  {counts}", style="bold"), *running)


_POSTPONED = "failed beside others; will run again alone"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else f'{noun}s'}"


def _style(outcome: Outcome) -> str:
    return _STYLES.get(outcome, _BROKEN)


def _line(name: str, outcome: Outcome, seconds: float, reason: str) -> Text:
    line = Text.assemble((f"{outcome:<8}", _style(outcome)), f"{seconds:7.2f}s  ", (name, "bold"))
    return line.append(f"  {printable(reason)}", style="default") if reason else line


def failure(result: ScenarioResult, repeat: Repeat) -> Iterator[RenderableType]:
    """Why it broke, the last lines of its output, what it left, and how to repeat it."""
    attempt = result.telling
    yield Text()
    yield Text.assemble((f"{attempt.outcome}", _style(attempt.outcome)), " ", (result.name, "bold"))
    if result.assertion:
        yield _field("asserts", result.assertion)
    yield _field("because", attempt.reason)
    if len(result.attempts) > 1:
        yield _field("tries", ", ".join(_tried(one) for one in result.attempts))
    yield from _output(attempt)
    yield from _leaks(attempt)
    yield _field("repeat", shlex.join(repeat(result.name)))


def _field(name: str, value: str) -> Text:
    return Text.assemble((f"  {name:<8}", "dim"), printable(value))


def _tried(attempt: Attempt) -> str:
    return f"{attempt.outcome} {'alone' if attempt.alone else 'beside others'}"


def _output(attempt: Attempt) -> Iterator[Text]:
    lines = attempt.output.last_lines(_OUTPUT_LINES)
    if attempt.log is not None and attempt.output.size:
        yield _field("log", str(attempt.log))
    for line in lines:
        yield Text.assemble(("  │ ", "dim"), printable(line))


def _leaks(attempt: Attempt) -> Iterator[Text]:
    for process in attempt.leaks[:_LEAKS_SHOWN]:
        yield _field("left", described(process))
    more = len(attempt.leaks) - _LEAKS_SHOWN
    if more > 0:
        yield _field("left", f"and {more} more")


def summary(run: RunResult) -> Text:
    """The counts, in one line."""
    counts = [(one, run.count(one)) for one in Outcome if run.count(one)]
    line = Text()
    for outcome, number in counts:
        line.append(f"{number} {outcome}", style=_style(outcome)).append("  ")
    line.append(f"in {run.seconds:.1f} s", style="dim")
    return line.append(f", stopped by {run.stopped}") if run.stopped else line
