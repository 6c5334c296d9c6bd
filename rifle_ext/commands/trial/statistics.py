"""Means, intervals, paired tests and their power over seeds: pure functions, by scipy's means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
from scipy import optimize, stats

LEVEL = 0.95
POWER = 0.8

LEAST = 3
"""Seeds without which nothing is said."""

MOST = 10_000
"""Seeds that are looked for no further."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval (Student's t); NaN for a single value.

    Attributes
    ----------
    mean, low, high
        Of the values.
    """

    mean: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Comparison:
    """An arm against another one, seed by seed.

    Attributes
    ----------
    difference
        Of the metric, arm minus baseline.
    spread
        Standard deviation of the differences.
    p
        Of the paired t-test, two-sided; not corrected for the number of arms.
    wins, seeds
        Seeds in which the arm was better, of how many.
    """

    difference: Estimate
    spread: float
    p: float
    wins: int
    seeds: int

    @property
    def visible(self) -> float:
        """The smallest true difference that so many seeds of this spread would have shown."""
        return smallest_effect(self.spread, self.seeds)


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of values of shape ``(seeds,)`` with its interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, float("nan"), float("nan"))
    if np.ptp(values) == 0:
        return Estimate(mean, mean, mean)
    interval = stats.t.interval(LEVEL, len(values) - 1, loc=mean, scale=stats.sem(values))
    return Estimate(mean, float(interval[0]), float(interval[1]))


def compare(arm: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """Compare values of the same seeds, both of shape ``(seeds,)``."""
    difference = np.subtract(arm, baseline)
    several = len(difference) > 1
    same = not several or bool(np.ptp(difference) < 1e-9)  # no spread: the test knows nothing
    p = float("nan") if same else float(stats.ttest_rel(arm, baseline).pvalue)
    spread = float(np.std(difference, ddof=1)) if several else float("nan")
    wins = int((difference > 0).sum())
    return Comparison(estimate(difference.tolist()), spread, p, wins, len(difference))


def smallest_effect(spread: float, seeds: int) -> float:
    """The true difference that a paired t-test at 5 % finds in 80 % of all trials.

    Parameters
    ----------
    spread
        Standard deviation of the paired differences.
    seeds
        Their number; NaN comes back for fewer than two.
    """
    if seeds < 2 or not spread > 0:
        return float("nan")
    critical = stats.t.ppf(0.5 + LEVEL / 2, seeds - 1)

    def missed(effect: float) -> float:
        return float(stats.nct.cdf(critical, seeds - 1, effect)) - (1 - POWER)

    with np.errstate(all="ignore"):  # scipy's tails underflow
        noncentrality = optimize.brentq(missed, 0.0, 20.0)
    return float(noncentrality) * spread / float(np.sqrt(seeds))


def seeds_needed(effect: float, spread: float) -> int:
    """How many seeds a paired t-test at 5 % needs to find a true difference in 80 % of all trials.

    Parameters
    ----------
    effect
        The difference.
    spread
        Standard deviation of the paired differences.

    Returns
    -------
    int
        At least `LEAST`, at most `MOST`.
    """
    low, high = LEAST, MOST
    if not spread > 0 or power(effect, spread, low) >= POWER:
        return low
    while low < high - 1:
        middle = (low + high) // 2
        enough = power(effect, spread, middle) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def power(effect: float, spread: float, seeds: int) -> float:
    """How often a two-sided paired t-test at 5 % finds a true difference, a fraction.

    Parameters
    ----------
    effect, spread
        The difference, and the standard deviation of the paired differences.
    seeds
        Two or more.
    """
    critical = stats.t.ppf(0.5 + LEVEL / 2, seeds - 1)
    with np.errstate(all="ignore"):  # scipy's tails underflow
        return float(stats.nct.sf(critical, seeds - 1, effect / spread * np.sqrt(seeds)))


def holm(p_values: Sequence[float]) -> Sequence[float]:
    """p-values corrected for their number by Holm's method, in the order given."""
    order = np.argsort(p_values).tolist()
    corrected, highest = np.empty(len(order)), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected.tolist()
