"""Report as a self-contained HTML page: no script, no other file, no network.

Output of scripts stays text: control characters are made visible, then everything is escaped. The
page's Content-Security-Policy forbids everything except its one style sheet.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from isosmoke.reports import wording
from isosmoke.results.outcome import Outcome, sort_counts
from isosmoke.results.run_record import (
    AttemptRecord,
    EvidenceRecord,
    RunRecord,
    ScenarioRecord,
)
from isosmoke.text import escape_controls, truncate

_MAX_OPEN = 8
"""The maximum number of texts that are shown expanded; if there are more, all are collapsed."""

_Row = Mapping[str, Any]


def render(run: RunRecord) -> str:
    """Return the page as text, to be encoded in UTF-8."""
    scenarios = sorted(run.scenarios, key=lambda scenario: scenario.outcome.facts.rank)
    rows = [_describe_scenario(run, scenario) for scenario in scenarios]
    template, style = _load_page()
    text = template.render(
        policy=render_policy(style),
        style=style,
        headline=_format_headline(run),
        counts=sort_counts(run.counts),
        header=[*_list_header(run)],
        notes=[truncate(note) for note in run.notes],
        dirty=wording.list_leftovers(run),
        prominent=[row for row in rows if row["outcome"].facts.effect != "passed"],
        passing=[row for row in rows if row["outcome"].facts.effect == "passed"],
        version=escape_controls(run.isosmoke),
        schema=run.schema_version,
    )
    return f"{text}\n"


def render_policy(style: str) -> str:
    """Return a Content-Security-Policy that allows only this style sheet."""
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def _load_page() -> tuple[Template, str]:
    """Return the page's template and its style sheet."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    directory = files("isosmoke.reports") / "page"
    template = environment.from_string((directory / "page.html.jinja").read_text())
    return template, (directory / "page.css").read_text() + _render_colours()


def _render_colours() -> str:
    """Return the CSS rules for each outcome's class: its colour on a light and a dark page."""
    light = " ".join(f"--{outcome}: {outcome.facts.page.light};" for outcome in Outcome)
    dark = " ".join(f"--{outcome}: {outcome.facts.page.dark};" for outcome in Outcome)
    rules = (
        f"b.{name}, td.{name} {{ color: var(--{name}); }} .{name} {{ --edge: var(--{name}); }}"
        for name in Outcome
    )
    scheme = f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return "\n".join([f":root {{ {light} }}", scheme, *rules, ""])


def _format_headline(run: RunRecord) -> str:
    blocking = sum(scenario.blocks for scenario in run.scenarios)
    if run.stopped:
        return truncate(f"Stopped by {run.stopped}")
    if not run.finished:
        return "Not finished"
    if blocking:
        return f"{blocking} of {len(run.scenarios)} blocking"
    if run.dirty:
        return "Nothing blocking, but DIRTY"
    return "Nothing blocking" if run.scenarios else "Nothing was run"


def _list_header(run: RunRecord) -> Iterator[tuple[str, str]]:
    yield "started", f"{run.started_at:%Y-%m-%d %H:%M:%S %z}"
    yield "duration", f"{run.seconds:.1f} s"
    yield "engine", escape_controls(run.engine)
    if run.binary:
        yield "binary", escape_controls(f"{run.binary.path}  sha256 {run.binary.sha256[:12]}")
    if run.manifest:
        yield "manifest", escape_controls(run.manifest)
    if run.command:
        yield "command", escape_controls(" ".join(run.command))
    yield "directory", escape_controls(run.working)
    yield "run", escape_controls(f"{run.id} on {run.host}" if run.host else run.id)


def _describe_scenario(run: RunRecord, scenario: ScenarioRecord) -> _Row:
    lines = wording.list_last_lines(scenario.output)
    evidence = [*_list_evidence(scenario)]
    return {
        "name": scenario.name,
        "outcome": scenario.outcome,
        "duration": f"{scenario.seconds:.2f} s",
        "facts": [
            (name, value) for name, value in wording.list_facts(run, scenario) if name != "tries"
        ],
        "output": "\n".join(lines),
        "output_title": f"last lines of output, {scenario.output.size} bytes in total",
        "evidence": evidence,
        "expanded": sum(bool(item["text"]) for item in evidence) <= _MAX_OPEN,
        "attempts": [_describe_attempt(attempt) for attempt in scenario.attempts if attempt.phases],
    }


def _list_evidence(scenario: ScenarioRecord) -> Iterator[_Row]:
    """Yield the evidence of each attempt: a title, and text that may be empty."""
    for number, attempt in enumerate(scenario.attempts, start=1):
        if attempt.evidence:
            prefix = f"try {number}: " if len(scenario.attempts) > 1 else ""
            for title, text in _list_items(attempt.evidence):
                yield {"title": f"{prefix}{title}", "text": wording.format_lines(text)}


def _list_items(evidence: EvidenceRecord) -> Iterator[tuple[str, str]]:
    if usage := wording.describe_usage(evidence):
        yield f"used {usage}", ""
    for change in evidence.changes:
        text = change.text if change.kind == "file" else None
        yield f"{change.change} {wording.describe_change(change)}", text or ""
    if evidence.changes_left_out:
        yield f"{evidence.changes_left_out} more changes", ""
    for pane in evidence.panes:
        name = truncate(f"{pane.name} of tmux at {pane.server}")
        yield f"pane {name}", "\n".join(pane.lines)
    yield from ((f"missing {truncate(item)}", "") for item in evidence.missing)


def _describe_attempt(attempt: AttemptRecord) -> _Row:
    phases = (f"{name} {seconds:.2f}" for name, seconds in attempt.phases.items())
    return {
        "outcome": attempt.outcome,
        "title": wording.describe_attempt(attempt),
        "start": f"{attempt.begun:.2f} s",
        "duration": f"{attempt.seconds:.2f} s",
        "phases": escape_controls(", ".join(phases)),
    }
