"""The exit code of a run, from its outcomes."""

from collections.abc import Sequence
from typing import Protocol

from isosmoke.errors import ExitCode
from isosmoke.results.outcome import Outcome


class JudgedScenario(Protocol):
    """The properties of a scenario's result, or of its record, that decide the exit code."""

    @property
    def outcome(self) -> Outcome:
        """The outcome of the scenario."""

    @property
    def is_infrastructure(self) -> bool:
        """True if the engine failed in every attempt, so that the scenario was not tested."""


class JudgedRun(Protocol):
    """The properties of a run's result, or of its record, that decide the exit code."""

    @property
    def stopped(self) -> str | None:
        """The signal that cut the run short; empty or None if there was none."""

    @property
    def scenarios(self) -> Sequence[JudgedScenario]:
        """The results of the scenarios."""

    @property
    def dirty(self) -> Sequence[str]:
        """The items whose removal could not be confirmed."""

    @property
    def shard(self) -> object | None:
        """The shard that the run is, which may be empty; None for a whole run."""


def select_exit_code(run: JudgedRun) -> ExitCode:
    """Return the exit code of a run."""
    if run.stopped:
        return ExitCode.for_signal(run.stopped)
    blocking = [scenario for scenario in run.scenarios if scenario.outcome.blocks]
    if blocking:
        is_broken = all(scenario.is_infrastructure for scenario in blocking)
        return ExitCode.INFRASTRUCTURE if is_broken else ExitCode.BLOCKED
    if run.dirty:
        return ExitCode.INFRASTRUCTURE
    if not run.scenarios and run.shard is not None:
        return ExitCode.OK
    is_skipped = all(scenario.outcome.facts.is_skip for scenario in run.scenarios)
    return ExitCode.ALL_SKIPPED if is_skipped else ExitCode.OK
