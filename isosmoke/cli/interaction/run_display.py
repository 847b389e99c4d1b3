"""The display of a run: lines for a reader, or a report for a coding agent, with glances."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from time import monotonic

import click

from isosmoke.cli.console import create_printer
from isosmoke.cli.interaction import run_glances
from isosmoke.cli.reporting import ReportChoice
from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.history import experience
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.reports import agent
from isosmoke.reports.progress.display import Progress, Sources, render_running
from isosmoke.reports.progress.standing import Standing
from isosmoke.reports.progress.status_level import QUIET, STATUS_LEVELS, StatusLevel
from isosmoke.results.events import Event
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_results import RunResult
from isosmoke.runner.output import LiveOutputs

status_level_option = click.option(
    "--status-level",
    type=click.Choice(STATUS_LEVELS),
    default="all",
    help="Print the line of a scenario only up to this level.  [default: all]",
)

quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help=f"The same as --status-level {QUIET}."
)


def choose_level(ctx: click.Context, status_level: StatusLevel, *, quiet: bool) -> StatusLevel:
    """Return the level that the options `--quiet` and `--status-level` select.

    Raises:
        UsageError: If both were given.
    """
    source = ctx.get_parameter_source("status_level")
    if quiet and source is click.core.ParameterSource.COMMANDLINE:
        raise UsageError(
            "--quiet and --status-level cannot be combined", hint=f"--quiet is the level {QUIET}"
        )
    return QUIET if quiet else status_level


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A consumer of a run's events that prints them, and what runs now if it is asked to.

    `live` is the display that is redrawn on a terminal; None if nothing is.
    """

    notify: Callable[[Event], None]
    show_running: Callable[[], None]
    live: Progress | None = None

    @contextmanager
    def offering_glances(self, interrupt: Interrupt) -> Iterator[None]:
        """Let a key or a signal ask what runs, during the block."""
        keyboard = run_glances.find_keyboard() if self.live else None
        with ExitStack() as stack:
            stack.enter_context(run_glances.listening(self._show, interrupt, keyboard))
            if self.live and keyboard:
                from isosmoke.cli.interaction.keyboard import Suspension, reading_keys

                suspension = Suspension(stopping=self.live.pause, continuing=self.live.resume)
                stack.enter_context(reading_keys(keyboard, suspension))
            yield

    def _show(self) -> None:
        with suppress(OSError):  # the end of the run reports an unusable stdout
            self.show_running()


def create_screen(
    choice: ReportChoice,
    caller: Caller,
    repeat: Repeat,
    *,
    outputs: LiveOutputs,
    level: StatusLevel = "all",
    live: bool = True,
) -> Screen:
    """Return the display that `--report` selects, or else the one that suits the reader.

    `live` permits to redraw the lines of a terminal.
    """
    sources = Sources(load_usual=load_usual, read_output=outputs.read_last_lines)
    if (choice.screen or agent.select_report(caller.environment)) == "agent":
        return _create_agent_screen(choice, repeat, sources)
    console = create_printer(stderr=choice.messages_on_stderr)
    live = live and console.is_live
    progress = Progress(console, live=live, repeat=repeat, level=level, sources=sources)
    return Screen(
        notify=progress, show_running=progress.show_running, live=progress if live else None
    )


def _create_agent_screen(choice: ReportChoice, repeat: Repeat, sources: Sources) -> Screen:
    write = partial(click.echo, err=choice.messages_on_stderr, nl=False)
    reporter = agent.AgentReporter(write, repeat)
    console = create_printer(stderr=True)
    standing = Standing()

    def notify(event: Event) -> None:
        standing.note(event, monotonic())
        reporter(event)

    def show_running() -> None:
        for line in render_running(standing, sources, monotonic()):
            console.print(line)

    return Screen(notify=notify, show_running=show_running)


def load_usual(run: RunResult) -> Mapping[str, float]:
    """Return the duration of each scenario in its last run in seconds, as far as it is known."""
    if run.command or run.record is None:
        return {}
    home = run.record.parent.parent
    return experience.load(home).seconds
