"""Contradictions in the record of a shard: what cannot be true together, and times of no run.

A record is not authentic: who alters every field of it in the same way is not noticed here.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby

from isosmoke.manifest.partition import MAX_SHARDS
from isosmoke.results.outcome import (
    Exited,
    Outcome,
    Signaled,
    find_reported,
    judge,
    judge_attempts,
)
from isosmoke.results.records import creation
from isosmoke.results.records.attempt import AttemptRecord, OutcomeRecord
from isosmoke.results.records.shard import ShardRecord, digest_names, digest_partition
from isosmoke.results.run_record import RunRecord, ScenarioRecord, StoredHeader

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2999, 12, 31, tzinfo=UTC)
_MAX_SECONDS = 366 * 24 * 3600.0
_WITHOUT_EXIT = (Outcome.SKIP, Outcome.TIMEOUT, Outcome.ERROR, Outcome.NOT_RUN)
"""The outcomes of an attempt whose script did not end by itself, or did not start."""


def find_contradiction(header: StoredHeader, shard: ShardRecord, run: RunRecord) -> str:
    """Return in what a record does not fit itself; empty if it does."""
    return next(_list_contradictions(header, shard, run), "")


def _list_contradictions(header: StoredHeader, shard: ShardRecord, run: RunRecord) -> Iterator[str]:
    yield from _check_division(header, shard, run)
    yield from _check_times(run)
    selected = [each for each in header.selection if each.shard == shard.number]
    for scenario, *plans in zip(run.scenarios, selected, header.planned, strict=True):
        if any(creation.select_plan(plan) != creation.select_plan(scenario) for plan in plans):
            yield f"{scenario.name} is not as planned"
        yield from _check_result(scenario, shard.options)


def _check_division(header: StoredHeader, shard: ShardRecord, run: RunRecord) -> Iterator[str]:
    """Yield in what the scenarios of a record are not those of its shard."""
    shards = {selected.name: selected.shard for selected in header.selection}
    own = [selected.name for selected in header.selection if selected.shard == shard.number]
    numbers = (shard.number, *shards.values())
    holds = {
        "it has more shards than a run": shard.total <= MAX_SHARDS,
        "a number is that of no shard": all(1 <= number <= shard.total for number in numbers),
        "a scenario is in it twice": len(shards) == len(header.selection),
        "its selection has another hash": digest_names(shards) == shard.selection,
        "its division has another hash": digest_partition(shards) == shard.partition,
        "its scenarios are not those of its shard": [each.name for each in run.scenarios] == own,
    }
    return (words for words, is_true in holds.items() if not is_true)


def _check_times(run: RunRecord) -> Iterator[str]:
    if run.started_at.tzinfo is None:
        yield "its start has no time zone"
    elif not _EARLIEST <= run.started_at <= _LATEST:
        yield "its start is not between the years 2000 and 2999"
    if not _are_durations([run.seconds]):
        yield "its duration is negative or longer than a year"


def _are_durations(seconds: Iterable[float]) -> bool:
    return all(0 <= each <= _MAX_SECONDS for each in seconds)


def _check_result(scenario: ScenarioRecord, options: str) -> Iterator[str]:
    """Yield in what a result does not follow from its attempts, and these from their ends."""
    name, attempts = scenario.name, scenario.attempts
    is_strict = _are_leaks_failures(scenario, options)
    reported = attempts[find_reported([attempt.outcome for attempt in attempts])]
    if any(attempt.repetition < 1 for attempt in attempts):
        yield f"a repetition of {name} has no number"
    if not all(_follows_from_end(attempt, leaks_fail=is_strict) for attempt in attempts):
        yield f"an attempt at {name} has an outcome that does not follow from its end"
    if scenario.outcome is not _judge(attempts):
        yield f"the outcome of {name} does not follow from its attempts"
    if _select_shown(scenario) != _select_shown(reported):
        yield f"{name} does not show the attempt that counts"
    if not all(_are_durations(_list_durations(attempt)) for attempt in attempts):
        yield f"a time of {name} is negative or longer than a year"


def _judge(attempts: Sequence[AttemptRecord]) -> Outcome:
    repetitions = groupby(attempts, key=lambda attempt: attempt.repetition)
    return judge_attempts([attempt.outcome for attempt in group] for _, group in repetitions)


def _are_leaks_failures(scenario: ScenarioRecord, options: str) -> bool:
    """Return whether a leak makes a scenario fail: by the option, else by its entry."""
    given = options.partition("--leaks ")[2].partition(" ")[0]
    policy = scenario.entry.get("leaks")
    return (given or (policy.get("policy") if isinstance(policy, dict) else "fail")) != "report"


def _follows_from_end(attempt: AttemptRecord, *, leaks_fail: bool) -> bool:
    leaked = leaks_fail and bool(attempt.leaks)
    if attempt.exit_code is not None:
        is_exit = attempt.signal is None
        return is_exit and attempt.outcome is judge(Exited(attempt.exit_code), leaked=leaked)
    if attempt.signal is not None:
        return attempt.outcome is judge(Signaled(0), leaked=leaked)
    return attempt.outcome in _WITHOUT_EXIT


def _select_shown(result: OutcomeRecord) -> tuple[object, ...]:
    return (
        result.reason,
        result.exit_code,
        result.signal,
        result.leaks,
        result.tolerated,
        result.output.size,
        result.output.last_lines,
    )


def _list_durations(attempt: AttemptRecord) -> Iterator[float]:
    yield from (attempt.begun, attempt.waited, attempt.seconds, *attempt.phases.values())
