"""Selection of scenarios to rerun: those that failed, were not reached, or are new."""

from collections.abc import Iterable, Sequence

from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_record import RunRecord


def select_failed(scenarios: Iterable[Scenario], past: Sequence[RunRecord]) -> tuple[Scenario, ...]:
    """Return the scenarios that blocked when they were last tried; `past` is newest first."""
    outcomes = ((scenario, _find_last_outcome(scenario, past)) for scenario in scenarios)
    return tuple(
        scenario for scenario, outcome in outcomes if outcome is not None and outcome.blocks
    )


def select_remaining(
    scenarios: Iterable[Scenario], past: Sequence[RunRecord]
) -> tuple[Scenario, ...]:
    """Return the scenarios that blocked when last tried, or were never tried.

    `past` is newest first.
    """
    outcomes = ((scenario, _find_last_outcome(scenario, past)) for scenario in scenarios)
    return tuple(scenario for scenario, outcome in outcomes if outcome is None or outcome.blocks)


def _find_last_outcome(scenario: Scenario, past: Sequence[RunRecord]) -> Outcome | None:
    """Return the outcome in the newest run that tried the scenario, under any of its names."""
    names = {scenario.name, *scenario.aliases}
    records = (record for run in past for record in run.scenarios if record.name in names)
    return next((record.outcome for record in records if record.outcome.facts.was_tried), None)
