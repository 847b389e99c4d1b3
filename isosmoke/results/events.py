"""Events that a run emits while it is in progress."""

from isosmoke.dataclass import dataclass
from isosmoke.results.run_results import RunResult, ScenarioResult


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The start of a run, with the selected scenarios and a run that has no results yet."""

    names: tuple[str, ...]
    run: RunResult


@dataclass(frozen=True, slots=True)
class ScenarioStarted:
    """The start of an attempt, before its sandbox is created.

    `attempt` counts from 1; `begun` is as in `Attempt`.
    """

    name: str
    attempt: int
    begun: float = 0.0


@dataclass(frozen=True, slots=True)
class ScenarioFinished:
    """The end of the last attempt at a scenario."""

    result: ScenarioResult


@dataclass(frozen=True, slots=True)
class ScenarioRepeating:
    """The end of a repetition of a scenario that will be repeated again."""

    name: str


@dataclass(frozen=True, slots=True)
class ScenarioPostponed:
    """The failure of a concurrent scenario that will be confirmed by another attempt.

    `result` has the attempts so far.
    """

    result: ScenarioResult

    @property
    def name(self) -> str:
        return self.result.name


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The end of a run, with all results."""

    result: RunResult


LineEvent = RunStarted | ScenarioStarted | ScenarioPostponed | ScenarioFinished | RunFinished
"""The events that an event stream has a line for."""

Event = LineEvent | ScenarioRepeating
