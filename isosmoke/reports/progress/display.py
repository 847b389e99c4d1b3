"""Live report of a run: a display on a terminal, or plain lines anywhere else."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, cast

from isosmoke.dataclass import dataclass
from isosmoke.reports import summary
from isosmoke.reports.progress.standing import Standing
from isosmoke.reports.progress.status_level import StatusLevel, is_slow, shows
from isosmoke.results.events import (
    Event,
    RunFinished,
    RunStarted,
    ScenarioFinished,
    ScenarioPostponed,
)
from isosmoke.results.outcome import describe_counts
from isosmoke.results.records import creation
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_results import RunResult, ScenarioResult
from isosmoke.text import Line, escape_controls

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

_RUNNING_SHOWN = 8
_OUTPUT_LINES = 10
_POSTPONED = "failed alongside others; will run again"


def _know_nothing(_: RunResult) -> Mapping[str, float]:
    return {}


def _read_nothing(_: str, _limit: int) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The sources of what the events do not have.

    `load_usual` returns the usual durations of scenarios in seconds, and `read_output` the last
    lines of a scenario that runs, at most as many as its second argument says.
    """

    load_usual: Callable[[RunResult], Mapping[str, float]] = _know_nothing
    read_output: Callable[[str, int], Sequence[str]] = _read_nothing


_NO_SOURCES = Sources()


class Progress:
    """A consumer of a run's events; `repeat` returns the command line that repeats a scenario.

    `level` selects the scenarios that have a line; failures are explained at the end anyway.
    """

    def __init__(
        self,
        console: summary.LinePrinter,
        *,
        live: bool,
        repeat: Repeat,
        level: StatusLevel = "all",
        sources: Sources = _NO_SOURCES,
    ) -> None:
        self._console = console
        self._repeat = repeat
        self._level: StatusLevel = level
        self._sources = sources
        self._standing = Standing()
        self._display: Live | None = None
        self._live = live

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._standing.usual = self._sources.load_usual(event.run)
        self._standing.note(event, monotonic())
        match event:
            case RunStarted():
                self._begin(event)
            case ScenarioPostponed(result):
                self._postpone(result)
            case ScenarioFinished(result):
                self._finish(result)
            case RunFinished(result):
                self._end(result)
            case _:
                pass

    def show_running(self) -> None:
        """Print what runs now, for how long, and the last lines of its output."""
        self._print(render_running(self._standing, self._sources, monotonic()))

    def _print(self, lines: Iterable[summary.Printable]) -> None:
        for line in lines:
            self._console.print(line)

    def pause(self) -> None:
        """Remove the live display, since another program will use the terminal."""
        if self._display is not None:
            self._display.stop()

    def resume(self) -> None:
        """Show the live display below what was printed since `pause`."""
        if self._display is not None:
            self._start()

    def _start(self) -> None:
        from rich.live import Live

        console = cast("Console", self._console)  # only a console of rich is live
        self._display = Live(console=console, get_renderable=self.render_live, transient=True)
        self._display.start()

    def _begin(self, event: RunStarted) -> None:
        self._console.print(
            summary.render_head(creation.record_beginning(event.run), self._standing.total)
        )
        if self._live:
            self._start()

    def _postpone(self, result: ScenarioResult) -> None:
        attempt = result.reported_attempt
        if shows(self._level, attempt.outcome, slow=False, postponed=True):
            self._console.print(
                summary.render_line(result.name, attempt.outcome, attempt.seconds, _POSTPONED)
            )

    def _finish(self, result: ScenarioResult) -> None:
        usual = self._standing.usual.get(result.name)
        slow = is_slow(result.attempts[-1].seconds, usual)
        if not shows(self._level, result.outcome, slow=slow):
            return
        reason = result.reported_attempt.reason
        if slow and not reason:
            reason = f"usually {usual:.1f} s"
        line = summary.render_line(result.name, result.outcome, result.seconds, reason)
        if summary.has_block(result.outcome):  # the end of the run shows the line in full
            summary.print_row(line.single_line, self._console)
        else:
            self._console.print(line)

    def _end(self, run: RunResult) -> None:
        self.pause()
        self._display = None
        record = creation.record_problems(run)
        for scenario in summary.list_failures(record):
            self._print(summary.render_failure(record, scenario, self._repeat(scenario.name)))
        self._print(summary.render_end(record))

    def render_live(self) -> "RenderableType":
        """Return the live display: the state of the run, and each running scenario."""
        from rich.console import Group

        now = monotonic()
        running = list(self._standing.running.items())
        shown = min(_RUNNING_SHOWN, max(1, self._console.height - 3))
        rows = [self._render_row(name, now - start) for name, start in running[:shown]]
        if len(running) > shown:
            rows.append(_row(f"{'':18}and {len(running) - shown} more", "dim"))
        return Group(_row(describe_state(self._standing, now), "bold"), *rows)

    def _render_row(self, name: str, seconds: float) -> "Text":
        usual = self._standing.usual.get(name)
        style = "yellow" if is_slow(seconds, usual) else "cyan"
        return _row(f"{seconds:15.1f}s  {name}{_describe_usual(usual)}", style)


def _row(text: str, style: str) -> "Text":
    """Return one line, which a narrow terminal truncates."""
    from rich.text import Text

    return Text(escape_controls(text), style=style, no_wrap=True, overflow="ellipsis")


def _describe_usual(usual: float | None) -> str:
    return "" if usual is None else f"  (usually {usual:.1f} s)"


def describe_state(standing: Standing, now: float) -> str:
    """Return the state of a run in one line, the most important first."""
    rest = standing.estimate_rest(now)
    end = f", about {format_clock(rest)} left" if rest and round(rest) else ""
    blocking = [(str(key), number) for key, number in standing.counts.items() if key.blocks]
    if standing.unconfirmed:
        blocking.append(("to confirm", standing.unconfirmed))
    others = [(str(key), number) for key, number in standing.counts.items() if not key.blocks]
    counts = describe_counts([*blocking, *others])
    clock = format_clock(now - standing.started_at)
    return f"{standing.done}/{standing.total}  {clock}{end}  {counts}".rstrip()


def format_clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours if there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def render_running(standing: Standing, sources: Sources, now: float) -> Iterator[summary.Printable]:
    """Yield each running scenario with the last lines of its output."""
    if not standing.total:
        yield Line("no scenario runs yet", "bold")
        return
    running = list(standing.running.items())
    yield Line(f"running: {len(running)}  {describe_state(standing, now)}", "bold")
    for name, start in running:
        usual = _describe_usual(standing.usual.get(name))
        yield Line(escape_controls(f"{'RUNNING':<8}{now - start:7.2f}s  {name}{usual}"))
        lines = sources.read_output(name, _OUTPUT_LINES)
        yield from map(summary.quote_output, lines)
        if not lines:
            yield Line("  no output so far", "dim")
