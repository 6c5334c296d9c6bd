"""Batch normalization without the synchronized kernel, which no CPU has."""

from __future__ import annotations

from paddle import Tensor, nn


def batch_norm_alone(layer: nn.SyncBatchNorm, x: Tensor, training: bool) -> Tensor:
    """What a synchronized batch normalization makes of this process's batch alone.

    Parameters
    ----------
    layer
        Whose parameters and running statistics are used.
    x
        Its input.
    training
        Compute with the statistics of the batch, which move the running ones; else with those.
    """
    return nn.functional.batch_norm(
        x, layer._mean, layer._variance, layer.weight, layer.bias, training=training,
        momentum=layer._momentum, epsilon=layer._epsilon, data_format=layer._data_format,
    )  # fmt: skip
