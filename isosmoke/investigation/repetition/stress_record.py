"""The document of a stress run."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from isosmoke.investigation.repetition.statistics import Durations, FailureRate
from isosmoke.investigation.repetition.stress import Stress
from isosmoke.investigation.repetition.tally import Group
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.results.records.origin import BinaryRecord


class FailureGroup(RecordModel):
    """Failures with the same outcome and reason, apart from numbers in the reason.

    `first` and `last` are starts in seconds since that of the stress run. `repetitions` and `logs`
    are those of the first few failures.
    """

    outcome: Outcome
    reason: Text
    count: int
    first: float
    last: float
    repetitions: tuple[int, ...]
    logs: tuple[Text, ...]


class StressDocument(RecordModel):
    """The output of `isosmoke stress --json`, also `stress.json` in the directory of its record.

    `rate` is about the repetitions that passed or failed; `skipped` and `broken` (the engine
    failed) are in none of these. `seconds` are those of the whole stress run, and `times` of one
    repetition. `common` are facts that the failures have in common. `stopped` says why the run
    ended before its limits; it is null if it did not. `finished` is false in the record of a run
    that was killed.
    """

    schema_version: Literal[1] = 1
    finished: bool
    name: str
    started_at: datetime
    engine: str
    binary: BinaryRecord | None
    manifest: Text | None
    jobs: int
    seconds: float
    stopped: Text | None
    rate: FailureRate
    counts: Mapping[str, int]
    skipped: int
    broken: int
    broken_reason: Text
    skip_reason: Text
    times: Durations | None
    groups: tuple[FailureGroup, ...]
    common: tuple[Text, ...]
    dirty: tuple[Text, ...]
    record: Text


class StressOrigin(RecordModel):
    """The fields of a `StressDocument` that are known when a stress run begins."""

    name: str
    started_at: datetime
    engine: str
    binary: BinaryRecord | None
    manifest: Text | None
    record: Text


def create_document(stress: Stress, origin: StressOrigin, *, finished: bool) -> StressDocument:
    """Return the document of a stress run, also of one in progress."""
    tally = stress.tally
    counts = {outcome.value: tally.counts[outcome] for outcome in Outcome if tally.counts[outcome]}
    return StressDocument(
        **dict(origin),
        finished=finished,
        jobs=stress.jobs,
        seconds=round(stress.seconds, 3),
        stopped=stress.stopped or None,
        rate=FailureRate.measure(tally.failed, tally.runs),
        counts=counts,
        skipped=tally.skipped,
        broken=tally.broken,
        broken_reason=tally.broken_reason,
        skip_reason=tally.skip_reason,
        times=Durations.summarize(tally.seconds),
        groups=tuple(map(_describe_group, tally.groups)),
        common=tuple(tally.list_common_facts()),
        dirty=tuple(tally.leftovers),
    )


def _describe_group(group: Group) -> FailureGroup:
    return FailureGroup(
        outcome=group.outcome,
        reason=group.reason,
        count=group.count,
        first=round(group.first, 3),
        last=round(group.last, 3),
        repetitions=tuple(group.numbers),
        logs=tuple(map(str, group.logs)),
    )
