"""The logs and scripts of a recorded run, and the outcomes of earlier ones, for a report."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError
from isosmoke.history import layout, reader
from isosmoke.history.layout import HEADER, RESULT
from isosmoke.host import files
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.attempt import OutputRecord
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.results.run_results import CapturedOutput
from isosmoke.text import restore_bytes

MAX_PAST_FILES = 20_000
"""The number of results of earlier runs that are read; of a larger project, fewer runs are."""

_MAX_PAST_RUNS = 19
_MAX_SCRIPT_BYTES = 256 * 1024
_UNREADABLE = (OSError, IsosmokeError, ValueError, TypeError, LookupError, AttributeError)

Redact = Callable[[ScenarioRecord, str], str]
"""A function that replaces the secrets of a scenario in a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierOutcome:
    """The outcome of a scenario in an earlier run; `inputs` hash the binary and the script."""

    run: str
    outcome: Outcome
    seconds: float
    inputs: tuple[str, str]


def read_logs(
    run: RunRecord, scenarios: Iterable[ScenarioRecord], max_bytes: int
) -> Mapping[str, CapturedOutput]:
    """Return the readable logs of scenarios by their recorded paths, each up to `max_bytes`."""
    logs = {}
    for scenario in scenarios:
        if scenario.output.log and scenario.output.size:
            with suppress(*_UNREADABLE):
                logs[scenario.output.log] = _read_log(run, scenario, scenario.output, max_bytes)
    return logs


def _read_log(
    run: RunRecord, scenario: ScenarioRecord, output: OutputRecord, max_bytes: int
) -> CapturedOutput:
    """Return a log, of which the end is worth more than the beginning."""
    path = reader.locate_log(run, scenario, output.log or "")
    with files.open_regular(path, follow=False) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= max_bytes:
            return CapturedOutput(head=file.read(max_bytes), size=size)
        head = file.read(max_bytes // 4)
        file.seek(size - (max_bytes - len(head)))
        return CapturedOutput(head=head, tail=file.read(max_bytes - len(head)), size=size)


def read_scripts(
    scenarios: Iterable[ScenarioRecord], redact: Redact
) -> tuple[Mapping[str, str], frozenset[str]]:
    """Return the scripts of scenarios as they ran, and the names of those that changed since.

    A script is only read by its recorded hash, so that a forged record cannot show other files.
    """
    scripts, changed = {}, set()
    for scenario in scenarios:
        expected = scenario.attempts[-1].script_sha256
        with suppress(*_UNREADABLE):
            content = _read_script(scenario) if expected else None
            if content is None:
                continue
            if hashlib.sha256(content).hexdigest() == expected:
                text = content.decode(errors="replace")
                scripts[scenario.name] = redact(scenario, text)
            else:
                changed.add(scenario.name)
    return scripts, frozenset(changed)


def _read_script(scenario: ScenarioRecord) -> bytes | None:
    """Return the content of a script; None if it is too large to show."""
    with files.open_regular(Path(restore_bytes(scenario.script))) as file:
        content = file.read(_MAX_SCRIPT_BYTES + 1)
    return content if len(content) <= _MAX_SCRIPT_BYTES else None


def read_past(run: RunRecord) -> Mapping[str, tuple[EarlierOutcome, ...]]:
    """Return the outcomes of the scenarios of `run` in earlier runs of its project, oldest first.

    A run that cannot be read is left out.
    """
    if not run.record or run.command:
        return {}
    past = defaultdict(list)
    names = {scenario.name for scenario in run.scenarios}
    for directory in _list_earlier(Path(restore_bytes(run.record)), len(names)):
        for name, outcome in _read_outcomes(directory, names):
            past[name].append(outcome)
    return {name: tuple(outcomes) for name, outcomes in past.items()}


def _list_earlier(record: Path, scenarios: int) -> list[Path]:
    """Return the directories of the runs before a run, next to its own, oldest first."""
    number = min(_MAX_PAST_RUNS, MAX_PAST_FILES // max(1, scenarios))
    try:
        directories = sorted(layout.iter_run_directories(record.parent))
    except OSError:
        return []
    earlier = [directory for directory in directories if directory.name < record.name]
    return earlier[len(earlier) - min(number, len(earlier)) :]


def _read_outcomes(directory: Path, names: set[str]) -> Iterator[tuple[str, EarlierOutcome]]:
    with suppress(*_UNREADABLE):
        header = json.loads(files.read(directory / HEADER, follow=False))
        if header["schema_version"] != reader.SCHEMA_VERSION or header["command"]:
            return
        binary = header["binary"]["sha256"] if header["binary"] else ""
        for plan in header["planned"]:
            if plan["name"] in names:
                with suppress(*_UNREADABLE):
                    yield plan["name"], _read_outcome(directory, plan["name"], binary)


def _read_outcome(directory: Path, name: str, binary: str) -> EarlierOutcome:
    """Return the outcome of a scenario; most of its result is not needed and not validated."""
    result: Any = json.loads(files.read(directory / name / RESULT, follow=False))
    script = result["attempts"][-1].get("script_sha256") or ""
    return EarlierOutcome(
        run=directory.name,
        outcome=Outcome[result["outcome"]],
        seconds=float(result["seconds"]),
        inputs=(str(binary), str(script)),
    )
