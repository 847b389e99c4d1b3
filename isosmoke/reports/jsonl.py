"""A run as JSON lines, one for each event: written as it happens, or made later from its record.

Both ways give the same lines; later they are in the order of `at`, seconds since the run began.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from isosmoke.results import run_record
from isosmoke.results.events import (
    Event,
    RunFinished,
    RunStarted,
    ScenarioFinished,
    ScenarioPostponed,
    ScenarioStarted,
)
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_record import (
    AttemptRecord,
    Beginning,
    RecordModel,
    RunRecord,
    ScenarioRecord,
    Text,
)


class Line(RecordModel):
    """What every line has: the id of its run, and when it was, in seconds since that began."""

    schema_version: Literal[1] = 1
    run: Text
    at: float


class Start(Line, Beginning):
    """The first line: the run and the names of its scenarios."""

    event: Literal["run_started"] = "run_started"
    scenarios: tuple[str, ...]


class Try(Line):
    """A sandbox for a scenario is about to be made; `attempt` counts from 1."""

    event: Literal["scenario_started"] = "scenario_started"
    scenario: str
    attempt: int


class Postponement(Line):
    """An attempt failed beside others; the scenario will be run again alone."""

    event: Literal["scenario_postponed"] = "scenario_postponed"
    scenario: str
    attempt: int
    outcome: Outcome
    reason: Text


class Result(Line):
    """Nothing more will be tried for a scenario."""

    event: Literal["scenario_finished"] = "scenario_finished"
    scenario: ScenarioRecord


class End(Line):
    """The last line: how the run came out, as its header in the record says it."""

    event: Literal["run_finished"] = "run_finished"
    seconds: float
    stopped: str | None
    notes: tuple[Text, ...]
    dirty: tuple[Text, ...]
    counts: Mapping[str, int]


AnyLine = Start | Try | Postponement | Result | End


def render(run: RunRecord) -> str:
    """The lines of a run; of one without an end there is no last line."""
    between = [line for one in run.scenarios for line in _lines(run.id, one)]
    end = [_end(run)] if run.finished else []
    names = tuple(one.name for one in run.scenarios)
    lines = [_start(run, names), *sorted(between, key=lambda line: line.at), *end]
    return "".join(map(_text, lines))


class Stream:
    """Consumes a run's events and gives away a line for each."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._run = ""

    def __call__(self, event: Event) -> None:
        self._write(_text(self._line(event)))

    def _line(self, event: Event) -> AnyLine:
        match event:
            case RunStarted(names, run):
                beginning = run_record.beginning(run)
                self._run = beginning.id
                return _start(beginning, names)
            case ScenarioStarted(name, attempt, begun):
                return _try(self._run, name, attempt, begun)
            case ScenarioPostponed(result):
                return _postponement(self._run, run_record.scenario(result))
            case ScenarioFinished(result):
                return _result(self._run, run_record.scenario(result))
            case RunFinished(result):
                return _end(run_record.of(result))


def _text(line: AnyLine) -> str:
    """In ASCII: some readers of lines end one at U+2028 or U+0085 too."""
    return f"{json.dumps(line.model_dump(mode='json'), separators=(',', ':'))}\n"


def _lines(run: str, scenario: ScenarioRecord) -> Iterator[AnyLine]:
    for number, one in enumerate(scenario.attempts, start=1):
        if _was_begun(one):
            yield _try(run, scenario.name, number, one.begun)
        if one.postponed:
            so_far = scenario.model_copy(update={"attempts": scenario.attempts[:number]})
            yield _postponement(run, so_far)
    yield _result(run, scenario)


def _was_begun(attempt: AttemptRecord) -> bool:
    """Whether a sandbox was asked for: what was hindered before took no step."""
    facts = attempt.outcome.facts
    return bool(attempt.phases) or (facts.was_tried and not facts.is_skip)


def _start(beginning: Beginning, names: tuple[str, ...]) -> Start:
    fields = {name: getattr(beginning, name) for name in Beginning.model_fields}
    return Start(**fields, run=beginning.id, at=0.0, scenarios=names)


def _try(run: str, name: str, attempt: int, begun: float) -> Try:
    return Try(run=run, at=round(begun, 4), scenario=name, attempt=attempt)


def _postponement(run: str, so_far: ScenarioRecord) -> Postponement:
    last = so_far.attempts[-1]
    return Postponement(
        run=run,
        at=_end_of(last),
        scenario=so_far.name,
        attempt=len(so_far.attempts),
        outcome=last.outcome,
        reason=last.reason,
    )


def _result(run: str, scenario: ScenarioRecord) -> Result:
    return Result(run=run, at=_end_of(scenario.attempts[-1]), scenario=scenario)


def _end_of(attempt: AttemptRecord) -> float:
    return round(attempt.begun + attempt.seconds, 4)


def _end(run: RunRecord) -> End:
    return End(
        run=run.id,
        at=run.seconds,
        seconds=run.seconds,
        stopped=run.stopped,
        notes=run.notes,
        dirty=run.dirty,
        counts=run.counts,
    )
