"""Means, intervals and paired tests over seeds: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes
    ----------
    mean
        Of the values.
    half
        Half the width of its 95 % interval (Student's t); NaN for a single value.
    """

    mean: float
    half: float


@dataclass(frozen=True)
class Comparison:
    """An arm against another one, seed by seed.

    Attributes
    ----------
    difference
        Of the metric, arm minus baseline.
    p
        Of the paired t-test, two-sided; not corrected for the number of arms.
    wins, seeds
        Seeds in which the arm was better, of how many.
    """

    difference: Estimate
    p: float
    wins: int
    seeds: int


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of values of shape ``(seeds,)`` with its interval."""
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        return Estimate(float(array.mean()), float("nan"))
    error = array.std(ddof=1) / np.sqrt(len(array))
    return Estimate(
        float(array.mean()), float(stats.t.ppf(0.5 + LEVEL / 2, len(array) - 1) * error)
    )


def compare(arm: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """Compare values of the same seeds, both of shape ``(seeds,)``."""
    difference = [a - b for a, b in zip(arm, baseline)]
    same = bool(np.ptp(difference) < 1e-9)  # no spread: the test knows nothing
    p = float("nan") if same else float(stats.ttest_rel(arm, baseline).pvalue)
    return Comparison(estimate(difference), p, sum(d > 0 for d in difference), len(difference))


def holm(p_values: Sequence[float]) -> Sequence[float]:
    """p-values corrected for their number by Holm's method, in the order given."""
    order = np.argsort(p_values)
    corrected, highest = np.empty(len(order)), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected.tolist()
