"""Failure rates of scenarios over the records of past runs (pure).

Attempts are counted together only if they had the same binary and the same script, because a rate
over different programs says nothing about any of them.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import field
from datetime import datetime
from typing import Literal

from isosmoke.dataclass import dataclass
from isosmoke.investigation.repetition.statistics import FailureRate
from isosmoke.results.outcome import HARD_ERROR_CODE, Outcome
from isosmoke.results.records.attempt import AttemptRecord
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.results.run_record import RunRecord
from isosmoke.text import shorten

_REASONS = 3


class ReasonCount(RecordModel):
    """A reason for failures, and how many attempts failed for it."""

    outcome: Outcome
    reason: Text
    count: int


class ScenarioRate(RecordModel):
    """The attempts at a scenario with one binary and one script, in the recorded runs.

    `binary_sha256` is null for runs without a binary. `alone` counts attempts that had no other
    scenario next to them, `together` the others. `runs` is the number of runs, the `first` and the
    `last` of which began then. `reasons` are the most frequent ones. `is_flaky` is true if some
    attempts passed and some failed.
    """

    name: str
    binary_sha256: str | None
    script_sha256: str
    is_flaky: bool
    rate: FailureRate
    alone: FailureRate
    together: FailureRate
    runs: int
    first: datetime
    last: datetime
    reasons: tuple[ReasonCount, ...]


class FlakyDocument(RecordModel):
    """The output of `isosmoke flaky --json`: the flaky scenarios first, by their failures.

    `uncounted` is the number of attempts without a known script, in records of former versions.
    Skips, interrupted attempts and engine failures are not counted anywhere.
    """

    schema_version: Literal[1] = 1
    scenarios: tuple[ScenarioRate, ...]
    uncounted: int


@dataclass(slots=True)
class _Count:
    """The attempts with equal inputs, as (alone, failed) and their number."""

    attempts: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    reasons: Counter[tuple[Outcome, str]] = field(default_factory=Counter)
    runs: dict[str, datetime] = field(default_factory=dict)

    def add(self, run: RunRecord, attempt: AttemptRecord) -> None:
        self.attempts[attempt.alone, attempt.outcome.blocks] += 1
        self.runs[run.id] = run.started_at
        if attempt.outcome.blocks:
            self.reasons[attempt.outcome, shorten(attempt.reason)] += 1

    def measure(self, alone: Collection[bool]) -> FailureRate:
        """Return the rate of the attempts that were alone, or not, as in `alone`."""
        failed = sum(self.attempts[item, True] for item in alone)
        return FailureRate.measure(
            failed, failed + sum(self.attempts[item, False] for item in alone)
        )


def measure_rates(runs: Iterable[RunRecord], is_selected: Callable[[str], bool]) -> FlakyDocument:
    """Return the rates of all scenarios whose name is selected; runs of commands have none."""
    counts: dict[tuple[str, str | None, str], _Count] = {}
    uncounted = 0
    for run in runs:
        for name, attempt in _list_attempts(run, is_selected):
            if attempt.script_sha256 is None:
                uncounted += 1
                continue
            key = (name, run.binary.sha256 if run.binary else None, attempt.script_sha256)
            counts.setdefault(key, _Count()).add(run, attempt)
    rates = [_describe(*key, count) for key, count in counts.items()]
    rates.sort(key=lambda rate: (not rate.is_flaky, -rate.rate.failed, rate.name))
    return FlakyDocument(scenarios=tuple(rates), uncounted=uncounted)


def _list_attempts(
    run: RunRecord, is_selected: Callable[[str], bool]
) -> Iterator[tuple[str, AttemptRecord]]:
    """Yield the attempts of a run that passed or failed."""
    if run.command:
        return
    for scenario in run.scenarios:
        if is_selected(scenario.name):
            yield from ((scenario.name, attempt) for attempt in scenario.attempts if _ran(attempt))


def _ran(attempt: AttemptRecord) -> bool:
    """Return whether an attempt says something about the scenario."""
    facts = attempt.outcome.facts
    is_broken = attempt.outcome is Outcome.ERROR and attempt.exit_code != HARD_ERROR_CODE
    return facts.was_tried and not facts.is_skip and not is_broken


def _describe(name: str, binary: str | None, script: str, count: _Count) -> ScenarioRate:
    rate = count.measure((True, False))
    return ScenarioRate(
        name=name,
        binary_sha256=binary,
        script_sha256=script,
        is_flaky=0 < rate.failed < rate.runs,
        rate=rate,
        alone=count.measure((True,)),
        together=count.measure((False,)),
        runs=len(count.runs),
        first=min(count.runs.values()),
        last=max(count.runs.values()),
        reasons=tuple(
            ReasonCount(outcome=outcome, reason=reason, count=number)
            for (outcome, reason), number in count.reasons.most_common(_REASONS)
        ),
    )
