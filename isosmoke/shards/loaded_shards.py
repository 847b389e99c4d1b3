"""The records of shards, read from directories of unknown origin.

A directory is one record, or contains records, in directories nested at most `_MAX_DEPTH` deep.
Links are never followed, and sizes and numbers are limited as for a bundle.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from isosmoke.dataclass import dataclass
from isosmoke.errors import ImageError, RecordError, UsageError
from isosmoke.history import reader
from isosmoke.history.layout import HEADER
from isosmoke.host import files
from isosmoke.results.outcome import count
from isosmoke.results.records.shard import ShardRecord
from isosmoke.results.run_record import RunRecord, SelectedRecord
from isosmoke.rootfs_images.archives.limits import Budget
from isosmoke.shards.record_contradictions import find_contradiction

RECEIPT = "receipt.json"
"""The file of the receipt in the record of a shard that a gate ran."""

ENVELOPE = "receipt.dsse"
"""The file of the signed receipt, which `isosmoke receipt sign` writes next to it."""

_MAX_ENVELOPE = 16 << 20
"""The maximum size of a signed receipt, in bytes."""

_MAX_SIZE = 1
"""The maximum size of all files of one record, in GiB."""

_MAX_ENTRIES = 200_000
_MAX_DEPTH = 3
_HINT = "upload the record again: isosmoke run --shard NUMBER/TOTAL --output DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The record of a shard in a directory, and the selection that its run knew.

    `envelope` is its signed receipt; empty without one. Nothing about it is verified.
    """

    directory: Path
    shard: ShardRecord
    run: RunRecord
    selection: tuple[SelectedRecord, ...]
    envelope: str = ""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A directory without the record of a shard; `reason` says why."""

    directory: Path
    reason: str


def find_records(directories: Iterable[Path]) -> tuple[Path, ...]:
    """Return the directories of all records in these directories, each once.

    A directory without any is returned itself.

    Raises:
        UsageError: if one of them does not exist, or contains too much.
    """
    found: dict[Path, Path] = {}
    for directory in directories:
        for record in _find_within(directory):
            found.setdefault(record.resolve(), record)
    return tuple(found.values())


def _find_within(directory: Path) -> Sequence[Path]:
    if not directory.is_dir():
        raise UsageError(
            f"{directory}: no such directory", hint="name the directories of the shards' records"
        )
    budget = _create_budget(directory)
    try:
        return [*_walk(directory, _MAX_DEPTH, budget)] or [directory]
    except (ImageError, OSError) as error:
        raise UsageError(f"{directory}: {error}", hint=_HINT) from error


def _walk(directory: Path, depth: int, budget: Budget) -> Iterator[Path]:
    if os.path.lexists(directory / HEADER):
        yield directory
        return
    for entry in sorted(directory.iterdir()):
        budget.add_entry(PurePosixPath(entry.name))
        if depth and entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry, depth - 1, budget)


def check_targets(targets: Iterable[Path], records: Collection[Path]) -> None:
    """Check that nothing will be written into a record that is read.

    Raises:
        UsageError: if a target is in one of the records.
    """
    for target in targets:
        for record in records:
            if target.resolve().is_relative_to(record.resolve()):
                raise UsageError(
                    f"{target} is in the record {record}, which is merged",
                    hint="name a place outside of the records, and merge in the project",
                )


def load(directory: Path) -> Part | Unusable:
    """Return the record of a shard, or why the directory has none that can be used."""
    try:
        _check_size(directory)
        header = reader.load_header(directory)
        run = reader.load_results(directory, header)
        envelope = _read_envelope(directory / ENVELOPE)
    except (RecordError, ImageError) as error:
        return Unusable(directory, error.message)
    except OSError as error:
        return Unusable(directory, f"{error.filename}: {error.strerror}")
    if header.shard is None:
        return Unusable(directory, "it is not the record of a shard")
    if contradiction := find_contradiction(header, header.shard, run):
        return Unusable(directory, f"its record contradicts itself: {contradiction}")
    return Part(
        directory=directory,
        shard=header.shard,
        run=_judge_again(run),
        selection=header.selection,
        envelope=envelope,
    )


def load_merged(directory: Path) -> RunRecord | Unusable:
    """Return the record of a merged run, or why the directory has none that can be used."""
    try:
        _check_size(directory)
        run = reader.load_run(directory)
    except (RecordError, ImageError) as error:
        return Unusable(directory, error.message)
    except OSError as error:
        return Unusable(directory, f"{error.filename}: {error.strerror}")
    return run if run.shards else Unusable(directory, "it is not the record of a merge")


def _read_envelope(file: Path) -> str:
    """Return the signed receipt of a shard; empty if there is none.

    Raises:
        RecordError: if it is too large to be one, or no text.
        OSError: if it cannot be read, or is a link.
    """
    try:
        content = files.read(file, follow=False)
    except FileNotFoundError:
        return ""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"{file} is no text", _HINT) from error
    if len(content) > _MAX_ENVELOPE:
        raise RecordError(f"{file} is larger than a signed receipt", _HINT)
    return text


def _create_budget(directory: Path) -> Budget:
    return Budget(directory, _MAX_SIZE, _MAX_ENTRIES, size_hint=_HINT, entries_hint=_HINT)


def _check_size(directory: Path) -> None:
    """Raise `ImageError` if a record has more or larger files than any run has."""
    budget = _create_budget(directory)
    pending = [(directory, PurePosixPath())]
    while pending:
        path, inside = pending.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                budget.add_entry(inside / entry.name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append((path / entry.name, inside / entry.name))
                else:
                    budget.add_written(entry.stat(follow_symlinks=False).st_size)


def _judge_again(run: RunRecord) -> RunRecord:
    """Return the record with all that follows from the attempts at the scenarios."""
    scenarios = tuple(
        replace(
            scenario,
            blocks=scenario.outcome.blocks,
            seconds=round(sum(attempt.seconds for attempt in scenario.attempts), 3),
        )
        for scenario in run.scenarios
    )
    counts = count(scenario.outcome for scenario in scenarios)
    return replace(run, scenarios=scenarios, counts=counts)
