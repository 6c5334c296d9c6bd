"""What of a model the `layers` of a method's block stand for."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from typing import Collection, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

from paddle import Tensor, nn

from rifle_ext.errors import RifleError, did_you_mean
from rifle_ext.heads.modules import head_of
from rifle_ext.heads.outputs import Forward, find_outputs, trainable_parameters


@dataclass(frozen=True)
class Selection:
    """What a reset touches, by structured name, in the model's order.

    Attributes
    ----------
    parameters
        Trainable parameters.
    buffers
        Running statistics: of the batch normalizations whose scale or shift is reset, and of all in
        whole head modules.
    frozen
        Names of the weights of output layers that are frozen, and so left alone; of 'auto' and
        'head' only.
    """

    parameters: Dict[str, Tensor]
    buffers: Dict[str, Tensor]
    frozen: Tuple[str, ...] = ()

    @property
    def tensors(self) -> Dict[str, Tensor]:
        """Parameters, then buffers."""
        return {**self.parameters, **self.buffers}

    @property
    def values(self) -> int:
        """How many numbers a reset writes."""
        return sum(int(tensor.size) for tensor in self.tensors.values())

    def without(self, names: Collection[str]) -> Selection:
        """All but the tensors of these names."""
        parameters = {n: t for n, t in self.parameters.items() if n not in names}
        buffers = {n: t for n, t in self.buffers.items() if n not in names}
        return replace(self, parameters=parameters, buffers=buffers)

    def layers(self, model: nn.Layer) -> Dict[str, nn.Layer]:
        """The layers that own the tensors, by structured name, in the model's order.

        The model itself has the empty name.
        """
        owners = {name.rpartition(".")[0] for name in self.tensors}
        named = model.named_sublayers(include_self=True)
        return {name: layer for name, layer in named if name in owners}


def select(
    model: nn.Layer,
    layers: Union[str, Sequence[str]],
    forward: Forward,
    losses: bool = False,
    second: Optional[nn.Layer] = None,
    method: str = "rifle",
) -> Selection:
    """What `layers` of a block stands for in this model.

    Parameters
    ----------
    model
        The model to be trained.
    layers
        'auto', 'head', or names or globs over structured names of parameters and sublayers.
    forward, losses, second
        As for `find_outputs`; used for 'auto' and 'head' only.
    method
        Key of the block, for messages.

    Raises
    ------
    RifleError
        If nothing trainable is found, or a name matches nothing.
    """
    if isinstance(layers, str):
        outputs, frozen = find_outputs(model, forward, losses, second, method)
        select_from = _head_modules if layers == "head" else _with_statistics
        return replace(select_from(model, outputs), frozen=frozen)
    return _with_statistics(model, _matching(model, layers, method))


def _with_statistics(model: nn.Layer, parameters: Dict[str, Tensor]) -> Selection:
    """The parameters, and what batch normalizations among them remember of the old output."""
    owners = {name.rpartition(".")[0] for name in parameters}
    statistics = _batch_norm_statistics(model)
    return Selection(parameters, {n: t for n, t in statistics if n.rpartition(".")[0] in owners})


def _head_modules(model: nn.Layer, outputs: Dict[str, Tensor]) -> Selection:
    """Everything in the modules that hold outputs and no backbone or neck."""
    trainable = trainable_parameters(model)
    everything = [name for name, _ in model.named_parameters()]
    heads = {head_of(name, everything) for name in outputs}

    def chosen(named: Iterable[Tuple[str, Tensor]]) -> Dict[str, Tensor]:
        return {n: t for n, t in named if any(n == h or n.startswith(f"{h}.") for h in heads)}

    saved = set(model.state_dict())
    buffers = chosen((name, buffer) for name, buffer in model.named_buffers() if name in saved)
    return Selection(
        chosen(trainable.items()), {**chosen(_batch_norm_statistics(model)), **buffers}
    )


def _batch_norm_statistics(model: nn.Layer) -> Iterator[Tuple[str, Tensor]]:
    """Running means and variances, which Paddle keeps as frozen parameters, by structured name."""
    for name, layer in model.named_sublayers():
        if isinstance(layer, nn.layer.norm._BatchNormBase):
            yield f"{name}._mean", layer._mean
            yield f"{name}._variance", layer._variance


def _matching(model: nn.Layer, patterns: Sequence[str], method: str) -> Dict[str, Tensor]:
    """Trainable parameters that a pattern names, or that lie in a sublayer it names."""
    parameters, changing = dict(model.named_parameters()), trainable_parameters(model)
    sublayers = [name for name, _ in model.named_sublayers()]
    wanted = set()
    for pattern in patterns:
        named = set(fnmatch.filter(parameters, pattern))
        prefixes = tuple(f"{name}." for name in fnmatch.filter(sublayers, pattern))
        named |= {name for name in parameters if prefixes and name.startswith(prefixes)}
        if not named & set(changing):
            said = _nothing_matches(pattern, named, parameters, sublayers)
            raise RifleError(f"{method}.layers: {said}", topic="layers")
        wanted |= named
    return {name: parameter for name, parameter in changing.items() if name in wanted}


def _nothing_matches(
    pattern: str, frozen: set, parameters: Dict[str, Tensor], sublayers: List[str]
) -> str:
    said = f'"{pattern}" matches '
    if frozen:
        return f"{said}only frozen parameters ({', '.join(sorted(frozen)[:5])}), which never change"
    owners = _last_owners(parameters)
    return (
        f"{said}no parameter and no sublayer{did_you_mean(pattern, [*sublayers, *parameters])}; "
        f"top-level sublayers: {', '.join(n for n in sublayers if '.' not in n)}; "
        f"last layers with parameters: {', '.join(owners)}"
    )


def _last_owners(parameters: Dict[str, Tensor], count: int = 8) -> Tuple[str, ...]:
    """Names of the last few sublayers that own parameters, where a head usually is."""
    owners = dict.fromkeys(name.rpartition(".")[0] for name in parameters)
    return tuple(owner for owner in owners if owner)[-count:]
