"""Records of past runs on disk, for tests that read or forget them."""

from pathlib import Path

from isosmoke.history import writer
from isosmoke.results.outcome import Exited
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, ScenarioResult
from support import result_factories

PASSED, FAILED = Attempt(ending=Exited(0)), Attempt(ending=Exited(1))
ENDED = "0-0.1.0"
"""A lease of another boot."""


def recorded(top: Path, *scenarios: ScenarioResult, rerun_of: str = "") -> Path:
    """The folder of a new run of these scenarios."""
    recording = writer.start_recording(top)
    told = result_factories.run(*scenarios, record=recording.folder, rerun_of=rerun_of)
    recording.begin(told, [one.scenario for one in scenarios])
    for one in scenarios:
        recording.keep(one)
    recording.end(told)
    return recording.folder


def halved(top: Path) -> Path:
    """The folder of a run that goes on: `one` passed, `two` was not begun."""
    one, two = (result_factories.result(PASSED, name=name) for name in ("one", "two"))
    recording = writer.start_recording(top)
    recording.begin(result_factories.run(record=recording.folder), [one.scenario, two.scenario])
    recording.keep(one)
    return recording.folder


def killed(folder: Path) -> Path:
    """The folder, as if the process of its run were gone."""
    (folder / ".lease").write_text(ENDED)
    return folder


def outcomes(run: RunRecord) -> dict[str, str]:
    """Each scenario's outcome and reason, as one text."""
    return {one.name: f"{one.outcome} {one.reason}".strip() for one in run.scenarios}
