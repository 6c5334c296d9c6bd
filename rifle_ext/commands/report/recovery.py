"""How long a training needs until a reset is made good: pure functions of its curves."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Dict, List, Optional, Sequence, Tuple

POINTS = 3
"""Logged losses that are averaged: single ones are those of one batch, or nearly so."""


@dataclass(frozen=True)
class Recovery:
    """What one reset cost, in iterations.

    Attributes
    ----------
    step
        Iterations done before the reset.
    until
        Iterations done when its period ends: the next reset, or the end of what was logged.
    loss, peak
        Training loss before the reset (mean of the last logged ones), and the highest after it.
    loss_back
        Iterations until the loss was as low as before; None if it never was in the period.
    metric
        The last evaluation before the reset; None if there was none.
    metric_back
        Iterations until an evaluation was as good; None if none was in the period.
    """

    step: int
    until: int
    loss: Optional[float]
    peak: Optional[float]
    loss_back: Optional[int]
    metric: Optional[float]
    metric_back: Optional[int]


def recoveries(
    resets: Sequence[int], losses: Dict[int, float], metrics: Dict[int, float]
) -> List[Recovery]:
    """The recovery from each reset.

    Parameters
    ----------
    resets
        Iterations done before each, in order.
    losses, metrics
        By the number of iterations done.
    """
    end = max([*losses, *metrics, *resets], default=0)
    ends = [*resets[1:], end]
    return [_recovery(step, until, losses, metrics) for step, until in zip(resets, ends)]


def _recovery(
    step: int, until: int, losses: Dict[int, float], metrics: Dict[int, float]
) -> Recovery:
    before = [loss for _, loss in _between(losses, 0, step)][-POINTS:]
    after = _between(losses, step, until)
    level = fmean(before) if before else None
    back = None
    if level is not None:
        means = [
            (at, fmean(loss for _, loss in after[max(0, i - POINTS + 1) : i + 1]))
            for i, (at, _) in enumerate(after)
        ]
        # The toolkits log what is over the last iterations: at first those of before the reset.
        top = max(range(len(means)), key=lambda i: means[i][1], default=0)
        back = next((at - step for at, mean in means[top:] if mean <= level), None)
    metric = next((value for _, value in reversed(_between(metrics, 0, step))), None)
    metric_back = None
    if metric is not None:
        better = (at - step for at, value in _between(metrics, step, until) if value >= metric)
        metric_back = next(better, None)
    peak = max((loss for _, loss in after), default=None)
    return Recovery(step, until, level, peak, back, metric, metric_back)


def _between(curve: Dict[int, float], after: int, until: int) -> List[Tuple[int, float]]:
    """The points of a curve with ``after < iteration <= until``, in order."""
    return [(step, curve[step]) for step in sorted(curve) if after < step <= until]
