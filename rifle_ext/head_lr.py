"""A learning rate of its own for the output layers (`head_lr: cyclic`).

Paddle multiplies the optimizer's learning rate by `param.optimize_attr["learning_rate"]` at each
step; that factor is set here so that the product is the wanted rate.
"""

from __future__ import annotations

import copy
from typing import Iterable, Tuple, Union

from paddle import Tensor
from paddle.optimizer import Optimizer
from paddle.optimizer.lr import LRScheduler, ReduceOnPlateau

_FACTOR = "learning_rate"


class HeadLearningRate:
    """Sets the learning rate of some parameters while the others keep the optimizer's.

    Parameters
    ----------
    parameters
        The output layers' parameters. A factor of their own that the model gave them still applies.
    optimizer
        The optimizer that trains them.
    total_steps
        Length of the training in optimizer steps.
    """

    def __init__(
        self, parameters: Iterable[Tensor], optimizer: Optimizer, total_steps: int
    ) -> None:
        self._optimizer = optimizer
        self._peak, self._peak_step = peak(optimizer._learning_rate, total_steps)
        self._own = [(p.optimize_attr, p.optimize_attr[_FACTOR]) for p in parameters]

    def set(self, step: int, fraction: float) -> None:
        """Make the rate of the step after `step` done ones `fraction` of the training's peak rate.

        While the training's own rate still rises towards its peak (a warm-up), that rate stands in
        for the peak. Where the training's rate is exactly 0, so is the head's.
        """
        current = self._optimizer.get_lr()
        wanted = fraction * (current if step < self._peak_step else self._peak)
        for attributes, own in self._own:
            attributes[_FACTOR] = own * wanted / current if current else own

    def restore(self) -> None:
        """Give the parameters their own factors back."""
        for attributes, own in self._own:
            attributes[_FACTOR] = own


def peak(rate: Union[float, LRScheduler], total_steps: int) -> Tuple[float, int]:
    """The highest learning rate of a training, and after how many steps it is first reached.

    Parameters
    ----------
    rate
        What the optimizer has: a number, or a scheduler, of which a copy is run through the whole
        training. One that waits for metrics counts as constant.
    total_steps
        Length of the training in optimizer steps.
    """
    if not isinstance(rate, LRScheduler):
        return float(rate), 0
    if isinstance(rate, ReduceOnPlateau):
        return float(rate.base_lr), 0
    scheduler = copy.deepcopy(rate)
    scheduler.last_lr = scheduler.base_lr
    highest, reached = float("-inf"), 0
    for step in range(total_steps):
        scheduler.step(epoch=step)
        if scheduler.last_lr > highest:
            highest, reached = float(scheduler.last_lr), step
    return highest, reached
