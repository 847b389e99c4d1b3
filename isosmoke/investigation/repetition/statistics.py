"""Failure rates with their confidence intervals, and summaries of durations (pure)."""

from collections.abc import Sequence
from math import ceil, sqrt
from statistics import NormalDist, median
from typing import Self

from isosmoke.results.records.document_base import RecordModel

CONFIDENCE = 0.95
"""The confidence level of all intervals."""

_P95 = 0.95
_DIGITS = 6


class FailureRate(RecordModel):
    """A number of failures, and the Wilson score interval of their probability.

    `low` and `high` are its bounds for `CONFIDENCE`, and `rate` is null without any run. Unlike the
    normal approximation, the interval is usable for few runs and for no failure at all.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
    Journal of the American Statistical Association 22 (1927), pages 209 to 212; the formula is in
    the NIST/SEMATECH e-Handbook of Statistical Methods, section 7.2.4.1.
    """

    failed: int
    runs: int
    rate: float | None
    low: float
    high: float

    @classmethod
    def measure(cls, failed: int, runs: int) -> Self:
        """Return the rate of `failed` out of `runs`; without runs, nothing is known about it."""
        if runs == 0:
            return cls(failed=0, runs=0, rate=None, low=0.0, high=1.0)
        low, high = _compute_wilson_interval(failed, runs)
        return cls(
            failed=failed,
            runs=runs,
            rate=round(failed / runs, _DIGITS),
            low=round(low, _DIGITS),
            high=round(high, _DIGITS),
        )

    def __str__(self) -> str:
        """Return the rate and its interval in percent."""
        if self.rate is None:
            return "no rate"
        bounds = f"{format_percent(self.low)} to {format_percent(self.high)}"
        return f"{format_percent(self.rate)}, {CONFIDENCE:.0%} interval {bounds}"


def _compute_wilson_interval(failed: int, runs: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = failed / runs
    denominator = 1 + z**2 / runs
    centre = (share + z**2 / (2 * runs)) / denominator
    margin = z / denominator * sqrt(share * (1 - share) / runs + z**2 / (4 * runs**2))
    # Without failures the lower bound is 0, and without passes the upper one is 1: both exactly.
    low = 0.0 if failed == 0 else max(0.0, centre - margin)
    high = 1.0 if failed == runs else min(1.0, centre + margin)
    return low, high


def format_percent(share: float) -> str:
    """Return a share in percent with at most three digits, such as `1.52%` or `0%`."""
    return f"{share * 100:.3g}%"


class Durations(RecordModel):
    """A summary of durations in seconds; `p95` is the 95th percentile by the nearest rank."""

    min: float
    median: float
    p95: float
    max: float

    @classmethod
    def summarize(cls, seconds: Sequence[float]) -> Self | None:
        """Return the summary of these durations; None if there are none."""
        if not seconds:
            return None
        ranked = sorted(seconds)
        p95 = ranked[ceil(_P95 * len(ranked)) - 1]
        values = (ranked[0], median(ranked), p95, ranked[-1])
        low, middle, high, top = (round(value, 3) for value in values)
        return cls(min=low, median=middle, p95=high, max=top)

    def __str__(self) -> str:
        return (
            f"min {self.min:.2f} s, median {self.median:.2f} s, p95 {self.p95:.2f} s, "
            f"max {self.max:.2f} s"
        )
