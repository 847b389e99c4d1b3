"""Report for coding agents: failures, scenarios that were not run, counts, and log locations.

It has one line per problem and none for scenarios that passed, without colour or animation. Its
length is limited, because it becomes part of the agent's context.
"""

from collections.abc import Callable, Iterator, Mapping

from isosmoke.host.caller_process import is_agent
from isosmoke.reports import wording
from isosmoke.results.events import Event, RunFinished
from isosmoke.results.records import creation
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.text import count_fitting, quote_command, shorten, truncate

_MAX_WIDTH = 300

_MORE = (
    "more: isosmoke show {run}/NAME; "
    "shell in its sandbox: echo COMMANDS | isosmoke repro {run}/NAME --after"
)


def select_report(environ: Mapping[str, str]) -> str:
    """Return the name of the report that suits the reader: `agent` or `console`."""
    return "agent" if is_agent(environ) else "console"


def render(run: RunRecord, repeat: Repeat) -> str:
    """Return the report as text; each line ends with a newline."""
    return "".join(f"{line}\n" for line in _render_lines(run, repeat))


def shorten_text(text: str, command: tuple[str, ...]) -> str:
    """Return the beginning of a text for an agent; `command` is the command that shows all of it.

    Long lines are truncated.
    """
    lines = [truncate(line, _MAX_WIDTH) for line in text.splitlines()]
    shown = count_fitting(lines)
    if shown < len(lines):
        lines[shown:] = [f"{len(lines) - shown} more lines: {quote_command(command)}"]
    return "".join(f"{line}\n" for line in lines)


def build_show_command(*target: str) -> tuple[str, ...]:
    """Return the command that shows everything about a run or a scenario, also to an agent."""
    return ("isosmoke", "show", *target, "--full")


def _render_lines(run: RunRecord, repeat: Repeat) -> Iterator[str]:
    problems = [*_render_failures(run, repeat), *_render_leftovers(run), *_render_warnings(run)]
    shown = count_fitting([text for _, text in problems])
    yield from (text for _, text in problems[:shown])
    if omitted := [title for title, _ in problems[shown:]]:
        command = (
            "" if run.record is None else f" | all: {quote_command(build_show_command(run.id))}"
        )
        yield f"{len(omitted)} more: {shorten(', '.join(omitted))}{command}"
    yield wording.summarize_run(run)
    if command := wording.describe_continuation(run):
        yield f"rest: {command}"
    yield from _render_locations(run)


def _render_failures(run: RunRecord, repeat: Repeat) -> Iterator[tuple[str, str]]:
    """Yield the title and the line of each scenario that blocks."""
    for scenario in run.scenarios:
        if scenario.blocks:
            yield f"{scenario.outcome} {scenario.name}", _render_failure(scenario, repeat)


def _render_warnings(run: RunRecord) -> Iterator[tuple[str, str]]:
    for scenario in run.scenarios:
        if scenario.outcome.facts.effect == "warned":
            title = f"{scenario.outcome} {scenario.name}"
            yield title, f"{title}: {shorten(scenario.reason)}"
    for note in run.notes:
        yield "note", f"note: {shorten(note)}"


def _render_leftovers(run: RunRecord) -> Iterator[tuple[str, str]]:
    for leftover in wording.list_leftovers(run):
        yield "DIRTY", f"DIRTY: {leftover}"


def _render_locations(run: RunRecord) -> Iterator[str]:
    """Yield the path of the logs and, after a failure, the commands that show more."""
    if run.record is None:
        return
    yield f"logs: {run.record}"
    if any(scenario.blocks for scenario in run.scenarios):
        yield _MORE.format(run=run.id)


def _render_failure(scenario: ScenarioRecord, repeat: Repeat) -> str:
    parts = [f"{scenario.outcome} {scenario.name}: {shorten(scenario.reason)}"]
    if scenario.assertion:
        parts.append(f"asserts: {shorten(scenario.assertion)}")
    if scenario.output.log is not None and scenario.output.size:
        parts.append(f"log: {scenario.output.log}")
    return " | ".join([*parts, f"repeat: {quote_command(repeat(scenario.name))}"])


class AgentReporter:
    """A consumer of a run's events that prints the report when the run has finished."""

    def __init__(self, write: Callable[[str], object], repeat: Repeat) -> None:
        self._write = write
        self._repeat = repeat

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self._write(render(creation.record_problems(event.result), self._repeat))
