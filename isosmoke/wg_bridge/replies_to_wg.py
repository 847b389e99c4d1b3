"""Replies to wg for each scenario: an exit code of its contract, and lines to display."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError
from isosmoke.results import repeat_command
from isosmoke.results.outcome import SKIP_CODE
from isosmoke.results.run_results import Attempt, ScenarioResult
from isosmoke.sandbox.survivors import describe_process
from isosmoke.text import escape_controls, quote_command, shorten
from isosmoke.wg_bridge.scenario_shim import ERROR_CODE

FAIL_LINES = 12
"""The number of last stderr lines that wg displays for a failure; for a skip it is four."""

KNOWN = "known.json"
"""The file with the verdicts that a leader has from its start."""

RECEIPT = "receipt"
"""The file with the path of the receipt of these verdicts."""

_LEAKS_SHOWN = 3
_MAX_WIDTH = 160


@dataclass(frozen=True, slots=True)
class WgReply:
    """An exit code and the text for stderr."""

    code: int
    text: str = ""


def create_reply(result: ScenarioResult, manifest: Path, warnings: Sequence[str] = ()) -> WgReply:
    """Return the reply for a result, within the number of lines that wg displays.

    All `warnings` of the run share one line. A pass has no text, because wg would not display it.
    """
    warning_lines = [f"WARNING: {shorten('; '.join(warnings), _MAX_WIDTH)}"] if warnings else []
    if result.outcome.blocks:
        lines = _join_lines(_render_failure(result, manifest, warning_lines))
        return WgReply(ERROR_CODE if result.is_infrastructure else 1, lines)
    if result.outcome.facts.is_skip:
        return WgReply(SKIP_CODE, _join_lines(_render_skip(result, warning_lines)))
    return WgReply(0)


def create_error_reply(name: str, error: IsosmokeError) -> WgReply:
    """Return the reply for a scenario that could not be tried: neither a pass nor a skip."""
    lines = [f"ERROR {name}: {error.message}", *([f"try: {error.hint}"] if error.hint else [])]
    return WgReply(ERROR_CODE, _join_lines(line for text in lines for line in text.splitlines()))


def _join_lines(lines: Iterator[str]) -> str:
    return "".join(f"{escape_controls(line)}\n" for line in lines)


def _render_skip(result: ScenarioResult, warnings: Sequence[str]) -> Iterator[str]:
    yield from warnings
    yield result.reported_attempt.reason
    if result.assertion:
        yield f"        not verified: {result.assertion}"  # wg indents only failures


def _render_failure(
    result: ScenarioResult, manifest: Path, warnings: Sequence[str]
) -> Iterator[str]:
    """Yield the outcome first and the repeat command last, with output lines between them."""
    attempt = result.reported_attempt
    head, foot = [*_render_head(result)], [*warnings, *_render_foot(result, manifest)]
    remaining = FAIL_LINES - len(head) - len(foot)
    yield from head
    yield from (
        f"| {shorten(line, _MAX_WIDTH)}"
        for line in attempt.output.last_lines(remaining)
        if remaining > 0
    )
    yield from foot


def _render_head(result: ScenarioResult) -> Iterator[str]:
    attempt = result.reported_attempt
    yield f"{attempt.outcome} {result.name}: {attempt.reason}"
    if result.assertion:
        yield f"asserts: {result.assertion}"
    if len(result.attempts) > 1:
        yield f"tries: {', '.join(str(attempt.outcome) for attempt in result.attempts)}"
    yield from islice(_list_leaks(attempt), _LEAKS_SHOWN)
    more = len(attempt.leaks) - _LEAKS_SHOWN
    if more > 0:
        yield f"leaked: {more} more"


def _list_leaks(attempt: Attempt) -> Iterator[str]:
    return (f"leaked: {describe_process(process)}" for process in attempt.leaks)


def _render_foot(result: ScenarioResult, manifest: Path) -> Iterator[str]:
    if result.reported_attempt.log is not None:
        yield f"log: {result.reported_attempt.log}"
    repeat = repeat_command.build_run_command(result.name, manifest=str(manifest))
    yield f"repeat: {quote_command(repeat)}"


def dump_replies(known: Mapping[str, WgReply]) -> str:
    """Serialize verdicts by scenario name, for a leader that starts with them."""
    return json.dumps({name: (verdict.code, verdict.text) for name, verdict in known.items()})


def load_replies(text: str) -> dict[str, WgReply]:
    """Parse the text that `dump_replies` returned."""
    return {name: WgReply(code, reply) for name, (code, reply) in json.loads(text).items()}
