"""A digest of the results of a shard, by which a merged record is compared with what was signed.

It covers everything that a verdict depends on or shows, except the start of an attempt and the
path of a log, which a merge changes. The fields are listed, so that a later version of isosmoke,
whose records have more fields, computes the same digest.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from isosmoke.results.records.attempt import AttemptRecord, OutcomeRecord
from isosmoke.results.run_record import ScenarioRecord


def digest_results(scenarios: Iterable[ScenarioRecord]) -> str:
    """Return a hash of the results of scenarios, in any order."""
    results = sorted(
        (_describe_scenario(each) for each in scenarios), key=lambda each: each["name"]
    )
    text = json.dumps(results, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _describe_scenario(scenario: ScenarioRecord) -> dict[str, Any]:
    return {
        **_describe_outcome(scenario),
        "name": scenario.name,
        "assertion": scenario.assertion,
        "owners": list(scenario.owners),
        "attempts": [_describe_attempt(attempt) for attempt in scenario.attempts],
    }


def _describe_attempt(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        **_describe_outcome(attempt),
        "seconds": attempt.seconds,
        "alone": attempt.alone,
        "repetition": attempt.repetition,
        "script_sha256": attempt.script_sha256,
    }


def _describe_outcome(result: OutcomeRecord) -> dict[str, Any]:
    return {
        "outcome": result.outcome.value,
        "reason": result.reason,
        "exit_code": result.exit_code,
        "signal": result.signal,
        "leaks": [[each.pid, list(each.argv)] for each in result.leaks],
        "tolerated": [[each.pid, list(each.argv), each.reason] for each in result.tolerated],
        "size": result.output.size,
        "last_lines": list(result.output.last_lines),
    }
