"""Results for tests of reports and gates, without running anything."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isosmoke.manifest.models import Scenario
from isosmoke.results.run_results import Attempt, RunResult, ScenarioResult

STARTED = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


def make_result(*attempts: Attempt, name: str = "one", **entry: Any) -> ScenarioResult:
    """Return a scenario with these attempts; `entry` has keys of its manifest entry."""
    return ScenarioResult(scenario=Scenario(name=name, script="one.sh", **entry), attempts=attempts)


def make_run(*scenarios: ScenarioResult, **others: Any) -> RunResult:
    """Return a run of these scenarios, with defaults for all else."""
    defaults: dict[str, Any] = {
        "started": STARTED,
        "working": Path("/p"),
        "engine": "bubblewrap",
        "host": "box",
        "manifest": Path("/p/manifest.toml"),
        "binary": (Path("/p/wg"), "0123456789abcdef" * 4),
        "record": Path("/p/.isosmoke/runs/1"),
        "seconds": 2.54,
    }
    return RunResult(scenarios=scenarios, **{**defaults, **others})
