"""The learning rates of a whole training, known before it from a copy of its scheduler."""

from __future__ import annotations

import bisect
import copy
from itertools import accumulate
from typing import Callable, Iterator, Sequence, Tuple, Union

from paddle.optimizer.lr import LRScheduler, ReduceOnPlateau

Rate = Union[float, LRScheduler]
"""What an optimizer has. A scheduler that waits for metrics counts as a constant rate."""

SAMPLES = 1000
"""Steps of a training at which its rate is looked at, for sums over it."""


def peak(rate: Rate, total_steps: int) -> Tuple[float, int]:
    """The highest learning rate of a training, and after how many steps it is first reached.

    Parameters
    ----------
    rate
        Of the optimizer. Of a scheduler a copy is run through the whole training.
    total_steps
        Length of the training in optimizer steps.
    """
    highest, reached = float("-inf"), 0
    for step, value in enumerate(_rates(rate, range(total_steps))):
        if value > highest:
            highest, reached = value, step
    return highest, reached


def full_rate_steps_left(rate: Rate, total_steps: int) -> Callable[[int], float]:
    """How much learning is left after a step: what as many steps at the peak rate would be.

    Parameters
    ----------
    rate, total_steps
        As for `peak`.

    Returns
    -------
    function
        Of the optimizer steps done, from 0 to `total_steps`: the sum of the rates of the remaining
        steps over the peak rate.
    """
    bounds = sorted({round(i * total_steps / SAMPLES) for i in range(SAMPLES + 1)})
    values = list(_rates(rate, bounds[:-1]))
    highest = max(values, default=0.0)
    if highest <= 0:
        return lambda step: 0.0
    shares = [value / highest for value in values]
    parts = [share * (end - start) for share, start, end in zip(shares, bounds, bounds[1:])]
    after = [0.0, *accumulate(reversed(parts))][::-1]  # from each of the bounds to the end

    def left(step: int) -> float:
        index = min(bisect.bisect_right(bounds, step), len(shares)) - 1
        return after[index + 1] + shares[index] * (bounds[index + 1] - step)

    return left


def _rates(rate: Rate, steps: Sequence[int]) -> Iterator[float]:
    """The rate of each of these steps, in order."""
    if not isinstance(rate, LRScheduler) or isinstance(rate, ReduceOnPlateau):
        constant = rate.base_lr if isinstance(rate, LRScheduler) else rate
        yield from [float(constant)] * len(steps)
        return
    scheduler = copy.deepcopy(rate)
    scheduler.last_lr = scheduler.base_lr
    for step in steps:
        scheduler.step(epoch=step)
        yield float(scheduler.last_lr)
