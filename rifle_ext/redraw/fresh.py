"""Fresh values for output layers: what the model's own constructor would have drawn.

Where the model can be built again from its config (both toolkits), a second model is built on the
CPU and only the wanted tensors are taken from it. That is right whatever code set them: custom
initializers, constants written after construction, anything. Where that build shows that Paddle's
initializers alone drew the tensors, they can be called again without it. Bare layers of a plain
training loop have no constructor to call again; their recorded `ParamAttr` or Paddle's default for
the layer is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple

from paddle import Tensor, nn

from rifle_ext.errors import RifleError
from rifle_ext.redraw.constructions import Construction, draw
from rifle_ext.runtime.isolation import beside_training, draw_seed

Rebuild = Callable[[], nn.Layer]
"""Builds the model again as its config says, without loading pretrained weights."""


class Redraw(NamedTuple):
    """What building a model again gave.

    Attributes
    ----------
    values
        Fresh values, float tensors on the CPU, by structured name.
    initializers
        What draws such values without a model, by the same names; None where there is no telling.
    """

    values: Dict[str, Tensor]
    initializers: Optional[Dict[str, Any]]


class SecondModel:
    """The model built again, from random streams of its own.

    Parameters
    ----------
    rebuild
        Builds it.
    seed, index
        The block's seed and the reset's index (from 1): the values depend on nothing else.

    Attributes
    ----------
    model
        What was built, on the CPU.

    Raises
    ------
    RifleError
        If it cannot be built.
    """

    def __init__(self, rebuild: Rebuild, seed: int, index: int) -> None:
        self._seed = draw_seed(seed, index)
        self._construction = Construction()
        with beside_training(self._seed), self._construction.noted():
            try:
                self.model = rebuild()
            except RifleError:
                raise
            except Exception as error:  # whatever a constructor needs that it had the first time
                raise RifleError(_cannot_build(error), topic="rebuild") from error

    def redraw(self, tensors: Mapping[str, Tensor]) -> Redraw:
        """Fresh values of `tensors`, parameters and buffers by structured name.

        Raises
        ------
        RifleError
            If the second model lacks a tensor or has it in another shape.
        """
        named = {**dict(self.model.named_buffers()), **dict(self.model.named_parameters())}
        for name, tensor in tensors.items():
            found = list(named[name].shape) if name in named else None
            shape = list(tensor.shape)
            if found != shape:
                raise RifleError(
                    f"{name} cannot be redrawn: the model built again from the config has "
                    + ("no such tensor" if found is None else f"shape {found}, not {shape}")
                    + "; was the model changed after it was built?",
                    topic="rebuild",
                )
        wanted = {name: named[name] for name in tensors}
        values = {name: tensor.detach() for name, tensor in wanted.items()}
        with beside_training(self._seed):
            return Redraw(values, self._construction.initializers(wanted))


def _cannot_build(error: BaseException) -> str:
    while inner := error.__cause__ or (not error.__suppress_context__ and error.__context__):
        error = inner  # toolkits put words of their own before it
    said = (str(error).strip().splitlines() or [""])[-1].strip()
    return (
        "the model was built a second time, for fresh values of its output layers, with the "
        f"loading of weights switched off, and that failed with {type(error).__name__}: {said}; "
        "let the model's constructor work without those weights (or load them after it), or set "
        "rifle.weight_initializer: original, which needs no second build"
    )


def from_rebuild(rebuild: Rebuild, tensors: Mapping[str, Tensor], seed: int, index: int) -> Redraw:
    """Fresh values of `tensors` from a second model, which is dropped at once.

    As `SecondModel` and its `redraw`.
    """
    return SecondModel(rebuild, seed, index).redraw(tensors)


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
        return {
            name: padded(layer, _redraw(layer, key).detach())
            for name, (layer, key) in owners.items()
        }


def padded(layer: nn.Layer, value: Tensor) -> Tensor:
    """Fresh values of a layer, the row for padding of an embedding zero as its constructor has it.

    No step of a training changes that row.
    """
    if isinstance(layer, nn.Embedding) and layer._padding_idx is not None:
        value[layer._padding_idx] = 0.0
    return value


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

    def of(self, tensors: Mapping[str, Tensor]) -> Dict[str, Any]:
        """The initializer for each tensor by name; those whose own draw stands are left out."""
        found = {name: self._of(name, tensor) for name, tensor in tensors.items()}
        return {name: initializer for name, initializer in found.items() if initializer is not None}

    def _of(self, name: str, tensor: Tensor) -> Optional[Any]:
        if len(tensor.shape) >= 2:
            return self.weight
        return self.bias if "bias" in name.rpartition(".")[2] else None


def from_initializers(
    initializers: Mapping[str, Any], tensors: Mapping[str, Tensor], seed: int, index: int
) -> Dict[str, Tensor]:
    """Fresh values for those among `tensors` that there is an initializer for.

    Parameters
    ----------
    initializers
        What to draw each one by, by name.
    tensors, seed, index
        As in `from_rebuild`.
    """
    with beside_training(draw_seed(seed, index)):
        return {
            name: draw(initializer, tensors[name]).detach()
            for name, initializer in initializers.items()
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
    if isinstance(layer, (nn.layer.rnn.RNNCellBase, nn.layer.rnn.RNNBase)):
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
