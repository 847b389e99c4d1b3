"""A scenario as it is shown: a row with its verdict, and all that is known below it."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from markupsafe import Markup

from isosmoke.reports import wording
from isosmoke.reports.html import ansi, process_tree, prompt, script_excerpt
from isosmoke.reports.html.supplement import Supplement, build_squares
from isosmoke.results import repeat_command
from isosmoke.results.records.attempt import AttemptRecord, EvidenceRecord, OutputRecord
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.results.run_results import CapturedOutput
from isosmoke.text import escape_controls, quote_command, truncate

_MAX_LENGTH = 1000
_MAX_ENVIRONMENT = 100
_PAST_SHOWN = 10
_LOAD_SENSITIVE = "it failed next to others and passed in isolation"

Row = Mapping[str, Any]


def describe(run: RunRecord, scenario: ScenarioRecord, supplement: Supplement) -> Row:
    """Return everything about a scenario that did not pass."""
    script = supplement.scripts.get(scenario.name)
    excerpt = None if script is None else script_excerpt.find_excerpt(scenario, script)
    reported = find_reported(scenario)
    return {
        **_describe_row(scenario, supplement),
        "prompt": prompt.write(run, scenario, excerpt) if scenario.blocks else "",
        "excerpt": excerpt,
        "script": wording.shorten_path(run.working, scenario.script),
        "script_changed": scenario.name in supplement.changed,
        "facts": [*_list_facts(run, scenario, reported)],
        "repeat": _format_repeat(run, scenario),
        "tree": process_tree.build_tree(scenario),
        "tree_left_out": process_tree.count_left_out(scenario),
        "log": _describe_log(run, scenario, supplement),
        "evidence": [*_list_evidence(scenario)],
        "environment": _list_environment(reported),
        "attempts": [*map(_describe_attempt, scenario.attempts)],
        "history": [*_list_history(scenario, supplement)],
    }


def describe_briefly(
    run: RunRecord, scenario: ScenarioRecord, supplement: Supplement, *, lines: int, repeats: bool
) -> Row:
    """Return a scenario with its times and at most `lines` lines of its output.

    With `repeats`, it has the command that repeats it.
    """
    shown = wording.list_last_lines(scenario.output)[-lines:] if lines else ()
    return {
        **_describe_row(scenario, supplement),
        "tree": process_tree.build_tree(scenario),
        "tree_left_out": process_tree.count_left_out(scenario),
        "output": "\n".join(shown),
        "times": "; ".join(map(_describe_times, scenario.attempts)),
        "repeat": _format_repeat(run, scenario) if repeats else "",
    }


def find_reported(scenario: ScenarioRecord) -> AttemptRecord:
    """Return the attempt that a scenario's own fields describe."""
    attempts = scenario.attempts
    failed = (attempt for attempt in attempts if attempt.outcome.blocks)
    skipped = (attempt for attempt in attempts if attempt.outcome.facts.is_skip)
    return next(failed, next(skipped, attempts[-1]))


def _describe_row(scenario: ScenarioRecord, supplement: Supplement) -> Row:
    return {
        "name": scenario.name,
        "outcome": scenario.outcome,
        "classes": f"{scenario.outcome} blocks" if scenario.blocks else scenario.outcome,
        "cause": wording.format_reason(scenario),
        "assertion": truncate(scenario.assertion, _MAX_LENGTH),
        "seconds": f"{scenario.seconds:.2f} s",
        "squares": build_squares(scenario, supplement),
    }


def _format_repeat(run: RunRecord, scenario: ScenarioRecord) -> str:
    return quote_command(repeat_command.build_repeat_command(run, scenario.name))


def _list_facts(
    run: RunRecord, scenario: ScenarioRecord, reported: AttemptRecord
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield further facts as names, each with its values."""
    description = " ".join(str(scenario.entry.get("description") or "").split())
    usage = wording.describe_usage(reported.evidence) if reported.evidence else ""
    log = (scenario.output.log or "") if scenario.output.size else ""
    facts = (
        ("owners", ", ".join(scenario.owners)),
        ("about", description),
        ("load", _LOAD_SENSITIVE if scenario.load_sensitive else ""),
        ("counts", wording.describe_basis(reported)),
        *(("doubt", doubt) for doubt in wording.describe_doubts(reported)),
        ("used", usage),
        ("log", log),
        ("details", wording.describe_evidence(run, scenario)),
    )
    for name, group in groupby(facts, key=itemgetter(0)):
        if values := tuple(truncate(value, _MAX_LENGTH) for _, value in group if value):
            yield name, values


def _describe_log(run: RunRecord, scenario: ScenarioRecord, supplement: Supplement) -> Row:
    """Return the log of the reported attempt, or the last lines that the record has of it."""
    output = scenario.output
    log = supplement.get_log(output)
    content = _render_lines(output) if log is None else _render_log(log)
    command = quote_command(("isosmoke", "logs", f"{run.id}/{scenario.name}"))
    return {
        "content": content,
        "size": wording.format_size(output.size),
        "is_whole": log is not None and not log.left_out,
        "command": command,
    }


def _render_lines(output: OutputRecord) -> Markup:
    return ansi.render("\n".join(output.last_lines))


def _render_log(log: CapturedOutput) -> Markup:
    texts = [
        ansi.render(part.decode(errors="replace").rstrip("\n")) for part in (log.head, log.tail)
    ]
    if not log.left_out:
        return ansi.render((log.head + log.tail).decode(errors="replace").rstrip("\n"))
    gap = Markup('\n<span class="gap">… {} left out …</span>\n')
    return gap.format(wording.format_size(log.left_out)).join(texts)


def _list_environment(attempt: AttemptRecord) -> list[tuple[str, str]]:
    pairs = sorted(attempt.environment.items())[:_MAX_ENVIRONMENT]
    return [(truncate(name), truncate(value, _MAX_LENGTH)) for name, value in pairs]


def _list_evidence(scenario: ScenarioRecord) -> Iterator[Row]:
    """Yield the changes, panes and gaps of each attempt: a heading, a title, and text if any."""
    for number, attempt in enumerate(scenario.attempts, start=1):
        if attempt.evidence:
            prefix = f"try {number}: " if len(scenario.attempts) > 1 else ""
            for kind, title, text in _list_items(attempt.evidence):
                yield {"kind": kind, "title": f"{prefix}{title}", "text": text}


def _list_items(evidence: EvidenceRecord) -> Iterator[tuple[str, str, str]]:
    for change in evidence.changes:
        text = change.text if change.kind == "file" else None
        title = f"{change.change} {wording.describe_change(change)}"
        yield "file", title, wording.format_lines(text or "")
    if evidence.changes_left_out:
        yield "file", f"{evidence.changes_left_out} more changes", ""
    for pane in evidence.panes:
        name = truncate(f"{pane.name} of tmux at {pane.server}")
        yield "pane", f"pane {name}", wording.format_lines("\n".join(pane.lines))
    yield from (("missing", f"missing {truncate(item)}", "") for item in evidence.missing)


def _describe_attempt(attempt: AttemptRecord) -> Row:
    return {
        "outcome": attempt.outcome,
        "title": wording.describe_attempt(attempt),
        "reason": wording.format_reason(attempt),
        "start": f"{attempt.begun:.2f} s",
        "seconds": f"{attempt.seconds:.2f} s",
        "phases": _format_phases(attempt),
        "shares": [*_list_shares(attempt)],
    }


def _describe_times(attempt: AttemptRecord) -> str:
    phases = _format_phases(attempt)
    return f"{wording.describe_attempt(attempt)}, at {attempt.begun:.2f} s{phases and ': '}{phases}"


def _list_shares(attempt: AttemptRecord) -> Iterator[tuple[str, str, str]]:
    """Yield the start and width of each phase in percent, after `run` for that of the script."""
    begun, whole = 0.0, attempt.seconds or 1.0
    for name, seconds in attempt.phases.items():
        shown = "run" if name == "run" else ""
        yield shown, f"{100 * begun / whole:.1f}%", f"{100 * seconds / whole:.1f}%"
        begun += seconds


def _format_phases(attempt: AttemptRecord) -> str:
    phases = (f"{name} {seconds:.2f}" for name, seconds in attempt.phases.items())
    return escape_controls(", ".join(phases))


def _list_history(scenario: ScenarioRecord, supplement: Supplement) -> Iterator[Row]:
    """Yield the last earlier outcomes, newest first."""
    for item in reversed(supplement.get_past(scenario)[-_PAST_SHOWN:]):
        binary = item.inputs[0][:12]
        yield {
            "run": escape_controls(item.run),
            "outcome": item.outcome,
            "seconds": f"{item.seconds:.2f} s",
            "binary": f"binary {escape_controls(binary)}" if binary else "",
        }
