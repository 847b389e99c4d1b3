"""Records of past runs on disk, for tests that read or remove them."""

from pathlib import Path

from isosmoke.history import writer
from isosmoke.results.outcome import Exited
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, ScenarioResult
from support import result_factories

PASSED, FAILED = Attempt(ending=Exited(0)), Attempt(ending=Exited(1))
ENDED = "0-0.1.0"
"""A lease of an earlier boot."""


def record_run(top: Path, *scenarios: ScenarioResult, rerun_of: str = "") -> Path:
    """Record a run of these scenarios, and return its directory."""
    recording = writer.start_recording(top)
    result = result_factories.make_run(*scenarios, record=recording.directory, rerun_of=rerun_of)
    recording.begin(result, [scenario.scenario for scenario in scenarios])
    for scenario in scenarios:
        recording.keep(scenario)
    recording.end(result)
    return recording.directory


def record_half_run(top: Path) -> Path:
    """Record a run in progress: `one` passed, `two` has not started. Return its directory."""
    first, second = (result_factories.make_result(PASSED, name=name) for name in ("one", "two"))
    recording = writer.start_recording(top)
    recording.begin(
        result_factories.make_run(record=recording.directory), [first.scenario, second.scenario]
    )
    recording.keep(first)
    recording.wait()
    return recording.directory


def mark_killed(directory: Path) -> Path:
    """Make it look as if the process of the run were gone; return the directory."""
    (directory / ".lease").write_text(ENDED)
    return directory


def get_outcomes(run: RunRecord) -> dict[str, str]:
    """Return each scenario's outcome and reason, as one text."""
    return {
        scenario.name: f"{scenario.outcome} {scenario.reason}".strip() for scenario in run.scenarios
    }
