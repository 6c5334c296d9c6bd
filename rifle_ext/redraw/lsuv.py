"""Weights scaled to unit output variance on a batch of the training.

Mishkin and Matas, "All you need is a good init", ICLR 2016 (LSUV): orthonormal weights (Saxe et al.
2013), then divided by the standard deviation of the layer's output on a mini-batch. The paper
repeats that until the variance is near 1; for a layer that is linear in its weights once is enough.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Mapping, Sequence

import paddle
from paddle import Tensor, nn

Finish = Callable[[str, Tensor, float], None]
"""Called with a weight's name, its new value and the factor, once that is known."""


LEAST = 1e-8
"""The smallest variance that a weight is scaled by: below it a batch is all alike, but for what
rounding makes of it."""


class Calibration:
    """Scales the weights of some layers when the first training batch comes through them.

    That is the forward pass that follows: it already computes with the scaled weights. With several
    processes the variance is the mean of theirs, so that all of them have the same weights. A batch
    whose outputs have no variance to speak of (all alike, a single value), or none that is finite,
    is let through, and the weight waits for the next one.

    Parameters
    ----------
    layers
        The layers by the names of their weights; the weight is their attribute `weight`.
    variance
        Wanted of each layer's output.
    finish
        What else has to know.
    """

    def __init__(self, layers: Mapping[str, nn.Layer], variance: float, finish: Finish) -> None:
        self._variance, self._finish = variance, finish
        self.waiting: Dict[str, Any] = {}
        for name, layer in layers.items():
            hook = self._hook(name)
            self.waiting[name] = layer.register_forward_pre_hook(hook)

    def end(self) -> List[str]:
        """Wait no longer; the names of the weights that no batch has scaled."""
        left = list(self.waiting)
        for handle in self.waiting.values():
            handle.remove()
        self.waiting.clear()
        return left

    def _hook(self, name: str) -> Callable[[nn.Layer, Any], None]:
        def before_forward(layer: nn.Layer, inputs: Any) -> None:
            if not layer.training or not inputs or name not in self.waiting:
                return
            with paddle.no_grad():
                variance = _output_variance(layer, inputs)
                if not LEAST <= variance < math.inf:  # nor if it is no number
                    return
                self.waiting.pop(name).remove()
                factor = (self._variance / variance) ** 0.5
                value = layer.weight * factor
                layer.weight.set_value(value)
                self._finish(name, value, factor)

        return before_forward


def _output_variance(layer: nn.Layer, inputs: Any) -> float:
    """Of what the layer makes of a batch, over all processes: the same number in each."""
    variance = layer.forward(*inputs).astype("float32").var()
    processes = paddle.distributed.get_world_size()
    if processes > 1:
        paddle.distributed.all_reduce(variance)
        variance = variance / processes
    return float(variance)


def uncalibrated(names: Sequence[str]) -> str:
    """What to say of weights that no batch has scaled."""
    return (
        f"{', '.join(names)}: no batch came through as through a layer that gave outputs of a "
        f"finite variance of at least {LEAST:g}, so LSUV left the weights orthonormal"
    )
