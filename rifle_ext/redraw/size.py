"""The size of fresh weights: small enough that a head begins near what its biases alone would give.

A head drawn at unit output variance, or above, begins at a loss far above that of an even guess,
and an adaptive optimizer, which moves a weight by about the learning rate a step, needs hundreds of
steps to lose that noise again.
"""

from __future__ import annotations

import math
from typing import Dict, Mapping, Sequence, Union

import numpy as np
from paddle import Tensor, nn

from rifle_ext.runtime.isolation import on_cpu
from rifle_ext.runtime.tensors import as_float32

SMALL = 0.1
"""Root mean square of what inputs of unit size give through fresh weights of the default size."""

_TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)


def inputs_of(layer: nn.Layer, shape: Sequence[int]) -> int:
    """How many inputs one output of a layer's weight sums up.

    Parameters
    ----------
    layer
        The layer that owns the weight.
    shape
        Of the weight, two or more dimensions. Of a raw parameter all but its shortest dimension
        count, which is the most that can be.
    """
    if isinstance(layer, nn.Linear):
        return int(shape[0])
    if isinstance(layer, _TRANSPOSED):
        inputs = shape[0] // layer._groups
        return max(1, inputs * math.prod(shape[2:]) // math.prod(layer._stride))
    if isinstance(layer, nn.layer.conv._ConvNd):
        return math.prod(shape[1:])
    return max(1, math.prod(shape) // min(shape))


def root_mean_square(value: Tensor) -> float:
    """Of a tensor's values; 0 for those of fewer than two dimensions and for constants."""
    values = as_float32(value)
    if len(values.shape) < 2 or (values == values.reshape(-1)[0]).all():
        return 0.0
    return math.sqrt(float(np.square(values, dtype=np.float64).mean()))


def resized(
    values: Mapping[str, Tensor], inputs: Mapping[str, int], scale: Union[str, float]
) -> Dict[str, Tensor]:
    """Random weights at another size; constants and tensors of one dimension as they are.

    Parameters
    ----------
    values
        Fresh values, by structured name, on the CPU.
    inputs
        What `inputs_of` gives for each weight; other tensors are left as they are. A table that is
        looked up (`nn.Embedding`: queries, proposal boxes) is no weight: no input passes through.
    scale
        What weights are multiplied by; 'auto': so that their root mean square is at most
        ``SMALL / sqrt(inputs)``.
    """
    sized = {}
    with on_cpu():
        for name, value in values.items():
            rms = root_mean_square(value) if name in inputs else 0.0
            factor = 1.0 if isinstance(scale, str) else float(scale)
            if scale == "auto" and rms > 0:
                factor = min(1.0, SMALL / math.sqrt(inputs[name]) / rms)
            sized[name] = value if rms == 0 or factor == 1 else value * factor
    return sized
