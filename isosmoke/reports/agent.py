"""Report for coding agents: failures, scenarios that were not run, counts, and log locations.

It has one line per problem and none for scenarios that passed, without colour or animation.
"""

from collections.abc import Callable, Iterator, Mapping

from isosmoke.reports import wording
from isosmoke.results import run_record
from isosmoke.results.events import Event, RunFinished
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.text import is_set, quote_command, shorten

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


def _render_lines(run: RunRecord, repeat: Repeat) -> Iterator[str]:
    for scenario in run.scenarios:
        if scenario.blocks:
            yield _render_failure(scenario, repeat)
    for scenario in run.scenarios:
        if scenario.outcome.facts.effect == "warned":
            yield f"{scenario.outcome} {scenario.name}: {shorten(scenario.reason)}"
    for note in run.notes:
        yield f"note: {shorten(note)}"
    for leftover in wording.list_leftovers(run):
        yield f"DIRTY: {leftover}"
    yield wording.summarize_run(run)
    if command := wording.describe_continuation(run):
        yield f"rest: {command}"
    yield from _render_locations(run)


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
