"""A run on a terminal as it happens, or as plain lines anywhere else."""

from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from isosmoke.reports import summary
from isosmoke.results import run_record
from isosmoke.results.events import (
    Event,
    RunFinished,
    RunStarted,
    ScenarioFinished,
    ScenarioPostponed,
    ScenarioStarted,
)
from isosmoke.results.outcome import Outcome, describe_counts
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_results import RunResult, ScenarioResult

_RUNNING_SHOWN = 8


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
                self._console.print(
                    summary.line(result.name, told.outcome, told.seconds, _POSTPONED)
                )
            case ScenarioFinished(result):
                self._finish(result)
            case RunFinished(result):
                self._end(result)

    def _begin(self, event: RunStarted) -> None:
        self._total = len(event.names)
        self._console.print(summary.head(run_record.beginning(event.run), self._total))
        if self._live:
            self._display.start()

    def _finish(self, result: ScenarioResult) -> None:
        self._running.pop(result.name, None)
        self._counts[result.outcome] = self._counts.get(result.outcome, 0) + 1
        line = summary.line(result.name, result.outcome, result.seconds, result.telling.reason)
        is_told_below = summary.has_block(result.outcome)
        self._console.print(summary.one_row(line.whole, self._console) if is_told_below else line)

    def _end(self, run: RunResult) -> None:
        self._display.stop()
        told = run_record.of(run)
        for one in summary.failures(told):
            self._console.print(Group(*summary.failure(told, one, self._repeat(one.name))))
        self._console.print(Group(*summary.end(told)))

    def _board(self) -> RenderableType:
        """The live part: counts, then what runs and for how long."""
        done = sum(self._counts.values())
        counts = describe_counts(self._counts.items())
        now = monotonic()
        running = [
            Text(f"{now - begun:15.1f}s  {name}", style="cyan")
            for name, begun in list(self._running.items())[:_RUNNING_SHOWN]
        ]
        return Group(Text(f"{done}/{self._total}  {counts}", style="bold"), *running)


_POSTPONED = "failed beside others; will run again alone"
