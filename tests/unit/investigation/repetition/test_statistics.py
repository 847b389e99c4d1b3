"""Failure rates and their intervals against published values, and summaries of durations."""

from math import sqrt
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.investigation.repetition.statistics import Durations, FailureRate

PUBLISHED = [
    # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in
    # Medicine 17 (1998), table I, method 3.
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


@pytest.mark.parametrize(("failed", "runs", "low", "high"), PUBLISHED)
def test_interval_has_published_bounds(failed: int, runs: int, low: float, high: float) -> None:
    """The bounds are those of Newcombe's comparison of methods, to four digits."""
    rate = FailureRate.measure(failed, runs)

    assert (round(rate.low, 4), round(rate.high, 4)) == (low, high)


@given(st.integers(1, 10**9), st.integers(0, 10**9))
def test_bounds_solve_the_score_equation(runs: int, failed: int) -> None:
    """At each bound p, the share of failures is z standard errors of p away from p."""
    failed = min(failed, runs)
    rate = FailureRate.measure(failed, runs)
    z = NormalDist().inv_cdf(0.975)

    assert 0 <= rate.low <= failed / runs + 1e-6
    assert failed / runs <= rate.high + 1e-6 <= 1 + 1e-6
    for bound in (rate.low, rate.high):
        if 1e-3 < bound < 1 - 1e-3:  # else the rounding to six digits dominates
            error = sqrt(bound * (1 - bound) / runs)
            assert abs(abs(failed / runs - bound) - z * error) < 1e-5


def test_no_run_says_nothing() -> None:
    """Without a run, any rate is possible, and none is stated."""
    rate = FailureRate.measure(0, 0)

    assert (rate.rate, rate.low, rate.high) == (None, 0.0, 1.0)
    assert str(rate) == "no rate"


def test_text_has_rate_and_interval() -> None:
    """The text has few digits."""
    assert str(FailureRate.measure(3, 200)) == "1.5%, 95% interval 0.511% to 4.32%"


def test_percentile_is_a_measured_value() -> None:
    """The 95th percentile of 100 values is the 95th of them; of one value, that value."""
    hundred = Durations.summarize([float(number) for number in range(100, 0, -1)])
    one = Durations.summarize([0.25])

    assert hundred == Durations(min=1, median=50.5, p95=95, max=100)
    assert one == Durations(min=0.25, median=0.25, p95=0.25, max=0.25)
    assert Durations.summarize([]) is None
