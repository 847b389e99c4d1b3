"""The scenario of a sabotaged run (pure)."""

import math
from collections.abc import Mapping

from isosmoke.manifest.models import Leaks, Scenario
from isosmoke.teeth.sabotages import Sabotage

MIN_SECONDS = 30
"""The shortest deadline of a sabotaged run, in seconds; the scenario's own may be shorter."""

_SLOWNESS = 3
"""A sabotaged run may take so many times as long as the honest one."""


def create(scenario: Scenario, sabotage: Sabotage, number: int, *, seconds: float) -> Scenario:
    """Return a scenario with its own name, which its script cannot tell from the real one.

    Its deadline follows from the duration of the honest run, `seconds`. A process that a sabotage
    leaves on purpose is a leak under any policy.
    """
    variables: Mapping[str, str] = {
        "WG_SMOKE_SCENARIO": scenario.name,
        "WG_SMOKE_TIMEOUT_SECS": str(scenario.timeout_seconds),
        **scenario.env,
    }
    deadline = max(MIN_SECONDS, math.ceil(_SLOWNESS * seconds))
    return scenario.change(
        name=f"{scenario.name}.{sabotage}.{number}",
        timeout_seconds=min(scenario.timeout_seconds, deadline),
        retries=0,
        env=variables,
        leaks=Leaks() if sabotage is Sabotage.ORPHAN else scenario.leaks,
    )
