"""The numbers of a run in progress, and the estimate of its rest."""

import pytest

from isosmoke.reports.progress.display import describe_state, format_clock
from isosmoke.reports.progress.standing import Standing
from isosmoke.results.events import (
    RunStarted,
    ScenarioFinished,
    ScenarioPostponed,
    ScenarioRepeating,
    ScenarioStarted,
)
from isosmoke.results.outcome import Exited
from isosmoke.results.run_results import Attempt, ScenarioResult
from support import result_factories

PASSED = Attempt(ending=Exited(0))
FAILED = Attempt(ending=Exited(1), alone=False)


def begin(*names: str, usual: dict[str, float]) -> Standing:
    """Return the standing of a run of these scenarios that started at 100."""
    standing = Standing(usual)
    standing.note(RunStarted(names, result_factories.make_run()), 100.0)
    return standing


def result(name: str, attempt: Attempt) -> ScenarioResult:
    """Return a result with one attempt."""
    return result_factories.make_result(attempt, name=name)


def test_rest_is_shared_by_those_that_run_together() -> None:
    """Two at once halve what is left, and the time that a scenario has run is subtracted."""
    standing = begin("a", "b", "c", usual={"a": 10.0, "b": 10.0, "c": 4.0})

    assert standing.estimate_rest(100.0) == 24.0
    standing.note(ScenarioStarted("a", 1), 100.0)
    standing.note(ScenarioStarted("b", 1), 100.0)
    assert standing.estimate_rest(106.0) == (4.0 + 4.0 + 4.0) / 2


def test_rest_is_not_shorter_than_the_longest() -> None:
    """No scenario is spread over two places."""
    standing = begin("a", "b", usual={"a": 10.0, "b": 1.0})
    standing.note(ScenarioStarted("a", 1), 100.0)
    standing.note(ScenarioStarted("b", 1), 100.0)

    assert standing.estimate_rest(100.0) == 10.0


def test_failures_are_confirmed_alone() -> None:
    """A postponed failure counts, and adds its whole time."""
    standing = begin("a", "b", usual={"a": 10.0, "b": 6.0})
    for name in ("a", "b"):
        standing.note(ScenarioStarted(name, 1), 100.0)
    standing.note(ScenarioPostponed(result("a", FAILED)), 103.0)

    assert standing.unconfirmed == 1
    assert standing.estimate_rest(103.0) == 3.0 + 10.0
    standing.note(ScenarioFinished(result("a", FAILED)), 104.0)
    assert (standing.unconfirmed, standing.failed, standing.done) == (0, 1, 1)


def test_unknown_scenarios_take_the_usual_time_of_the_others() -> None:
    """The median of those that are known; with less than half of them known there is no rest."""
    assert begin("a", "b", usual={"a": 3.0}).estimate_rest(100.0) == 6.0
    assert begin("a", "b", "c", usual={"a": 3.0}).estimate_rest(100.0) is None
    assert begin("a", usual={}).estimate_rest(100.0) is None


def test_overdue_and_finished_runs_have_no_rest() -> None:
    """An estimate of nothing is not shown."""
    standing = begin("a", usual={"a": 3.0})
    standing.note(ScenarioStarted("a", 1), 100.0)

    assert standing.estimate_rest(104.0) is None
    standing.note(ScenarioFinished(result("a", PASSED)), 105.0)
    assert standing.estimate_rest(105.0) is None


def test_repetitions_have_no_rest() -> None:
    """It is not known how often a scenario will be repeated."""
    standing = begin("a", "b", usual={"a": 3.0, "b": 3.0})
    standing.note(ScenarioStarted("a", 1), 100.0)
    standing.note(ScenarioRepeating("a"), 101.0)

    assert standing.running == {}
    assert standing.estimate_rest(101.0) is None


def test_state_begins_with_what_matters_most() -> None:
    """The failures come before the passes, also those that wait for confirmation."""
    standing = begin("a", "b", "c", "d", usual={"d": 65.0})
    standing.note(ScenarioFinished(result("a", PASSED)), 101.0)
    standing.note(ScenarioFinished(result("b", FAILED)), 101.0)
    standing.note(ScenarioPostponed(result("c", FAILED)), 101.0)

    assert describe_state(standing, 134.0) == (
        "2/4  0:34, about 2:10 left  1 FAIL, 1 to confirm, 1 PASS"
    )


def test_state_names_no_end_within_half_a_second() -> None:
    """An end in zero seconds would be wrong at once."""
    standing = begin("a", usual={"a": 3.4})
    standing.note(ScenarioStarted("a", 1), 100.0)

    assert describe_state(standing, 102.5) == "0/1  0:02, about 0:01 left"
    assert describe_state(standing, 103.0) == "0/1  0:03"


@pytest.mark.parametrize(
    ("seconds", "clock"), [(0.2, "0:00"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03")]
)
def test_clock(seconds: float, clock: str) -> None:
    """A duration has minutes and seconds, and hours only if there are any."""
    assert format_clock(seconds) == clock
