"""Selection of scenarios to rerun: those that failed, were not reached, or are new."""

from collections.abc import Iterable, Mapping, Sequence

from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_record import RunRecord


def select_failed(scenarios: Iterable[Scenario], past: Iterable[RunRecord]) -> tuple[Scenario, ...]:
    """Return the scenarios that blocked when they were last tried; `past` is newest first."""
    outcomes = _find_last_outcomes(scenarios := tuple(scenarios), past)
    return tuple(
        scenario
        for scenario in scenarios
        if scenario.name in outcomes and outcomes[scenario.name].blocks
    )


def select_remaining(
    scenarios: Iterable[Scenario], past: Iterable[RunRecord]
) -> tuple[Scenario, ...]:
    """Return the scenarios that blocked when last tried, or were never tried.

    `past` is newest first.
    """
    outcomes = _find_last_outcomes(scenarios := tuple(scenarios), past)
    return tuple(
        scenario
        for scenario in scenarios
        if scenario.name not in outcomes or outcomes[scenario.name].blocks
    )


def _find_last_outcomes(
    scenarios: Sequence[Scenario], past: Iterable[RunRecord]
) -> Mapping[str, Outcome]:
    """Return the outcome of each scenario in the newest run that tried it, under any of its names.

    No run is requested from `past` after the last outcome is known.
    """
    outcomes: dict[str, Outcome] = {}
    for run in past:
        for scenario in scenarios:
            outcome = _find_outcome(scenario, run)
            if outcome is not None:
                outcomes.setdefault(scenario.name, outcome)
        if len(outcomes) == len(scenarios):
            break
    return outcomes


def _find_outcome(scenario: Scenario, run: RunRecord) -> Outcome | None:
    names = {scenario.name, *scenario.aliases}
    records = (record for record in run.scenarios if record.name in names)
    return next((record.outcome for record in records if record.outcome.facts.was_tried), None)
