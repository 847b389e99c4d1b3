"""The levels of `--status-level`."""

import pytest

from isosmoke.reports.progress.status_level import QUIET, STATUS_LEVELS, is_slow, shows
from isosmoke.results.outcome import Outcome

FIRST = {
    Outcome.FAIL: "fail",
    Outcome.LEAK: "fail",
    Outcome.TIMEOUT: "fail",
    Outcome.ERROR: "fail",
    Outcome.FLAKY: "retry",
    Outcome.PASS: "pass",
    Outcome.SKIP: "skip",
    Outcome.NOT_RUN: "skip",
}


@pytest.mark.parametrize("outcome", Outcome)
def test_each_level_shows_what_those_before_it_show(outcome: Outcome) -> None:
    """Every outcome has a first level, and `none` shows nothing."""
    shown = [level for level in STATUS_LEVELS if shows(level, outcome, slow=False)]

    assert shown == list(STATUS_LEVELS[STATUS_LEVELS.index(FIRST[outcome]) :])
    assert "none" not in shown


def test_slow_pass_is_shown_before_other_passes() -> None:
    """It has its own level; a slow failure remains a failure."""
    assert shows("slow", Outcome.PASS, slow=True)
    assert not shows("slow", Outcome.PASS, slow=False)
    assert not shows("retry", Outcome.PASS, slow=True)
    assert shows("fail", Outcome.FAIL, slow=True)


def test_failure_to_be_confirmed_is_a_retry() -> None:
    """It does not count yet."""
    assert not shows("fail", Outcome.FAIL, slow=False, postponed=True)
    assert shows("retry", Outcome.FAIL, slow=False, postponed=True)


def test_quiet_hides_no_failure_and_no_flaky_scenario() -> None:
    """It folds passes and skips only."""
    hidden = {outcome for outcome in Outcome if not shows(QUIET, outcome, slow=False)}

    assert hidden == {Outcome.PASS, Outcome.SKIP, Outcome.NOT_RUN}


@pytest.mark.parametrize(
    ("seconds", "usual", "slow"),
    [
        (2.0, 1.0, True),
        (1.9, 1.0, False),
        (0.5, 0.1, False),
        (30.0, 16.0, False),
        (9.0, None, False),
    ],
)
def test_slow(seconds: float, usual: float | None, *, slow: bool) -> None:
    """A short scenario is not slow because of a fraction of a second."""
    assert is_slow(seconds, usual) == slow
