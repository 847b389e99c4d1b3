"""Sabotaged runs: their scenarios, and the plans of their stand-ins."""

from isosmoke.gate.proofs.teeth_cells import Sabotage
from isosmoke.manifest.models import Allowance, Leaks, Scenario
from isosmoke.teeth import sabotaged_runs

REAL = Scenario(
    name="real", script="x.sh", timeout_seconds=90, retries=2, leaks=Leaks(policy="report")
)


def test_script_sees_the_name_and_the_deadline_of_the_real_scenario() -> None:
    """The variables of the script are those of the real scenario; it runs only once."""
    made = sabotaged_runs.create_scenario(REAL, Sabotage.LIE, 3, seconds=1.0)

    assert made.name != "real"
    assert dict(made.env) == {"WG_SMOKE_SCENARIO": "real", "WG_SMOKE_TIMEOUT_SECS": "90"}
    assert (made.retries, made.leaks) == (0, REAL.leaks)


def test_deadline_follows_from_the_honest_run() -> None:
    """It is three times its duration, at least half a minute, and never above the scenario's."""
    deadlines = [
        sabotaged_runs.create_scenario(REAL, Sabotage.LIE, 0, seconds=seconds).timeout_seconds
        for seconds in (1.0, 15.5, 80.0)
    ]

    assert deadlines == [30, 47, 90]


def test_left_process_is_a_leak_under_any_policy() -> None:
    """The self-test of leaks does not depend on the policy of the scenario."""
    assert sabotaged_runs.create_scenario(REAL, Sabotage.ORPHAN, 0, seconds=1.0).leaks == Leaks()


def test_stand_in_may_outlive_what_allows_a_process() -> None:
    """It lives as long as an allowed daemon that holds its output, which is the leak to judge."""
    daemon = Allowance(command="daemon", reason="it ends by itself")
    allowing = REAL.change(leaks=Leaks(allow=(daemon,)))

    for scenario, count in ((allowing, 2), (REAL, 0)):
        made = sabotaged_runs.create_scenario(scenario, Sabotage.LIE, 0, seconds=1.0)
        assert len(made.leaks.allow) == count
