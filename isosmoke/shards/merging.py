"""The merge of the records of shards into one: what counts, and why the rest does not.

A shard counts if exactly one directory has a record of it, and that record agrees with the others:
the same commit, binary, manifest, selection, division and options. Every other scenario is NOT_RUN.
Of records that do not agree, those that agree with the most others count.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TypeVar

from isosmoke.dataclass import dataclass
from isosmoke.errors import ExitCode
from isosmoke.results import exit_code
from isosmoke.results.outcome import count
from isosmoke.results.records import creation
from isosmoke.results.records.attempt import AttemptRecord
from isosmoke.results.records.origin import RepositoryRecord
from isosmoke.results.records.shard import MergedShardRecord
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.shards.loaded_shards import Part, Unusable

T = TypeVar("T")

_SEPARATOR = "+"
"""The separator between the names of engines, as in the record of one run."""


@dataclass(frozen=True, slots=True)
class _Key:
    """The properties that the shards of one run have in common."""

    isosmoke: str
    total: int
    commit: str
    manifest: str
    binary: str
    selection: str
    partition: str
    inputs: str
    options: str

    @classmethod
    def of(cls, part: Part) -> "_Key":
        shard, binary = part.shard, part.run.binary
        return cls(
            isosmoke=part.run.isosmoke,
            total=shard.total,
            commit=shard.commit,
            manifest=shard.manifest,
            binary=binary.sha256 if binary else "",
            selection=shard.selection,
            partition=shard.partition,
            inputs=shard.inputs,
            options=shard.options,
        )

    def list_differences(self, other: "_Key") -> Iterator[str]:
        """Yield how this key differs from another, in words."""
        words = {
            "isosmoke": f"isosmoke {self.isosmoke}, not {other.isosmoke}",
            "total": f"{self.total} shards, not {other.total}",
            "commit": f"commit {_shorten(self.commit)}, not {_shorten(other.commit)}",
            "manifest": "another manifest",
            "binary": f"binary {_shorten(self.binary)}, not {_shorten(other.binary)}",
            "selection": "another selection of scenarios",
            "partition": "another division into shards, by other durations",
            "inputs": "other scripts, or other files that they read",
            "options": f"options {self.options!r}, not {other.options!r}",
        }
        different = [name for name in words if getattr(self, name) != getattr(other, name)]
        implied = {"partition"} if {"selection", "total"} & {*different} else set()
        if {"commit", "manifest", "selection"} & {*different}:
            implied.add("inputs")
        yield from (words[name] for name in different if name not in implied)


def _shorten(sha: str) -> str:
    return sha[:12] or "none"


@dataclass(frozen=True, slots=True)
class _Records:
    """All records, and why each of the `foreign` ones is not of the run that most are of."""

    parts: Sequence[Part]
    unusable: Sequence[Unusable]
    total: int
    foreign: Mapping[Path, str]

    @classmethod
    def compare(cls, parts: Sequence[Part], unusable: Sequence[Unusable]) -> "_Records":
        keys = {part.directory: _Key.of(part) for part in parts}
        frequency = Counter(keys.values())
        common = max(frequency, key=frequency.__getitem__)  # the first of several
        foreign = {
            directory: f"{directory} is foreign: {', '.join(key.list_differences(common))}"
            for directory, key in keys.items()
            if key != common
        }
        return cls(parts, unusable, common.total, foreign)

    @property
    def own(self) -> Sequence[Part]:
        """The records that are not foreign; there is at least one."""
        return [part for part in self.parts if part.directory not in self.foreign]

    def list_shards(self) -> Iterator[MergedShardRecord]:
        """Yield every shard of the run, and then the records that are of none."""
        yield from map(self._select, range(1, self.total + 1))
        for item in self.unusable:
            problem = f"{item.directory} cannot be used: {item.reason}"
            yield MergedShardRecord(number=None, problem=problem)
        for part in self.parts:
            if part.shard.number > self.total:
                yield _describe(part, None, self.foreign[part.directory])

    def _select(self, number: int) -> MergedShardRecord:
        """Return a shard, with a problem unless exactly one record of it exists and is own."""
        label = f"shard {number} of {self.total}"
        candidates = [part for part in self.parts if part.shard.number == number]
        match candidates:
            case []:
                rest = f"; {self.unusable[0].directory} cannot be used" if self.unusable else ""
                return MergedShardRecord(number=number, problem=f"{label} is missing{rest}")
            case [part]:
                reason = self.foreign.get(part.directory, "")
                return _describe(part, number, f"{label}: {reason}" if reason else "")
            case _:
                names = ", ".join(str(part.directory) for part in candidates)
                problem = f"{label} has {len(candidates)} records: {names}"
                return MergedShardRecord(number=number, problem=problem)


def _describe(part: Part, number: int | None, problem: str) -> MergedShardRecord:
    run, envelope = part.run, "" if problem else part.envelope
    return MergedShardRecord(
        number=number, run=run.id, host=run.host, problem=problem, envelope=envelope
    )


def merge(parts: Sequence[Part], unusable: Sequence[Unusable]) -> RunRecord:
    """Return one record of all shards; it has no directory and no id yet.

    There must be at least one part.
    """
    records = _Records.compare(parts, unusable)
    shards = tuple(records.list_shards())
    problems = {shard.number: shard.problem for shard in shards if shard.number is not None}
    counted = [part for part in records.own if not problems[part.shard.number]]
    return _combine(records.own, counted, problems, shards)


def _combine(
    own: Sequence[Part],
    counted: Sequence[Part],
    problems: Mapping[int, str],
    shards: tuple[MergedShardRecord, ...],
) -> RunRecord:
    runs = [part.run for part in counted] or [own[0].run]
    started = min(run.started_at for run in runs)
    results = {
        scenario.name: scenario
        for part in counted
        for scenario in _shift(part.run, part.run.started_at - started)
    }
    scenarios = tuple(
        results.get(selected.name)
        or creation.record_not_run(creation.select_plan(selected), problems[selected.shard])
        for selected in own[0].selection
    )
    return replace(
        runs[0],
        id="",
        started_at=started,
        engine=_SEPARATOR.join(_list_unique(run.engine.split(_SEPARATOR) for run in runs)),
        host=", ".join(_list_unique([run.host] for run in runs)),
        record=None,
        shard=None,
        daemon=runs[0].daemon if len({run.daemon for run in runs}) == 1 else (),
        finished=all(run.finished for run in runs),
        seconds=max(_end(run, run.started_at - started) for run in runs),
        stopped=next((run.stopped for run in runs if run.stopped), None),
        notes=(*_list_problems(shards), *_label(counted, "notes")),
        warnings=_label(counted, "warnings"),
        interpreters=_list_unique(run.interpreters for run in runs),
        dirty=_label(counted, "dirty"),
        repository=_merge_repositories(runs),
        recording={name: value for run in runs for name, value in run.recording.items()},
        shards=shards,
        counts=count(scenario.outcome for scenario in scenarios),
        scenarios=scenarios,
    )


def _merge_repositories(runs: Sequence[RunRecord]) -> RepositoryRecord | None:
    """Return the state that all runs had; None if one is unknown or they differ."""
    states = {run.repository for run in runs}
    return states.pop() if len(states) == 1 else None


def _shift(run: RunRecord, delay: timedelta) -> Iterator[ScenarioRecord]:
    """Yield the results of a run, with times from the start of the merged one."""
    for scenario in run.scenarios:
        attempts = tuple(_shift_attempt(attempt, delay) for attempt in scenario.attempts)
        yield replace(scenario, attempts=attempts)


def _shift_attempt(attempt: AttemptRecord, delay: timedelta) -> AttemptRecord:
    return replace(attempt, begun=round(attempt.begun + delay.total_seconds(), 4))


def _end(run: RunRecord, delay: timedelta) -> float:
    return round(run.seconds + delay.total_seconds(), 3)


def _list_unique(groups: Iterable[Iterable[T]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(item for item in chain.from_iterable(groups) if item))


def _label(parts: Iterable[Part], field: str) -> tuple[str, ...]:
    """Return the texts of all runs, each with its shard; a text of all of them stands alone."""
    parts = tuple(parts)
    texts: dict[str, list[Part]] = {}
    for part in parts:
        for text in dict.fromkeys(getattr(part.run, field)):
            texts.setdefault(text, []).append(part)
    return tuple(
        text if len(having) == len(parts) else f"shard {_number(having)}: {text}"
        for text, having in texts.items()
    )


def _number(parts: Sequence[Part]) -> str:
    return ", ".join(str(part.shard.number) for part in parts)


def _list_problems(shards: Iterable[MergedShardRecord]) -> Iterator[str]:
    return (f"WARNING: {shard.problem}" for shard in shards if shard.problem)


def select_exit_code(run: RunRecord) -> ExitCode:
    """Return the exit code for a merged run: that of an unsharded one, but 1 for any problem."""
    if run.stopped or not run.finished or run.is_incomplete:
        return ExitCode.BLOCKED
    return exit_code.select_exit_code(run)
