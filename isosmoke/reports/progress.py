"""Live report of a run: a display on a terminal, or plain lines anywhere else."""

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
    ScenarioRepeating,
    ScenarioStarted,
)
from isosmoke.results.outcome import Outcome, describe_counts
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_results import RunResult, ScenarioResult

_RUNNING_SHOWN = 8


class Progress:
    """A consumer of a run's events; `repeat` returns the command line that repeats a scenario."""

    def __init__(self, console: Console, *, live: bool, repeat: Repeat) -> None:
        self._console = console
        self._repeat = repeat
        self._running: dict[str, float] = {}
        self._counts: dict[Outcome, int] = {}
        self._total = 0
        self._display = Live(console=console, get_renderable=self._render_live, transient=True)
        self._live = live

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._begin(event)
            case ScenarioStarted(name):
                self._running[name] = monotonic()
            case ScenarioRepeating(name):
                self._running.pop(name, None)
            case ScenarioPostponed(result):
                self._running.pop(result.name, None)
                attempt = result.reported_attempt
                self._console.print(
                    summary.render_line(result.name, attempt.outcome, attempt.seconds, _POSTPONED)
                )
            case ScenarioFinished(result):
                self._finish(result)
            case RunFinished(result):
                self._end(result)

    def _begin(self, event: RunStarted) -> None:
        self._total = len(event.names)
        self._console.print(
            summary.render_head(run_record.record_beginning(event.run), self._total)
        )
        if self._live:
            self._display.start()

    def _finish(self, result: ScenarioResult) -> None:
        self._running.pop(result.name, None)
        self._counts[result.outcome] = self._counts.get(result.outcome, 0) + 1
        line = summary.render_line(
            result.name, result.outcome, result.seconds, result.reported_attempt.reason
        )
        if summary.has_block(result.outcome):  # the end of the run shows the line in full
            self._console.print(summary.truncate_row(line.single_line, self._console))
        else:
            self._console.print(line)

    def _end(self, run: RunResult) -> None:
        self._display.stop()
        record = run_record.record_run(run)
        for scenario in summary.list_failures(record):
            block = summary.render_failure(record, scenario, self._repeat(scenario.name))
            self._console.print(Group(*block))
        self._console.print(Group(*summary.render_end(record)))

    def _render_live(self) -> RenderableType:
        """Return the live display: the counts, and each running scenario with its duration."""
        done = sum(self._counts.values())
        counts = describe_counts(self._counts.items())
        now = monotonic()
        running = [
            Text(f"{now - start:15.1f}s  {name}", style="cyan")
            for name, start in list(self._running.items())[:_RUNNING_SHOWN]
        ]
        return Group(Text(f"{done}/{self._total}  {counts}", style="bold"), *running)


_POSTPONED = "failed alongside others; will run again"
