"""Values of tensors on the host."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor


def as_float32(tensor: Tensor) -> np.ndarray:
    """A tensor's values; no copy of it is made where it is, unless it is of another type."""
    return (tensor if tensor.dtype == paddle.float32 else tensor.astype("float32")).numpy()
