"""The record of a merged run on disk, with the logs of all shards."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from isosmoke.history import layout, writer
from isosmoke.history.layout import HEADER, RESULT
from isosmoke.history.record_copies import copy_file
from isosmoke.host import files
from isosmoke.results.records import creation
from isosmoke.results.records.attempt import AttemptRecord, OutputRecord
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_record import Header, RunRecord, ScenarioRecord, StoredHeader
from isosmoke.shards.loaded_shards import Part
from isosmoke.text import escape_bytes, restore_bytes

_LOG = re.compile(r"output-[0-9]+\.log")


def save(merged: RunRecord, parts: Iterable[Part], working: Path) -> RunRecord:
    """Write a merged run to the records of the project around `working`, and return it complete.

    Raises:
        IsosmokeError: if no place for records is writable.
        OSError: if the record cannot be written completely.
    """
    origins = {scenario.name: part.directory for part in parts for scenario in part.run.scenarios}
    recording = writer.start_recording(layout.find_top(working))
    try:
        run = _write(merged, origins, recording.directory)
    finally:
        recording.close()
    return run


def _write(merged: RunRecord, origins: Mapping[str, Path], directory: Path) -> RunRecord:
    scenarios = tuple(
        _copy_logs(scenario, origins.get(scenario.name), directory) for scenario in merged.scenarios
    )
    run = replace(
        merged, id=directory.name, record=escape_bytes(str(directory)), scenarios=scenarios
    )
    for scenario in scenarios:
        (directory / scenario.name).mkdir(exist_ok=True)
        files.write(directory / scenario.name / RESULT, render_json(scenario), durable=False)
    fields = {name: getattr(run, name) for name in Header.__dataclass_fields__}
    planned = tuple(map(creation.select_plan, scenarios))
    files.write(directory / HEADER, render_json(StoredHeader(**fields, planned=planned)))
    return run


def _copy_logs(scenario: ScenarioRecord, origin: Path | None, directory: Path) -> ScenarioRecord:
    """Return a result with the paths of the copies of its logs; a log without a copy has none."""
    attempts = tuple(_copy_log(scenario, each, origin, directory) for each in scenario.attempts)
    output = _locate(scenario.name, scenario.output, directory)
    return replace(scenario, attempts=attempts, output=output)


def _copy_log(
    scenario: ScenarioRecord, attempt: AttemptRecord, origin: Path | None, directory: Path
) -> AttemptRecord:
    name = _get_log_name(attempt.output)
    if name and origin is not None:
        (directory / scenario.name).mkdir(exist_ok=True)
        with suppress(OSError):  # a log that is missing or a link: only the log is lost
            copy_file(origin / scenario.name / name, directory / scenario.name / name)
    return replace(attempt, output=_locate(scenario.name, attempt.output, directory))


def _locate(scenario: str, output: OutputRecord, directory: Path) -> OutputRecord:
    log = directory / scenario / _get_log_name(output)
    return replace(output, log=escape_bytes(str(log)) if log.is_file() else None)


def _get_log_name(output: OutputRecord) -> str:
    """Return the name of a log; empty if there is none, or it is not one that a run gives."""
    name = Path(restore_bytes(output.log or "")).name
    return name if _LOG.fullmatch(name) else ""
