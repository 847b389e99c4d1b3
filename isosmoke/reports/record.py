"""A run as one JSON document; `schema_version` is raised when a field changes its meaning."""

import json
from typing import Any

from isosmoke.leaks import Process
from isosmoke.outcome import Exited, Outcome, Signaled, signal_name
from isosmoke.results import Attempt, RunResult, ScenarioResult

SCHEMA_VERSION = 1


def document(run: RunResult) -> dict[str, Any]:
    """The whole run as plain data."""
    path, digest = run.binary or (None, None)
    return {
        "schema_version": SCHEMA_VERSION,
        "engine": run.engine,
        "manifest": _text(run.manifest),
        "binary": None if path is None else {"path": str(path), "sha256": digest},
        "record": _text(run.record),
        "seconds": round(run.seconds, 3),
        "stopped": run.stopped or None,
        "counts": {one.value: run.count(one) for one in Outcome if run.count(one)},
        "scenarios": [_scenario(one) for one in run.scenarios],
    }


def render(run: RunResult) -> str:
    """The document as text, one line feed at its end.

    A path may be of bytes that are no text: Python's escape of those is JSON's too.
    """
    text = json.dumps(document(run), indent=2, ensure_ascii=False)
    return text.encode(errors="backslashreplace").decode() + "\n"


def _scenario(result: ScenarioResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "assertion": result.assertion,
        "owners": list(result.owners),
        **_attempt(result.telling),
        "outcome": result.outcome.value,
        "blocks": result.outcome.blocks,
        "load_sensitive": result.load_sensitive,
        "seconds": round(result.seconds, 3),
        "attempts": [_attempt(one) for one in result.attempts],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    ending = attempt.ending
    return {
        "outcome": attempt.outcome.value,
        "reason": attempt.reason,
        "exit_code": ending.code if isinstance(ending, Exited) else None,
        "signal": signal_name(ending.number) if isinstance(ending, Signaled) else None,
        "seconds": round(attempt.seconds, 3),
        "alone": attempt.alone,
        "phases": {name: round(seconds, 4) for name, seconds in attempt.phases.items()},
        "leaks": [process(one) for one in attempt.leaks],
        "tolerated": [
            {**process(one.process), "reason": one.reason} for one in attempt.verdict.tolerated
        ],
        "output": {
            "size": attempt.output.size,
            "log": _text(attempt.log),
            "last_lines": list(attempt.output.last_lines(20)),
        },
    }


def process(one: Process) -> dict[str, Any]:
    """One process that was left, as plain data."""
    return {
        "pid": one.pid,
        "ppid": one.ppid,
        "argv": list(one.argv),
        "cwd": one.cwd,
        "exe": one.exe,
        "age_seconds": one.age_seconds,
        "state": one.state,
        "listens": list(one.listens),
    }


def _text(path: object) -> str | None:
    return None if path is None else str(path)
