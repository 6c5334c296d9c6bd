"""Read and set a tensor's values where the tensor is; all names that a model has for it."""

from __future__ import annotations

import contextlib
from typing import Dict, Mapping, TypeVar

import numpy as np
import paddle
from paddle import Tensor

from rifle_ext.runtime.isolation import on_cpu

Value = TypeVar("Value")


def as_float32(tensor: Tensor) -> np.ndarray:
    """A tensor's values on the host; no copy is made where it is, unless it is of another type."""
    return (tensor if tensor.dtype == paddle.float32 else tensor.astype("float32")).numpy()


def put(tensor: Tensor, value: Tensor) -> None:
    """Set a tensor's value where the tensor is: `set_value` moves it to the default device.

    Paddle keeps the powers of Adam's decays on the host.
    """
    with on_cpu() if tensor.place.is_cpu_place() else contextlib.nullcontext():
        tensor.set_value(value)


def under_all_names(values: Mapping[str, Value], state: Mapping[str, Tensor]) -> Dict[str, Value]:
    """What is known of some tensors by one name of each, by all their names.

    A layer that two modules hold, and a weight that two layers share, has two names in a model's
    `state_dict()`, but in `named_parameters()` and `named_sublayers()` the first of them alone.
    Where all of a state is loaded, the last one counts.

    Parameters
    ----------
    values
        Anything, by a name of the tensor.
    state
        All of the model's tensors by all their names.
    """
    of = {id(state[name]): value for name, value in values.items()}
    return {name: of[id(tensor)] for name, tensor in state.items() if id(tensor) in of}
