"""What past runs leave to be run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.history import rerun
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Exited, Outcome, Stopped
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, ScenarioResult
from support import records, result_factories

PASSED, FAILED, NOT_RUN = (Attempt(ending=one) for one in (Exited(0), Exited(1), Stopped("SIGINT")))
NAMES = ("a", "b", "c")
SCENARIOS = tuple(Scenario(name=name, script="s.sh") for name in NAMES)


def run(**outcomes: Attempt) -> RunRecord:
    """A run with these attempts at scenarios by name."""
    return records.of(*(result_factories.result(one, name=name) for name, one in outcomes.items()))


def names(scenarios: tuple[Scenario, ...]) -> list[str]:
    """What they are called."""
    return [one.name for one in scenarios]


CASES = {
    "never run": ([], [], ["a", "b", "c"]),
    "some failed": ([run(a=PASSED, b=FAILED, c=FAILED)], ["b", "c"], ["b", "c"]),
    "some not run": ([run(a=PASSED, b=FAILED, c=NOT_RUN)], ["b"], ["b", "c"]),
    "new since": ([run(a=PASSED, b=PASSED)], [], ["c"]),
    "mended": ([run(b=PASSED), run(a=PASSED, b=FAILED, c=FAILED)], ["c"], ["c"]),
    "broken again": ([run(a=FAILED), run(a=PASSED, b=PASSED, c=PASSED)], ["a"], ["a"]),
    "stopped on its way": ([run(b=NOT_RUN), run(a=PASSED, b=FAILED, c=PASSED)], ["b"], ["b"]),
    "all passed": ([run(a=PASSED, b=PASSED, c=PASSED)], [], []),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_left_is_what_never_passed_last(case: str) -> None:
    """The newest run that tried a scenario decides; one that was stopped before it decides not."""
    past, failed, left = CASES[case]

    assert names(rerun.failed(SCENARIOS, past)) == failed
    assert names(rerun.left(SCENARIOS, past)) == left


@pytest.mark.parametrize("one", records.every_outcome(), ids=lambda one: str(one.outcome))
def test_what_blocks_failed(one: ScenarioResult) -> None:
    """What does not block is done, a skip and a flaky pass too; what was not run is left."""
    past = [records.of(one)]

    tried = one.outcome is not Outcome.NOT_RUN
    assert bool(rerun.failed([one.scenario], past)) == (one.outcome.blocks and tried)
    assert bool(rerun.left([one.scenario], past)) == one.outcome.blocks


def test_a_scenario_is_known_by_its_old_names() -> None:
    """What was renamed is not new."""
    renamed = Scenario(name="new", script="s.sh", aliases=("a",))

    assert rerun.left([renamed], [run(a=PASSED)]) == ()
    assert rerun.failed([renamed], [run(a=FAILED)]) == (renamed,)


RUNS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([PASSED, FAILED, NOT_RUN]))


@given(st.lists(RUNS, max_size=4))
def test_a_run_of_what_is_left_that_passes_leaves_nothing(runs: list[dict[str, Attempt]]) -> None:
    """However it came to it, running what is left converges."""
    past = [run(**one) for one in runs]
    again = run(**{one.name: PASSED for one in rerun.left(SCENARIOS, past)})

    assert rerun.left(SCENARIOS, [again, *past]) == ()
