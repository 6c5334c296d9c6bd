"""Fresh values for output layers: what the model's own constructor would have drawn.

Where the model can be built again from its config (both toolkits), a second model is built on the
CPU and only the wanted tensors are taken from it. That is right whatever code set them: custom
initializers, constants written after construction, anything. Bare layers of a plain training loop
have no constructor to call again; their recorded `ParamAttr` or Paddle's default for the layer is
used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

import paddle
from paddle import Tensor, nn

from rifle_ext.errors import RifleError
from rifle_ext.isolation import beside_training, draw_seed

Rebuild = Callable[[], nn.Layer]
"""Builds the model again as its config says, without loading pretrained weights."""


def from_rebuild(
    rebuild: Rebuild, tensors: Mapping[str, Tensor], seed: int, index: int
) -> Dict[str, Tensor]:
    """Fresh values of `tensors` from a second model; float tensors on the CPU, by the same names.

    Parameters
    ----------
    rebuild
        Builds the second model. It is dropped as soon as the values are taken.
    tensors
        Parameters and buffers to draw values for, by structured name.
    seed, index
        The block's seed and the reset's index (from 1): the values depend on nothing else.

    Raises
    ------
    RifleError
        If the second model lacks a tensor or has it in another shape.
    """
    with beside_training(draw_seed(seed, index)):
        model = rebuild()
        named = {**dict(model.named_buffers()), **dict(model.named_parameters())}
        for name, tensor in tensors.items():
            found = list(named[name].shape) if name in named else None
            wanted = list(tensor.shape)
            if found != wanted:
                raise RifleError(
                    f"{name} cannot be redrawn: the model built again from the config has "
                    + ("no such tensor" if found is None else f"shape {found}, not {wanted}")
                    + "; was the model changed after it was built?"
                )
        return {name: named[name].detach() for name in tensors}


def from_layers(
    owners: Mapping[str, Tuple[nn.Layer, str]], seed: int, index: int
) -> Dict[str, Tensor]:
    """Fresh values for parameters of bare layers, each drawn as its layer's class draws it.

    Parameters
    ----------
    owners
        For each parameter's name the layer that owns it and the attribute it stands under.
    seed, index
        As in `from_rebuild`.
    """
    with beside_training(draw_seed(seed, index)):
        return {name: _redraw(layer, key).detach() for name, (layer, key) in owners.items()}


@dataclass(frozen=True)
class Initializers:
    """What weights and biases are drawn by in place of what their constructor draws.

    Attributes
    ----------
    weight
        A `paddle.nn.initializer.Initializer` for tensors of two or more dimensions; None for none.
    bias
        The same for biases: tensors of one dimension or none whose name says so.
    """

    weight: Optional[Any] = None
    bias: Optional[Any] = None

    def of(self, name: str, tensor: Tensor) -> Optional[Any]:
        """The initializer for a tensor; None if the constructor's draw stands."""
        if len(tensor.shape) >= 2:
            return self.weight
        return self.bias if "bias" in name.rpartition(".")[2] else None


def from_initializers(
    initializers: Initializers, tensors: Mapping[str, Tensor], seed: int, index: int
) -> Dict[str, Tensor]:
    """Fresh values for those among `tensors` that there is an initializer for.

    Parameters
    ----------
    initializers
        What to draw by.
    tensors, seed, index
        As in `from_rebuild`.
    """
    wanted = {name: initializers.of(name, tensor) for name, tensor in tensors.items()}
    with beside_training(draw_seed(seed, index)):
        return {
            name: paddle.create_parameter(
                tensors[name].shape, "float32", default_initializer=initializer
            ).detach()
            for name, initializer in wanted.items()
            if initializer is not None
        }


def _redraw(layer: nn.Layer, key: str) -> Tensor:
    """A new tensor for `layer.<key>`, by `Layer.create_parameter` with what the layer recorded."""
    parameter = getattr(layer, key)
    is_bias = "bias" in key
    recorded = [f"_{key}_attr"] + ([] if is_bias else ["_weight_attr", "_param_attr"])
    attributes = (getattr(layer, name, None) for name in recorded)
    attr = next((a for a in attributes if a not in (None, True, False)), None)
    return layer.create_parameter(
        parameter.shape,
        attr=attr,
        dtype="float32",
        is_bias=is_bias,
        default_initializer=_default_initializer(layer, is_bias),
    )


def _default_initializer(layer: nn.Layer, is_bias: bool) -> Optional[Any]:
    """What the constructors in `paddle.nn` pass as default; None means `create_parameter`'s own.

    From paddle/nn/layer/{conv,norm,activation,rnn}.py; checked against constructions in the tests.
    """
    init = nn.initializer
    if isinstance(layer, nn.layer.rnn.RNNCellBase):
        bound = 1.0 / math.sqrt(layer.hidden_size)
        return init.Uniform(-bound, bound)
    if is_bias:
        return None
    if isinstance(layer, (nn.Conv1D, nn.Conv2D, nn.Conv3D)):
        fan_in = layer._in_channels * math.prod(layer._kernel_size)
        return init.Normal(0.0, math.sqrt(2.0 / fan_in))
    if isinstance(layer, nn.PReLU):
        return init.Constant(layer._init)
    norms = (nn.layer.norm._BatchNormBase, nn.layer.norm._InstanceNormBase, nn.LayerNorm)
    if isinstance(layer, (*norms, nn.GroupNorm)):
        return init.Constant(1.0)
    return None
