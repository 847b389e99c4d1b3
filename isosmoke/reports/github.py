"""Report for GitHub Actions: annotations on the scripts, and a summary of the step.

Workflow commands are escaped as `@actions/core` escapes them. GitHub accepts ten annotations of
each kind per step, and discards a summary larger than 1 MiB, so both stay within these limits.
"""

import re
from collections.abc import Sequence

from isosmoke.reports import wording
from isosmoke.results.outcome import Effect, describe_counts, sort_counts
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.text import truncate

MAX_ANNOTATIONS = 10
"""The maximum number of annotations of each kind."""

MAX_SUMMARY_BYTES = 1_000_000
"""The maximum size of a summary in bytes, a little below GitHub's limit."""

_NAMES_SHOWN = 50


def render_annotations(run: RunRecord, top: str) -> str:
    """Return workflow commands, one per line, with paths relative to the directory `top`.

    Leftovers, shards that do not count and blocking scenarios are errors; flaky and skipped
    scenarios are warnings. A notice lists the scenarios that exceed the limit.
    """
    broken, warned = _list_broken(run), _select_scenarios(run, "warned")
    leftovers = "\n".join(wording.list_leftovers(run))
    dirty = [("DIRTY", leftovers)] if leftovers else []
    lost = "\n".join(problem for _, problem in wording.list_shard_problems(run))
    incidents = [*dirty, *([("SHARD", lost)] if lost else [])]
    remaining = MAX_ANNOTATIONS - len(incidents)
    commands = [
        *(_format_command("error", text, title=title) for title, text in incidents),
        *(_format_annotation("error", run, scenario, top) for scenario in broken[:remaining]),
        *(
            _format_annotation("warning", run, scenario, top)
            for scenario in warned[:MAX_ANNOTATIONS]
        ),
    ]
    rest = [*broken[remaining:], *warned[MAX_ANNOTATIONS:]]
    if rest:
        message = f"{len(rest)} more without an annotation: {_list_names(rest)}"
        commands.append(_format_command("notice", message, title="isosmoke"))
    return "".join(f"{command}\n" for command in commands)


def render_summary(run: RunRecord, limit: int = MAX_SUMMARY_BYTES) -> str:
    """Return Markdown of at most `limit` bytes: counts, failures, and the names of passes.

    All text by a script or its author is in code spans or blocks, which it cannot end.
    """
    notes = "".join(f"\nNote: {_format_code(truncate(note))}\n" for note in run.notes)
    notes += "".join(f"\nDIRTY: {_format_code(item)}\n" for item in wording.list_leftovers(run))
    counts = _format_code(wording.summarize_run(run))
    head = f"## isosmoke: {_format_headline(run)}\n\n{counts}\n{notes}"
    reported = [*_list_broken(run), *_select_scenarios(run, "warned")]
    sections = [_format_section(run, scenario) for scenario in reported]
    passed = _select_scenarios(run, "passed")
    foot = f"\nPassed: {_list_passed(passed)}\n" if passed else ""
    reserved = sum(map(_measure_size, (head, foot, _format_omission(len(sections)))))
    shown = _select_sections(sections, limit - reserved)
    omitted = len(sections) - len(shown)
    text = "".join([head, *shown, _format_omission(omitted) if omitted else "", foot])
    return text if _measure_size(text) <= limit else ""


def _list_broken(run: RunRecord) -> Sequence[ScenarioRecord]:
    """Return the blocking scenarios, those that were tried first."""
    return sorted(
        _select_scenarios(run, "failed"),
        key=lambda scenario: not scenario.outcome.facts.was_tried,
    )


def _select_scenarios(run: RunRecord, effect: Effect) -> Sequence[ScenarioRecord]:
    return [scenario for scenario in run.scenarios if scenario.outcome.facts.effect == effect]


def _format_annotation(kind: str, run: RunRecord, scenario: ScenarioRecord, top: str) -> str:
    file = wording.shorten_path(top, scenario.script)
    location = (
        {}
        if file.startswith("/")
        else {"file": file, "line": str(wording.find_error_line(scenario))}
    )
    message = "\n".join(f"{name}: {value}" for name, value in wording.list_facts(run, scenario))
    return _format_command(kind, message, **location, title=f"{scenario.outcome} {scenario.name}")


def _format_command(kind: str, message: str, **properties: str) -> str:
    fields = ",".join(f"{name}={_escape_property(value)}" for name, value in properties.items())
    return f"::{kind} {fields}::{_escape(message)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")


def _list_names(scenarios: Sequence[ScenarioRecord]) -> str:
    more = len(scenarios) - _NAMES_SHOWN
    shown = ", ".join(
        f"{scenario.outcome} {scenario.name}" for scenario in scenarios[:_NAMES_SHOWN]
    )
    return f"{shown} and {more} more" if more > 0 else shown


def _format_headline(run: RunRecord) -> str:
    counts = describe_counts(sort_counts(run.counts))
    return counts.replace("_", r"\_") or "nothing was run"


def _format_section(run: RunRecord, scenario: ScenarioRecord) -> str:
    facts = [f"{name:<8} {value}" for name, value in wording.list_facts(run, scenario)]
    output = [f"| {line}" for line in wording.list_last_lines(scenario.output)]
    title = _format_code(f"{scenario.outcome} {scenario.name}")
    return f"\n### {title}\n\n{_format_block([*facts, *output])}"


def _format_code(text: str) -> str:
    """Return text as a Markdown code span."""
    fence = _create_fence(text, 1)
    return f"{fence} {text} {fence}"


def _format_block(lines: Sequence[str]) -> str:
    """Return lines, which contain no line breaks, as a Markdown code block."""
    text = "\n".join(lines)
    fence = _create_fence(text, 3)
    return f"{fence}text\n{text}\n{fence}\n"


def _create_fence(text: str, shortest: int) -> str:
    """Return a fence with more backticks than any sequence in `text`, so that it cannot end it."""
    runs = map(len, re.findall("`+", text))
    return "`" * max(shortest, 1 + max(runs, default=0))


def _list_passed(passed: Sequence[ScenarioRecord]) -> str:
    more = len(passed) - _NAMES_SHOWN
    shown = ", ".join(_format_code(scenario.name) for scenario in passed[:_NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _format_omission(number: int) -> str:
    return f"\n{number} more did not pass; they are omitted because of GitHub's size limit.\n"


def _select_sections(sections: Sequence[str], limit: int) -> Sequence[str]:
    """Return the first sections that fit in `limit` bytes."""
    shown = []
    for section in sections:
        limit -= _measure_size(section)
        if limit < 0:
            break
        shown.append(section)
    return shown


def _measure_size(text: str) -> int:
    return len(text.encode())
