"""A run as one HTML page that needs nothing else: no script, no other file, no network.

Whatever a script printed stays text: it is made visible, then escaped, and the page's own policy
forbids everything but its one style sheet.
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
from isosmoke.text import cut, printable

_OPEN = 8
"""So many texts are looked through; of more only those that somebody opens."""

_Row = Mapping[str, Any]


def render(run: RunRecord) -> str:
    """The page as text in UTF-8."""
    scenarios = sorted(run.scenarios, key=lambda one: one.outcome.facts.rank)
    told = [_scenario(run, one) for one in scenarios]
    template, style = _page()
    text = template.render(
        policy=policy(style),
        style=style,
        headline=_headline(run),
        counts=sort_counts(run.counts),
        header=[*_header(run)],
        notes=[cut(note) for note in run.notes],
        dirty=wording.left_behind(run),
        telling=[one for one in told if one["outcome"].facts.effect != "passed"],
        passing=[one for one in told if one["outcome"].facts.effect == "passed"],
        version=printable(run.isosmoke),
        schema=run.schema_version,
    )
    return f"{text}\n"


def policy(style: str) -> str:
    """The Content-Security-Policy under which a browser takes this style sheet and nothing else."""
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def _page() -> tuple[Template, str]:
    """The page without its contents, and its style sheet."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    folder = files("isosmoke.reports") / "page"
    template = environment.from_string((folder / "page.html.jinja").read_text())
    return template, (folder / "page.css").read_text() + _colours()


def _colours() -> str:
    """Return the rules for each outcome's class, as CSS: its colour, on light and on dark paper."""
    light = " ".join(f"--{one}: {one.facts.page.light};" for one in Outcome)
    dark = " ".join(f"--{one}: {one.facts.page.dark};" for one in Outcome)
    rules = (
        f"b.{one}, td.{one} {{ color: var(--{one}); }} .{one} {{ --edge: var(--{one}); }}"
        for one in Outcome
    )
    scheme = f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return "\n".join([f":root {{ {light} }}", scheme, *rules, ""])


def _headline(run: RunRecord) -> str:
    blocking = sum(one.blocks for one in run.scenarios)
    if run.stopped:
        return cut(f"Stopped by {run.stopped}")
    if not run.finished:
        return "Not finished"
    if blocking:
        return f"{blocking} of {len(run.scenarios)} block"
    if run.dirty:
        return "Nothing blocks, but DIRTY"
    return "Nothing blocks" if run.scenarios else "Nothing was run"


def _header(run: RunRecord) -> Iterator[tuple[str, str]]:
    took = f"{run.started_at:%Y-%m-%d %H:%M:%S %z}, took {run.seconds:.1f} s"
    yield "began", took
    yield "engine", printable(run.engine)
    if run.binary:
        yield "binary", printable(f"{run.binary.path}  sha256 {run.binary.sha256[:12]}")
    if run.manifest:
        yield "manifest", printable(run.manifest)
    if run.command:
        yield "command", printable(" ".join(run.command))
    yield "folder", printable(run.working)
    yield "run", printable(f"{run.id} on {run.host}" if run.host else run.id)


def _scenario(run: RunRecord, scenario: ScenarioRecord) -> _Row:
    lines = wording.last_lines(scenario.output)
    evidence = [*_evidence(scenario)]
    return {
        "name": scenario.name,
        "outcome": scenario.outcome,
        "took": f"{scenario.seconds:.2f} s",
        "facts": [(name, value) for name, value in wording.of(run, scenario) if name != "tries"],
        "output": "\n".join(lines),
        "output_title": f"the end of its output, {scenario.output.size} bytes in all",
        "evidence": evidence,
        "few": sum(bool(one["text"]) for one in evidence) <= _OPEN,
        "attempts": [_attempt(one) for one in scenario.attempts if one.phases],
    }


def _evidence(scenario: ScenarioRecord) -> Iterator[_Row]:
    """What each attempt left to look at: words, and the text that belongs to them."""
    for number, attempt in enumerate(scenario.attempts, start=1):
        if attempt.evidence:
            about = f"try {number}: " if len(scenario.attempts) > 1 else ""
            for words, text in _items(attempt.evidence):
                yield {"words": f"{about}{words}", "text": wording.lines(text)}


def _items(evidence: EvidenceRecord) -> Iterator[tuple[str, str]]:
    if used := wording.used(evidence):
        yield f"used {used}", ""
    for change in evidence.changes:
        text = change.text if change.kind == "file" else None
        yield f"{change.change} {wording.changed(change)}", text or ""
    if evidence.changes_left_out:
        yield f"{evidence.changes_left_out} more changes", ""
    for pane in evidence.panes:
        name = cut(f"{pane.name} of tmux at {pane.server}")
        yield f"pane {name}", "\n".join(pane.lines)
    yield from ((f"missing {cut(one)}", "") for one in evidence.missing)


def _attempt(attempt: AttemptRecord) -> _Row:
    steps = (f"{name} {seconds:.2f}" for name, seconds in attempt.phases.items())
    return {
        "outcome": attempt.outcome,
        "words": wording.tried(attempt),
        "begun": f"{attempt.begun:.2f} s",
        "took": f"{attempt.seconds:.2f} s",
        "steps": printable(", ".join(steps)),
    }
