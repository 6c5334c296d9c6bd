"""A learning rate of its own for the output layers (`head_lr: cyclic`).

Paddle multiplies the optimizer's learning rate by `param.optimize_attr["learning_rate"]` at each
step; that factor is set here so that the product is the wanted rate.
"""

from __future__ import annotations

import bisect
from typing import Iterable

from paddle import Tensor
from paddle.optimizer import Optimizer
from paddle.optimizer.lr import LinearWarmup, LRScheduler, PiecewiseDecay

_FACTOR = "learning_rate"


class HeadLearningRate:
    """Sets the learning rate of some parameters while the others keep the optimizer's.

    Parameters
    ----------
    parameters
        The output layers' parameters. A factor of their own that the model gave them still applies.
    optimizer
        The optimizer that trains them.
    """

    def __init__(self, parameters: Iterable[Tensor], optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._own = [(p.optimize_attr, p.optimize_attr[_FACTOR]) for p in parameters]

    def set(self, fraction: float) -> float:
        """Make the rate of the next step `fraction` of the peak; returns that rate.

        The peak is the learning rate the training is configured with; while a warm-up lasts, the
        rate that the warm-up has reached.
        """
        current = self._optimizer.get_lr()
        wanted = fraction * _peak(self._optimizer._learning_rate, current)
        for attributes, own in self._own:
            attributes[_FACTOR] = own * wanted / current if current else own
        return wanted

    def restore(self) -> None:
        """Give the parameters their own factors back."""
        for attributes, own in self._own:
            attributes[_FACTOR] = own


def _peak(rate: object, current: float) -> float:
    """The highest rate of the training's schedule; `current` while a warm-up rises towards it."""
    if isinstance(rate, LinearWarmup):
        warm = rate.last_epoch >= rate.warmup_steps
        return _peak(rate.learning_rate, current) if warm else current
    if isinstance(rate, PiecewiseDecay):
        # It has no base rate; PaddleDetection writes its warm-up into the values, too.
        peak = max(rate.values)
        rising = bisect.bisect_right(rate.boundaries, rate.last_epoch) < rate.values.index(peak)
        return current if rising else float(peak)
    if isinstance(rate, LRScheduler):
        return float(rate.base_lr)
    return float(rate)  # type: ignore[arg-type]
