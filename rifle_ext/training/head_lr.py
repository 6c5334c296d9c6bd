"""A learning rate of its own for the output layers (`head_lr: cyclic`).

Paddle multiplies the optimizer's learning rate by `param.optimize_attr["learning_rate"]` at each
step; that factor is set here so that the product is the wanted rate.
"""

from __future__ import annotations

from typing import Iterable

from paddle import Tensor
from paddle.optimizer import Optimizer

from rifle_ext.training.learning_rates import peak

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
