"""Report as JSON lines, one per event: written during the run, or rendered later from its record.

Both give the same lines. Rendered lines are in the order of `at`, seconds since the start.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from isosmoke.dataclass import dataclass
from isosmoke.results.events import (
    Event,
    LineEvent,
    RunFinished,
    RunStarted,
    ScenarioFinished,
    ScenarioPostponed,
    ScenarioRepeating,
    ScenarioStarted,
)
from isosmoke.results.outcome import Outcome
from isosmoke.results.records import creation
from isosmoke.results.records.attempt import AttemptRecord
from isosmoke.results.records.origin import RepositoryRecord
from isosmoke.results.records.record_base import Record
from isosmoke.results.run_record import Beginning, RunRecord, ScenarioRecord

if TYPE_CHECKING:  # see `isosmoke.results.records.record_base`
    from isosmoke.results.records.document_base import Text


@dataclass(frozen=True, kw_only=True)
class EventLine(Record):
    """The fields of every line; `at` counts seconds since the start of the run."""

    schema_version: Literal[1] = 1
    run: Text
    at: float


@dataclass(frozen=True, kw_only=True)
class Start(EventLine, Beginning):
    """The first line: the run and the names of its scenarios."""

    event: Literal["run_started"] = "run_started"
    scenarios: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Try(EventLine):
    """The start of an attempt, before its sandbox is created; `attempt` counts from 1."""

    event: Literal["scenario_started"] = "scenario_started"
    scenario: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Postponement(EventLine):
    """A failed concurrent attempt, after which the scenario will be run again."""

    event: Literal["scenario_postponed"] = "scenario_postponed"
    scenario: str
    attempt: int
    outcome: Outcome
    reason: Text


@dataclass(frozen=True, kw_only=True)
class Result(EventLine):
    """The final result of a scenario."""

    event: Literal["scenario_finished"] = "scenario_finished"
    scenario: ScenarioRecord


@dataclass(frozen=True, kw_only=True)
class End(EventLine):
    """The last line: the result of the run, as in the header of its record."""

    event: Literal["run_finished"] = "run_finished"
    seconds: float
    stopped: str | None
    notes: tuple[Text, ...]
    dirty: tuple[Text, ...]
    repository: RepositoryRecord | None = None
    counts: Mapping[str, int]


AnyLine = Start | Try | Postponement | Result | End


def render(run: RunRecord) -> str:
    """Return the lines of a run; an unfinished run has no last line."""
    middle = [line for scenario in run.scenarios for line in _create_lines(run.id, scenario)]
    end = [_create_end(run)] if run.finished else []
    names = tuple(scenario.name for scenario in run.scenarios)
    lines = [_create_start(run, names), *sorted(middle, key=lambda line: line.at), *end]
    return "".join(map(_format_line, lines))


class LineFactory:
    """The lines of the events of one run, as models."""

    def __init__(self) -> None:
        self._run = ""

    def create_consumer(self, take: Callable[[AnyLine], object]) -> Callable[[Event], None]:
        """Return a consumer of the run's events that calls `take` with the line of each."""

        def consume(event: Event) -> None:
            if not isinstance(event, ScenarioRepeating):  # the next line says that it starts again
                take(self._create_line(event))

        return consume

    def _create_line(self, event: LineEvent) -> AnyLine:
        match event:
            case RunStarted(names, run):
                beginning = creation.record_beginning(run)
                self._run = beginning.id
                return _create_start(beginning, names)
            case ScenarioStarted(name, attempt, start):
                return _create_try(self._run, name, attempt, start)
            case ScenarioPostponed(result):
                return _create_postponement(self._run, creation.record_scenario(result))
            case ScenarioFinished(result):
                return _create_result(self._run, creation.record_scenario(result))
            case RunFinished(result):
                return _create_end(creation.record_problems(result))


def write_events(write: Callable[[str], object]) -> Callable[[Event], None]:
    """Return a consumer of a run's events that writes one line for each."""
    return LineFactory().create_consumer(lambda line: write(_format_line(line)))


def _format_line(line: AnyLine) -> str:
    """Return the line in ASCII, because some readers also split lines at U+2028 or U+0085."""
    return f"{json.dumps(line.to_json(), separators=(',', ':'))}\n"


def _create_lines(run: str, scenario: ScenarioRecord) -> Iterator[AnyLine]:
    for number, attempt in enumerate(scenario.attempts, start=1):
        if _was_started(attempt):
            yield _create_try(run, scenario.name, number, attempt.begun)
        if attempt.postponed:
            partial = replace(scenario, attempts=scenario.attempts[:number])
            yield _create_postponement(run, partial)
    yield _create_result(run, scenario)


def _was_started(attempt: AttemptRecord) -> bool:
    """Return whether a sandbox was requested; without its requirements, an attempt has no phase."""
    facts = attempt.outcome.facts
    return bool(attempt.phases) or (facts.was_tried and not facts.is_skip)


def _create_start(beginning: Beginning, names: tuple[str, ...]) -> Start:
    fields = {name: getattr(beginning, name) for name in Beginning.__dataclass_fields__}
    return Start(**fields, run=beginning.id, at=0.0, scenarios=names)


def _create_try(run: str, name: str, attempt: int, start: float) -> Try:
    return Try(run=run, at=round(start, 4), scenario=name, attempt=attempt)


def _create_postponement(run: str, partial: ScenarioRecord) -> Postponement:
    last = partial.attempts[-1]
    return Postponement(
        run=run,
        at=_find_end(last),
        scenario=partial.name,
        attempt=len(partial.attempts),
        outcome=last.outcome,
        reason=last.reason,
    )


def _create_result(run: str, scenario: ScenarioRecord) -> Result:
    return Result(run=run, at=_find_end(scenario.attempts[-1]), scenario=scenario)


def _find_end(attempt: AttemptRecord) -> float:
    return round(attempt.begun + attempt.seconds, 4)


def _create_end(run: RunRecord) -> End:
    return End(
        run=run.id,
        at=run.seconds,
        seconds=run.seconds,
        stopped=run.stopped,
        notes=run.notes,
        dirty=run.dirty,
        repository=run.repository,
        counts=run.counts,
    )
