"""What wg is told of a scenario: an exit code of its contract, and lines that say it best."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from isosmoke.errors import IsosmokeError
from isosmoke.results import repeat_command
from isosmoke.results.outcome import SKIP_CODE
from isosmoke.results.run_results import Attempt, ScenarioResult
from isosmoke.sandbox.processes import described
from isosmoke.text import command_line, printable, shortened
from isosmoke.wg_bridge.scenario_shim import TROUBLE

FAIL_LINES = 12
"""How many of the last lines of stderr wg shows of a failure; of a skip it shows four."""

KNOWN = "known.json"
"""The file of verdicts that a leader starts with."""

_LEAKS_SHOWN = 3
_WIDEST = 160


@dataclass(frozen=True, slots=True)
class Verdict:
    """An exit code and what goes to stderr."""

    code: int
    words: str = ""


def of(result: ScenarioResult, manifest: Path, warnings: Sequence[str] = ()) -> Verdict:
    """The verdict of a scenario that ran, within the lines that wg shows.

    Of the run's `warnings` there is room for one line; a pass has no words that wg would show.
    """
    warned = [f"WARNING: {shortened('; '.join(warnings), _WIDEST)}"] if warnings else []
    if result.outcome.blocks:
        lines = _joined(_failure(result, manifest, warned))
        return Verdict(TROUBLE if result.infrastructure else 1, lines)
    if result.outcome.facts.is_skip:
        return Verdict(SKIP_CODE, _joined(_skip(result, warned)))
    return Verdict(0)


def trouble(name: str, error: IsosmokeError) -> Verdict:
    """The verdict of a scenario that could not be tried: never a pass, and never a skip."""
    lines = [f"ERROR {name}: {error.message}", *([f"try: {error.hint}"] if error.hint else [])]
    return Verdict(TROUBLE, _joined(line for text in lines for line in text.splitlines()))


def _joined(lines: Iterator[str]) -> str:
    return "".join(f"{printable(line)}\n" for line in lines)


def _skip(result: ScenarioResult, warned: Sequence[str]) -> Iterator[str]:
    yield from warned
    yield result.telling.reason
    if result.assertion:
        yield f"        not shown: {result.assertion}"  # wg indents only what failed


def _failure(result: ScenarioResult, manifest: Path, warned: Sequence[str]) -> Iterator[str]:
    """Its outcome first, how to repeat it last; the script's own last words fill the rest."""
    attempt = result.telling
    head, foot = [*_head(result)], [*warned, *_foot(result, manifest)]
    room = FAIL_LINES - len(head) - len(foot)
    yield from head
    yield from (
        f"| {shortened(line, _WIDEST)}" for line in attempt.output.last_lines(room) if room > 0
    )
    yield from foot


def _head(result: ScenarioResult) -> Iterator[str]:
    attempt = result.telling
    yield f"{attempt.outcome} {result.name}: {attempt.reason}"
    if result.assertion:
        yield f"asserts: {result.assertion}"
    if len(result.attempts) > 1:
        yield f"tries: {', '.join(str(one.outcome) for one in result.attempts)}"
    yield from islice(_left(attempt), _LEAKS_SHOWN)
    more = len(attempt.leaks) - _LEAKS_SHOWN
    if more > 0:
        yield f"left: {more} more"


def _left(attempt: Attempt) -> Iterator[str]:
    return (f"left: {described(one)}" for one in attempt.leaks)


def _foot(result: ScenarioResult, manifest: Path) -> Iterator[str]:
    if result.telling.log is not None:
        yield f"log: {result.telling.log}"
    repeat = repeat_command.command(result.name, manifest=str(manifest))
    yield f"repeat: {command_line(repeat)}"


def dumped(known: Mapping[str, Verdict]) -> str:
    """Verdicts by name, for a leader that is to start with them."""
    return json.dumps({name: (one.code, one.words) for name, one in known.items()})


def loaded(text: str) -> dict[str, Verdict]:
    """What `dumped` wrote."""
    return {name: Verdict(code, words) for name, (code, words) in json.loads(text).items()}
