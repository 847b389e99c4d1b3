"""Selection of scenarios to rerun."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.history import rerun
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Exited, Outcome, Stopped
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, ScenarioResult
from support import records, result_factories

PASSED, FAILED, NOT_RUN = (
    Attempt(ending=ending) for ending in (Exited(0), Exited(1), Stopped("SIGINT"))
)
NAMES = ("a", "b", "c")
SCENARIOS = tuple(Scenario(name=name, script="s.sh") for name in NAMES)


def create_run(**attempts: Attempt) -> RunRecord:
    """Return a run with these attempts, by scenario name."""
    return records.make_record(
        *(result_factories.make_result(attempt, name=name) for name, attempt in attempts.items())
    )


def list_names(scenarios: tuple[Scenario, ...]) -> list[str]:
    """Return the names of the scenarios."""
    return [scenario.name for scenario in scenarios]


CASES = {
    "never run": ([], [], ["a", "b", "c"]),
    "some failed": ([create_run(a=PASSED, b=FAILED, c=FAILED)], ["b", "c"], ["b", "c"]),
    "some not run": ([create_run(a=PASSED, b=FAILED, c=NOT_RUN)], ["b"], ["b", "c"]),
    "new since": ([create_run(a=PASSED, b=PASSED)], [], ["c"]),
    "fixed": ([create_run(b=PASSED), create_run(a=PASSED, b=FAILED, c=FAILED)], ["c"], ["c"]),
    "broken again": (
        [create_run(a=FAILED), create_run(a=PASSED, b=PASSED, c=PASSED)],
        ["a"],
        ["a"],
    ),
    "stopped midway": (
        [create_run(b=NOT_RUN), create_run(a=PASSED, b=FAILED, c=PASSED)],
        ["b"],
        ["b"],
    ),
    "all passed": ([create_run(a=PASSED, b=PASSED, c=PASSED)], [], []),
}


@pytest.mark.parametrize("case", CASES)
def test_last_outcome_decides_selection(case: str) -> None:
    """The newest run that tried a scenario decides; runs stopped before it do not count."""
    past, failed, remaining = CASES[case]

    assert list_names(rerun.select_failed(SCENARIOS, past)) == failed
    assert list_names(rerun.select_remaining(SCENARIOS, past)) == remaining


@pytest.mark.parametrize(
    "result", records.make_every_outcome(), ids=lambda result: str(result.outcome)
)
def test_blocking_outcome_is_selected(result: ScenarioResult) -> None:
    """A skip or a flaky pass does not block; a scenario that was not run remains."""
    past = [records.make_record(result)]

    tried = result.outcome is not Outcome.NOT_RUN
    assert bool(rerun.select_failed([result.scenario], past)) == (result.outcome.blocks and tried)
    assert bool(rerun.select_remaining([result.scenario], past)) == result.outcome.blocks


def test_scenario_is_found_by_former_names() -> None:
    """A renamed scenario is not new."""
    renamed = Scenario(name="new", script="s.sh", aliases=("a",))

    assert rerun.select_remaining([renamed], [create_run(a=PASSED)]) == ()
    assert rerun.select_failed([renamed], [create_run(a=FAILED)]) == (renamed,)


RUNS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([PASSED, FAILED, NOT_RUN]))


@given(st.lists(RUNS, max_size=4))
def test_passing_rerun_leaves_nothing_to_rerun(runs: list[dict[str, Attempt]]) -> None:
    """From any history, rerunning the remaining scenarios converges."""
    past = [create_run(**attempts) for attempts in runs]
    again = create_run(
        **{scenario.name: PASSED for scenario in rerun.select_remaining(SCENARIOS, past)}
    )

    assert rerun.select_remaining(SCENARIOS, [again, *past]) == ()
