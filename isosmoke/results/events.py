"""Events: what a run tells of itself while it goes on."""

from dataclasses import dataclass

from isosmoke.results.run_results import RunResult, ScenarioResult


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The selected scenarios, before the first one starts, and the run, still without results."""

    names: tuple[str, ...]
    run: RunResult


@dataclass(frozen=True, slots=True)
class ScenarioStarted:
    """A scenario's sandbox is about to be made; `attempt` counts from 1, `begun` is its own."""

    name: str
    attempt: int
    begun: float = 0.0


@dataclass(frozen=True, slots=True)
class ScenarioFinished:
    """Nothing more will be tried for this scenario."""

    result: ScenarioResult


@dataclass(frozen=True, slots=True)
class ScenarioPostponed:
    """It failed beside others and will be confirmed alone; this is what is known of it so far."""

    result: ScenarioResult

    @property
    def name(self) -> str:
        return self.result.name


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Everything is known."""

    result: RunResult


Event = RunStarted | ScenarioStarted | ScenarioPostponed | ScenarioFinished | RunFinished
