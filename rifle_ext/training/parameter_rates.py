"""Learning rates of their own for some parameters.

Paddle multiplies the optimizer's learning rate by `param.optimize_attr["learning_rate"]` at each
step; that factor is set here. A factor that the model gave a parameter still applies.
"""

from __future__ import annotations

from typing import Iterable

from paddle import Tensor
from paddle.optimizer import Optimizer

_FACTOR = "learning_rate"


class ParameterRates:
    """Sets the learning rate of some parameters while the others keep the optimizer's.

    Parameters
    ----------
    parameters
        Those whose rate is set.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._own = [(p.optimize_attr, p.optimize_attr[_FACTOR]) for p in parameters]
        self._now = 1.0

    def multiply(self, factor: float) -> None:
        """Make the rate `factor` times what it would be."""
        if factor == self._now:
            return
        self._now = factor
        for attributes, own in self._own:
            attributes[_FACTOR] = own * factor

    def restore(self) -> None:
        """Give the parameters their own rates back."""
        self.multiply(1.0)


class CyclicRate:
    """What makes a rate follow a cosine of its own, whatever the training's schedule does.

    Parameters
    ----------
    optimizer
        The optimizer, whose rate has a peak.
    highest, highest_step
        That rate, and after how many steps it is first reached (`learning_rates.peak`).
    """

    def __init__(self, optimizer: Optimizer, highest: float, highest_step: int) -> None:
        self._optimizer, self._peak, self._peak_step = optimizer, highest, highest_step

    def factor(self, step: int, fraction: float) -> float:
        """What makes the rate after `step` done steps `fraction` of the training's peak rate.

        While the training's own rate still rises towards its peak (a warm-up), that rate stands in
        for the peak. Where the training's rate is exactly 0, the factor is 1, and the rate is 0.
        """
        current = self._optimizer.get_lr()
        wanted = fraction * (current if step < self._peak_step else self._peak)
        return wanted / current if current else 1.0
