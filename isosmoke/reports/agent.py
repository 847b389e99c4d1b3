"""Report for coding agents: failures, scenarios that were not run, counts, and log locations.

It has one line per problem and none for scenarios that passed, without colour or animation. Its
length is limited, because it becomes part of the agent's context.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

from isosmoke.reports import wording
from isosmoke.results import run_record
from isosmoke.results.events import Event, RunFinished
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.text import is_set, quote_command, shorten, truncate

ENVIRONMENTS = {
    "WG_AGENT_ID": "wg, for any agent program",
    "AI_AGENT": "agents that follow the convention of that name",
    "IS_CODE_AGENT": "agents that follow Bun's name for it",
    "AUGMENT_AGENT": "Augment",
    "CLAUDECODE": "Claude Code",
    "CLINE_ACTIVE": "Cline",
    "CODEX_SANDBOX": "Codex",
    "CODEX_SANDBOX_NETWORK_DISABLED": "Codex, without network",
    "CODEX_THREAD_ID": "Codex, without its sandbox",
    "CURSOR_AGENT": "Cursor",
    "GEMINI_CLI": "Gemini CLI",
    "GOOSE_TERMINAL": "Goose",
    "OPENCODE": "opencode",
    "REPL_ID": "Replit",
}
"""The environment variables that identify coding agents, and the programs that set them."""

_MAX_CHARACTERS = 8000
"""The length of the problems in a report, and of anything else that is shown to an agent."""

_MAX_WIDTH = 300

_MORE = (
    "more: isosmoke show {run}/NAME; "
    "shell in its sandbox: echo COMMANDS | isosmoke repro {run}/NAME --after"
)


def is_agent(environ: Mapping[str, str]) -> bool:
    """Return whether the reader is a coding agent; empty, 0 and false do not set a variable."""
    return any(is_set(environ.get(name, "")) for name in ENVIRONMENTS)


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
    shown = _count_fitting(lines)
    if shown < len(lines):
        lines[shown:] = [f"{len(lines) - shown} more lines: {quote_command(command)}"]
    return "".join(f"{line}\n" for line in lines)


def _count_fitting(lines: Sequence[str]) -> int:
    """Return the number of lines that are shown: all that fit, but at least one."""
    ends = accumulate(len(line) + 1 for line in lines)
    return max(1, sum(end <= _MAX_CHARACTERS for end in ends))


def build_show_command(*target: str) -> tuple[str, ...]:
    """Return the command that shows everything about a run or a scenario, also to an agent."""
    return ("isosmoke", "show", *target, "--full")


def _render_lines(run: RunRecord, repeat: Repeat) -> Iterator[str]:
    problems = [*_render_failures(run, repeat), *_render_leftovers(run), *_render_warnings(run)]
    shown = _count_fitting([text for _, text in problems])
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
            self._write(render(run_record.record_run(event.result), self._repeat))
