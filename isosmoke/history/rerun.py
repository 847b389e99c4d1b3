"""What runs of the past leave to be run: what failed, what they never came to, and what is new."""

from collections.abc import Iterable, Sequence

from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_record import RunRecord


def failed(scenarios: Iterable[Scenario], past: Sequence[RunRecord]) -> tuple[Scenario, ...]:
    """Those that blocked when they were last tried; `past` is newest first."""
    outcomes = ((one, _last(one, past)) for one in scenarios)
    return tuple(one for one, outcome in outcomes if outcome is not None and outcome.blocks)


def left(scenarios: Iterable[Scenario], past: Sequence[RunRecord]) -> tuple[Scenario, ...]:
    """Those that blocked when they were last tried, or never were; `past` is newest first."""
    outcomes = ((one, _last(one, past)) for one in scenarios)
    return tuple(one for one, outcome in outcomes if outcome is None or outcome.blocks)


def _last(scenario: Scenario, past: Sequence[RunRecord]) -> Outcome | None:
    """Its outcome in the newest run that tried it, under any name that it ever had."""
    names = {scenario.name, *scenario.aliases}
    told = (one for run in past for one in run.scenarios if one.name in names)
    return next((one.outcome for one in told if one.outcome.facts.was_tried), None)
