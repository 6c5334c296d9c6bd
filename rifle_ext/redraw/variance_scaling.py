"""Variance scaling, an initializer that Paddle lacks."""

from __future__ import annotations

import math
from typing import Any, Optional

from paddle import Tensor, nn

from rifle_ext.runtime.compat import truncated_normal

TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a standard normal distribution cut at two standard deviations."""


class VarianceScaling(nn.initializer.Initializer):
    """Zero mean and variance ``scale / n``.

    As in TensorFlow (`tf.keras.initializers.VarianceScaling`) and JAX, after He et al., "Delving
    Deep into Rectifiers" (2015), section 2.2. It covers LeCun (scale 1, fan_in), Glorot (1,
    fan_avg) and He (2, fan_in).

    Parameters
    ----------
    scale
        Above 0.
    mode
        What n is: 'fan_in', 'fan_out' or 'fan_avg', their mean.
    distribution
        'truncated_normal': cut at two standard deviations, which are widened so that what is left
        has the variance asked for. 'uniform': between ``-sqrt(3 * scale / n)`` and its opposite.
    """

    def __init__(self, scale: float, mode: str, distribution: str) -> None:
        super().__init__()
        self._scale, self._mode, self._distribution = scale, mode, distribution

    def forward(self, var: Tensor, block: Optional[Any] = None) -> Any:
        """Draw `var`, a float tensor of two or more dimensions, in place."""
        fan_in, fan_out = self._compute_fans(var)
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        std = math.sqrt(self._scale / count[self._mode])
        if self._distribution == "uniform":
            bound = math.sqrt(3) * std
            return nn.initializer.Uniform(-bound, bound)(var, block)
        return truncated_normal(0.0, std / TRUNCATED_STD)(var, block)
