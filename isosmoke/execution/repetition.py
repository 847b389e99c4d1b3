"""Repetitions of the same scenarios in one run, whose results are added up."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from isosmoke.dataclass import dataclass
from isosmoke.execution.scheduler import Policy
from isosmoke.results.run_results import ScenarioResult


@dataclass(frozen=True, slots=True)
class RunRepetition:
    """One of several repetitions of the same scenarios, with the results of those before."""

    number: int
    results: tuple[ScenarioResult, ...]
    is_last: bool

    @property
    def made(self) -> Mapping[str, int]:
        """The number of attempts at each scenario so far."""
        return {result.name: len(result.attempts) for result in self.results}

    def add(self, result: ScenarioResult) -> ScenarioResult:
        """Return a result of this repetition together with those before."""
        before = next((item for item in self.results if item.name == result.name), None)
        return before.add_repetition(self.number, result.attempts) if before else result


def subtract_failures(policy: Policy, results: Sequence[ScenarioResult]) -> Policy:
    """Return the policy for what follows these results."""
    if policy.max_fail is None:
        return policy
    return replace(
        policy, max_fail=max(0, policy.max_fail - sum(result.failures for result in results))
    )
