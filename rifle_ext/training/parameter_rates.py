"""Learning rates of their own for some parameters.

Paddle multiplies the optimizer's learning rate by `param.optimize_attr["learning_rate"]` at each
step; that factor is set here. A factor that the model gave a parameter still applies, and so do
those of several methods that set the rate of one parameter: they are multiplied.
"""

from __future__ import annotations

import math
import weakref
from typing import Any, Dict, Iterable

from paddle import Tensor
from paddle.optimizer import Optimizer

_FACTOR = "learning_rate"


class _Factors:
    """What multiplies the rate of one parameter: its own factor, and one of each who sets it."""

    def __init__(self, parameter: Tensor) -> None:
        self._parameter = parameter  # kept alive: it is known by its id
        self._own = parameter.optimize_attr[_FACTOR]
        self._set: Dict[object, float] = {}

    def multiply(self, by: object, factor: float) -> None:
        """Set the factor of one of those who set it; 1 is as if it had set none."""
        if not self._set:
            self._own = self._parameter.optimize_attr[_FACTOR]
        self._set[by] = factor
        if factor == 1.0:
            del self._set[by]
        self._parameter.optimize_attr[_FACTOR] = self._own * math.prod(self._set.values())


_FACTORS: "weakref.WeakValueDictionary[int, _Factors]" = weakref.WeakValueDictionary()
"""Of all parameters whose rate anyone sets, by the parameter's id."""


class ParameterRates:
    """Sets the learning rate of some parameters while the others keep the optimizer's.

    Several may set those of the same parameters, in any order.

    Parameters
    ----------
    parameters
        Those whose rate is set.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._factors = [_FACTORS.setdefault(id(p), _Factors(p)) for p in parameters]
        self._now, self._key = 1.0, object()

    def multiply(self, factor: float) -> None:
        """Make the rate `factor` times what it would be."""
        if factor == self._now:
            return
        self._now = factor
        for factors in self._factors:
            factors.multiply(self._key, factor)

    def restore(self) -> None:
        """Give the parameters their own rates back."""
        self.multiply(1.0)


class SharedRates:
    """Lets an optimizer compute each different learning rate of a step once.

    Paddle computes it for each parameter anew, which takes as long as a small update itself. The
    values are the same, bit for bit.

    Parameters
    ----------
    optimizer
        Any; one that computes its rates otherwise is left alone.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer: Any = optimizer
        self._known: Dict[float, Tensor] = {}
        self._shares = hasattr(optimizer, "_create_param_lr")
        if self._shares:
            original = optimizer._create_param_lr

            def shared(param_and_grad: Any) -> Any:
                factor = param_and_grad[0].optimize_attr[_FACTOR]
                if not isinstance(factor, float):
                    return original(param_and_grad)
                if factor not in self._known:
                    self._known[factor] = original(param_and_grad)
                return self._known[factor]

            self._optimizer._create_param_lr = shared

    def next_step(self) -> None:
        """Before each step: the optimizer's own rate may be another."""
        self._known.clear()

    def restore(self) -> None:
        """Let the optimizer compute them as ever."""
        if self._shares:
            del self._optimizer._create_param_lr
            self._shares = False


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
