"""A run as GitHub Actions shows it: annotations on the scripts, and a summary of the step.

Workflow commands are escaped as `@actions/core` escapes them. GitHub takes ten annotations of a
kind from a step and drops a summary of more than 1 MiB whole, so both are kept below that.
"""

import re
from collections.abc import Sequence

from isosmoke.reports import wording
from isosmoke.results.outcome import Effect, describe_counts, sort_counts
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.text import cut

MOST_ANNOTATIONS = 10
"""Of each kind."""

MOST_BYTES = 1_000_000
"""Of a summary, a little less than GitHub takes."""

_NAMES_SHOWN = 50


def annotations(run: RunRecord, top: str) -> str:
    """Workflow commands, one a line, for paths as they are in the folder `top`.

    What is left behind and what blocks are errors, what is flaky or was skipped a warning. What
    there is no room for is named in one notice.
    """
    broken, warned = _broken(run), _having(run, "warned")
    left = "\n".join(wording.left_behind(run))
    dirty = [_command("error", left, title="DIRTY")] if left else []
    room = MOST_ANNOTATIONS - len(dirty)
    commands = [
        *dirty,
        *(_annotation("error", run, one, top) for one in broken[:room]),
        *(_annotation("warning", run, one, top) for one in warned[:MOST_ANNOTATIONS]),
    ]
    rest = [*broken[room:], *warned[MOST_ANNOTATIONS:]]
    if rest:
        message = f"{len(rest)} more without an annotation: {_names(rest)}"
        commands.append(_command("notice", message, title="isosmoke"))
    return "".join(f"{one}\n" for one in commands)


def summary(run: RunRecord, room: int = MOST_BYTES) -> str:
    """Markdown of at most `room` bytes: the counts, what did not pass, the names of what did.

    All that a script or its author wrote stands in code, of which nothing gets out.
    """
    notes = "".join(f"\nNote: {_code(cut(one))}\n" for one in run.notes)
    notes += "".join(f"\nDIRTY: {_code(one)}\n" for one in wording.left_behind(run))
    head = f"## isosmoke: {_headline(run)}\n\n{_code(wording.summary(run))}\n{notes}"
    sections = [_section(run, one) for one in _worth_telling(run)]
    passed = _having(run, "passed")
    foot = f"\nPassed: {_listed(passed)}\n" if passed else ""
    kept = _fitting(sections, room - _size(head) - _size(foot) - _size(_left_out(len(sections))))
    missing = len(sections) - len(kept)
    whole = "".join([head, *kept, _left_out(missing) if missing else "", foot])
    return whole if _size(whole) <= room else ""


def _broken(run: RunRecord) -> Sequence[ScenarioRecord]:
    """What blocks, first of all what was tried."""
    return sorted(_having(run, "failed"), key=lambda one: not one.outcome.facts.was_tried)


def _worth_telling(run: RunRecord) -> Sequence[ScenarioRecord]:
    return [*_broken(run), *_having(run, "warned")]


def _having(run: RunRecord, effect: Effect) -> Sequence[ScenarioRecord]:
    return [one for one in run.scenarios if one.outcome.facts.effect == effect]


def _annotation(kind: str, run: RunRecord, scenario: ScenarioRecord, top: str) -> str:
    file = wording.seen_from(top, scenario.script)
    place = {} if file.startswith("/") else {"file": file, "line": str(wording.line_of(scenario))}
    message = "\n".join(f"{name}: {value}" for name, value in wording.of(run, scenario))
    return _command(kind, message, **place, title=f"{scenario.outcome} {scenario.name}")


def _command(kind: str, message: str, **properties: str) -> str:
    said = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{kind} {said}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _names(scenarios: Sequence[ScenarioRecord]) -> str:
    more = len(scenarios) - _NAMES_SHOWN
    shown = ", ".join(f"{one.outcome} {one.name}" for one in scenarios[:_NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _headline(run: RunRecord) -> str:
    counts = describe_counts(sort_counts(run.counts))
    return counts.replace("_", r"\_") or "nothing was run"


def _section(run: RunRecord, scenario: ScenarioRecord) -> str:
    told = [f"{name:<8} {value}" for name, value in wording.of(run, scenario)]
    output = [f"| {line}" for line in wording.last_lines(scenario.output)]
    return f"\n### {_code(f'{scenario.outcome} {scenario.name}')}\n\n{_block([*told, *output])}"


def _code(text: str) -> str:
    """Text in a line of Markdown, as it is."""
    fence = _fence(text, 1)
    return f"{fence} {text} {fence}"


def _block(lines: Sequence[str]) -> str:
    """Lines as they are, each of them without a line break."""
    text = "\n".join(lines)
    fence = _fence(text, 3)
    return f"{fence}text\n{text}\n{fence}\n"


def _fence(text: str, shortest: int) -> str:
    """More backticks than `text` has anywhere in a row, so that it does not end there."""
    runs = map(len, re.findall("`+", text))
    return "`" * max(shortest, 1 + max(runs, default=0))


def _listed(passed: Sequence[ScenarioRecord]) -> str:
    more = len(passed) - _NAMES_SHOWN
    shown = ", ".join(_code(one.name) for one in passed[:_NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _left_out(number: int) -> str:
    return f"\n{number} more did not pass; there is no room for them here.\n"


def _fitting(sections: Sequence[str], room: int) -> Sequence[str]:
    kept = []
    for one in sections:
        room -= _size(one)
        if room < 0:
            break
        kept.append(one)
    return kept


def _size(text: str) -> int:
    return len(text.encode())
