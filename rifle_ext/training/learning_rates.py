"""The learning rates of a whole training, known before it from a copy of its scheduler."""

from __future__ import annotations

import bisect
import copy
import math
from itertools import accumulate
from typing import Any, Callable, List, Sequence, Tuple, Union

from paddle.optimizer.lr import LRScheduler, PiecewiseDecay, ReduceOnPlateau

from rifle_ext.errors import RifleError

Rate = Union[float, LRScheduler]
"""What an optimizer has. A scheduler that waits for metrics counts as a constant rate."""


def peak(rate: Rate, total_steps: int, since: int = 0) -> Tuple[float, int]:
    """The highest learning rate of a training, and after how many steps it is first reached.

    Parameters
    ----------
    rate
        Of the optimizer. Of a scheduler a copy is run through the whole training.
    total_steps
        Length of the training in optimizer steps.
    since
        Look at the steps from this one on; at the last one at least.

    Raises
    ------
    RifleError
        If a scheduler cannot be copied, or its copy cannot be told which step it is at.
    """
    try:
        rates = _rates(rate, total_steps)
    except Exception as error:  # whatever a scheduler of the user's own raises
        said = (str(error).strip().splitlines() or [""])[-1].strip()
        raise RifleError(
            "the learning rates of the whole training are needed before it, from a copy of the "
            f"scheduler, and of a {type(rate).__name__} there is none "
            f"({type(error).__name__}: {said})",
            topic="learning-rates",
        ) from error
    since = min(since, total_steps - 1)
    highest = max(rates[since:])
    return highest, rates.index(highest, since)


def foreseen(rate: Rate, total_steps: int) -> List[float]:
    """The learning rate of each step of a training, as far as it can be known before it.

    Parameters
    ----------
    rate, total_steps
        As for `peak`. A scheduler that cannot be copied, or be told which step it is at, counts as
        a constant rate here: a training is not to fail for that.
    """
    try:
        return _rates(rate, total_steps)
    except Exception:  # whatever a scheduler of the user's own raises
        return [float(getattr(rate, "base_lr", 1.0))] * total_steps


def past(rate: Rate, part: float) -> float:
    """The learning rate that a training had when it had done a part of what it has done by now.

    Parameters
    ----------
    rate
        Of the optimizer, as it is now.
    part
        From 0 to 1. A scheduler has been told of as large a part of its steps then, whether it is
        told of those of the optimizer or of epochs.

    Returns
    -------
    float
        The rate as it is now, where a copy of the scheduler does not give that, either: one that
        waits for metrics, or was not brought to where the training is.
    """
    if not isinstance(rate, LRScheduler):
        return float(rate)
    now = float(rate())
    rates = foreseen(rate, max(0, int(rate.last_epoch)) + 1)
    known = math.isclose(rates[-1], now, rel_tol=1e-6)
    return rates[round(part * (len(rates) - 1))] if known else now


def full_rate_steps_left(rates: Sequence[float]) -> Callable[[int], float]:
    """How much learning is left after a step: what as many steps at the peak rate would be.

    Parameters
    ----------
    rates
        Of each step of a training.

    Returns
    -------
    function
        Of the optimizer steps done, from 0 to their number: the sum of the rates of the remaining
        steps over the peak rate.
    """
    highest = max(rates, default=0.0)
    if highest <= 0:
        return lambda step: 0.0
    after = [0.0, *accumulate(reversed(rates))][::-1]
    return lambda step: after[step] / highest


def _rates(rate: Rate, total_steps: int) -> List[float]:
    """The rate of each step, in order."""
    if not isinstance(rate, LRScheduler):
        return [float(rate)] * total_steps
    if isinstance(rate, ReduceOnPlateau):
        return [float(rate.base_lr)] * total_steps
    if type(rate) is PiecewiseDecay:
        # PaddleDetection's has a boundary for every step; Paddle's looks at all of them each time.
        last = len(rate.values) - 1
        pieces = (bisect.bisect_right(rate.boundaries, step) for step in range(total_steps))
        return [float(rate.values[min(piece, last)]) for piece in pieces]
    scheduler: Any = copy.deepcopy(rate)
    scheduler.verbose = False
    scheduler.last_lr = scheduler.base_lr
    rates = []
    for step in range(total_steps):  # each of them: some rates follow from the one before
        scheduler.step(epoch=step)
        rates.append(float(scheduler.last_lr))
    return rates
