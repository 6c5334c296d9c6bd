"""Read and set a tensor's values where the tensor is."""

from __future__ import annotations

import contextlib

import numpy as np
import paddle
from paddle import Tensor

from rifle_ext.runtime.isolation import on_cpu


def as_float32(tensor: Tensor) -> np.ndarray:
    """A tensor's values on the host; no copy is made where it is, unless it is of another type."""
    return (tensor if tensor.dtype == paddle.float32 else tensor.astype("float32")).numpy()


def put(tensor: Tensor, value: Tensor) -> None:
    """Set a tensor's value where the tensor is: `set_value` moves it to the default device.

    Paddle keeps the powers of Adam's decays on the host.
    """
    with on_cpu() if tensor.place.is_cpu_place() else contextlib.nullcontext():
        tensor.set_value(value)
