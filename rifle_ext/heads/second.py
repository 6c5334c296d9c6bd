"""What a model that was built again tells of the first one."""

from __future__ import annotations

from typing import List, Optional

import numpy as np
import paddle
from paddle import Tensor, nn

from rifle_ext.runtime.tensors import as_float32

FLOATS = (paddle.float16, paddle.bfloat16, paddle.float32, paddle.float64)


def frozen_layers(model: nn.Layer, second: Optional[nn.Layer]) -> List[str]:
    """Names of frozen parameters that mix, as the weights of layers that were frozen do.

    Constants of the constructor's (PP-YOLOE's `proj_conv`) are none: they hold the same values when
    the model is built again, unlike a layer that was drawn, loaded or trained.
    """
    built = {} if second is None else dict(second.named_parameters())
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.stop_gradient
        and len(parameter.shape) >= 2
        and parameter.dtype in FLOATS
        and not (name in built and built[name].stop_gradient and _equal(parameter, built[name]))
    ]


def _equal(parameter: Tensor, other: Tensor) -> bool:
    return np.array_equal(as_float32(parameter), as_float32(other))


def same_parameters(model: nn.Layer, second: nn.Layer) -> bool:
    """Whether both have parameters of the same names and shapes."""
    shapes = [
        {name: tuple(p.shape) for name, p in layer.named_parameters()} for layer in (model, second)
    ]
    return shapes[0] == shapes[1]


def same_forwards(model: nn.Layer, second: nn.Layer) -> bool:
    """Whether no layer of the model was given another `forward` after it was built."""
    own = [
        {n for n, layer in m.named_sublayers(include_self=True) if "forward" in vars(layer)}
        for m in (model, second)
    ]
    return type(model) is type(second) and own[0] == own[1]
