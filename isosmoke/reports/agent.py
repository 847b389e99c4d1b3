"""A run for a coding agent: what broke, what was not run, the counts, where the evidence lies.

One line for each thing that needs a look and none for what passed, without colour or animation.
"""

from collections.abc import Callable, Iterator, Mapping

from isosmoke.reports import wording
from isosmoke.results import run_record
from isosmoke.results.events import Event, RunFinished
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.text import command_line, shortened

ENVIRONMENTS = {
    "WG_AGENT_ID": "wg, whatever program its agent is",
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
"""The variables by which coding agents are recognised, and who sets them."""

_MORE = (
    "more: isosmoke show {run}/NAME; "
    "a shell beside what it left: echo COMMANDS | isosmoke repro {run}/NAME --after"
)


def recognised(environ: Mapping[str, str]) -> bool:
    """Whether a coding agent is the reader; a variable that is empty, 0 or false does not count."""
    return any(environ.get(name, "") not in ("", "0", "false") for name in ENVIRONMENTS)


def preferred(environ: Mapping[str, str]) -> str:
    """The report that suits whoever reads: `agent`, or `console`."""
    return "agent" if recognised(environ) else "console"


def render(run: RunRecord, repeat: Repeat) -> str:
    """The report as text, a line feed at the end of each line."""
    return "".join(f"{line}\n" for line in _lines(run, repeat))


def _lines(run: RunRecord, repeat: Repeat) -> Iterator[str]:
    for one in run.scenarios:
        if one.blocks:
            yield _broken(one, repeat)
    for one in run.scenarios:
        if one.outcome.facts.effect == "warned":
            yield f"{one.outcome} {one.name}: {shortened(one.reason)}"
    for note in run.notes:
        yield f"note: {shortened(note)}"
    for left in wording.left_behind(run):
        yield f"DIRTY: {left}"
    yield wording.summary(run)
    yield from _more(run)


def _more(run: RunRecord) -> Iterator[str]:
    """Where the evidence lies, and what shows it where something broke."""
    if run.record is None:
        return
    yield f"logs: {run.record}"
    if any(one.blocks for one in run.scenarios):
        yield _MORE.format(run=run.id)


def _broken(scenario: ScenarioRecord, repeat: Repeat) -> str:
    parts = [f"{scenario.outcome} {scenario.name}: {shortened(scenario.reason)}"]
    if scenario.assertion:
        parts.append(f"asserts: {shortened(scenario.assertion)}")
    if scenario.output.log is not None and scenario.output.size:
        parts.append(f"log: {scenario.output.log}")
    return " | ".join([*parts, f"repeat: {command_line(repeat(scenario.name))}"])


class Terse:
    """Consumes a run's events and says nothing until all is known."""

    def __init__(self, say: Callable[[str], object], repeat: Repeat) -> None:
        self._say = say
        self._repeat = repeat

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self._say(render(run_record.of(event.result), self._repeat))
