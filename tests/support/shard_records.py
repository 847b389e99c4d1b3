"""Records of shards on disk, as `isosmoke run --shard` writes them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from isosmoke.history import record_copies, writer
from isosmoke.manifest import partition
from isosmoke.results.records.shard import ShardRecord, digest_names, digest_partition
from isosmoke.results.run_results import ScenarioResult, ShardPlan
from isosmoke.shards import loaded_shards
from isosmoke.shards.loaded_shards import Part
from support import result_factories

COMMON = {
    "commit": "c" * 40,
    "manifest": "1" * 64,
    "inputs": "2" * 64,
    "options": "--engine auto --confirm auto",
}
"""The properties that the shards of a run have in common."""


def write(
    directory: Path,
    number: int,
    total: int,
    results: Sequence[ScenarioResult],
    *,
    seconds: dict[str, float] | None = None,
    common: dict[str, str] | None = None,
    **run: object,
) -> Path:
    """Write the record of a shard of a run that has these results, and return its directory.

    `common` replaces hashes, and `run` other properties of the run.
    """
    numbers = partition.divide((result.name for result in results), total, seconds)
    shard = ShardRecord(
        number=number,
        total=total,
        selection=digest_names(numbers),
        partition=digest_partition(numbers),
        **{**COMMON, **(common or {})},
    )
    plan = ShardPlan(shard, tuple((result.scenario, numbers[result.name]) for result in results))
    own = [result for result in results if numbers[result.name] == number]
    project = directory.with_name(f"{directory.name}.project")
    project.mkdir()
    recording = writer.start_recording(project)
    result = result_factories.make_run(
        *own, **{"record": recording.directory, "shard": plan, **run}
    )
    recording.begin(result, [each.scenario for each in own])
    for each in own:
        recording.keep(_log(each, recording.directory))
    recording.end(replace(result, scenarios=tuple(_log(each, recording.directory) for each in own)))
    record_copies.copy_record(recording.directory, directory)
    return directory


def _log(result: ScenarioResult, record: Path) -> ScenarioResult:
    """Return a result whose attempts have a log."""
    attempts = []
    for number, attempt in enumerate(result.attempts, start=1):
        log = record / result.name / f"output-{number}.log"
        log.parent.mkdir(exist_ok=True)
        log.write_text(f"{result.name} {number}\n")
        attempts.append(replace(attempt, log=log))
    return replace(result, attempts=tuple(attempts))


def load(directory: Path) -> Part:
    """Return the record of a shard, which must be usable."""
    part = loaded_shards.load(directory)
    assert isinstance(part, Part), part
    return part


def edit(file: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file."""
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
