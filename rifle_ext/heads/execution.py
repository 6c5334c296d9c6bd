"""In which order the layers of a model run, and how much each of them computes.

Both from one forward pass. A parameter comes where the pass first reads it: so the order is that of
execution, whatever the order in which a constructor made its modules. A layer that runs several
times comes where it runs first, branches in the order in which the code runs them, and a parameter
that a module's own code reads (a table of positions, a token) comes where that code reads it. What
the pass does not reach has no place.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import Counter
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from paddle import Tensor, nn

from rifle_ext.heads.outputs import Forward, own_parameters, tensors_in
from rifle_ext.heads.probing import nothing_saved, probing
from rifle_ext.heads.second import same_forwards, same_parameters
from rifle_ext.runtime.isolation import on_cpu
from rifle_ext.runtime.patching import replaced

_TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)


class Execution(NamedTuple):
    """What a forward pass shows of a model's layers.

    Attributes
    ----------
    order
        Structured names of the parameters that it reads, running statistics included, in the order
        in which it first does.
    work
        Multiply-adds of the convolutions and linear layers in it, all their calls together, by the
        structured name of the layer. They are those of the pass's own sample; other sizes of images
        change all of them alike, or nearly.
    """

    order: List[str]
    work: Dict[str, float]


def execution(model: nn.Layer, forward: Forward, second: Optional[nn.Layer] = None) -> Execution:
    """Run a model once, in training mode and without a trace, and look.

    Parameters
    ----------
    model
        Any model.
    forward, second
        As for `rifle_ext.heads.outputs.find_outputs`.

    Raises
    ------
    Exception
        Whatever the model raises, if it cannot be run.
    """
    if second is not None and same_parameters(model, second) and same_forwards(model, second):
        with contextlib.suppress(Exception), on_cpu():  # whatever it needs of a device
            return _execution(second, [model], lambda: forward(second))
    return _execution(model, [], forward)


def _execution(model: nn.Layer, beside: List[Any], run: Callable[[], Any]) -> Execution:
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    order: Dict[str, None] = {}

    def read(parameter: Any) -> None:
        name = named.get(id(parameter))
        if name is not None:
            order.setdefault(name)

    with probing(model, beside), nothing_saved(), _work_of(model) as work, _reading(read):
        run()
    return Execution(list(order), dict(work))


@contextlib.contextmanager
def _reading(read: Callable[[Any], None]) -> Iterator[None]:
    """Call a function with each parameter of a layer that code reads."""
    attribute, item = nn.Layer.__getattr__, nn.ParameterList.__getitem__
    every = nn.ParameterList.__iter__

    def reading(layer: nn.Layer, name: str) -> Any:
        found = attribute(layer, name)
        read(found)
        return found

    def reading_item(layer: nn.ParameterList, index: int) -> Any:
        found = item(layer, index)
        read(found)
        return found

    def reading_each(layer: nn.ParameterList) -> Iterator[Any]:
        for found in every(layer):
            read(found)
            yield found

    lists = replaced(nn.ParameterList, __getitem__=reading_item, __iter__=reading_each)
    with replaced(nn.Layer, __getattr__=reading), lists:
        yield


@contextlib.contextmanager
def _work_of(model: nn.Layer) -> Iterator[Dict[str, float]]:
    """Count the multiply-adds of layers that hold weights, as they are called."""
    work: Dict[str, float] = Counter()  # type: ignore[assignment]

    def counting(name: str) -> Callable[..., None]:
        def count(layer: nn.Layer, inputs: Any, outputs: Any) -> None:
            work[name] += _multiply_adds(layer, inputs, outputs)

        return count

    # What was counted before is of an attempt that failed.
    handles = [model.register_forward_pre_hook(lambda *_: work.clear())]
    handles += [
        layer.register_forward_post_hook(counting(name))
        for name, layer in model.named_sublayers()
        if _mixing(layer)
    ]
    try:
        yield work
    finally:
        for handle in handles:
            handle.remove()


def _mixing(layer: nn.Layer) -> List[Tensor]:
    """The weights by which a layer itself multiplies; tables are looked up, or added."""
    if isinstance(layer, nn.Embedding):
        return []
    inner = bool(list(layer.children()))
    own = own_parameters(layer).values()
    return [p for p in own if len(p.shape) == 2 or (is_weight(p.shape) and not inner)]


def _multiply_adds(layer: nn.Layer, inputs: Any, outputs: Any) -> float:
    """Each weight is used once at each place of the larger side of a convolution."""
    places = tensors_in(inputs if isinstance(layer, _TRANSPOSED) else outputs)
    if not places or not places[0].shape:
        return 0.0
    shape = places[0].shape
    channels_last = str(getattr(layer, "_data_format", "NC")).endswith("C")
    of_channels = 1 if len(shape) > 3 and not channels_last else -1
    weights = sum(int(weight.size) for weight in _mixing(layer))
    return math.prod(shape) / max(1, shape[of_channels]) * weights


def is_weight(shape: Sequence[int]) -> bool:
    """Whether a parameter of this shape can mix values: two or more dimensions longer than 1."""
    return sum(size > 1 for size in shape) >= 2


def layers_in_order(order: Sequence[str], shapes: Mapping[str, Sequence[int]]) -> List[List[str]]:
    """Put parameters together that belong to one layer, and to the normalization behind it.

    A layer is what owns parameters that are read one after the other. One without weights
    (a normalization, a learned scale) belongs to the layer that runs before it.

    Parameters
    ----------
    order
        Structured names in the order of execution.
    shapes
        Of the parameters, by name.

    Returns
    -------
    list of list of str
        Names of the parameters of each layer, in that order.
    """
    found: List[List[str]] = []
    for _, run in itertools.groupby(order, key=owner_of):
        names = list(run)
        if found and not any(is_weight(shapes[name]) for name in names):
            found[-1] += names
        else:
            found.append(names)
    return found


def owner_of(parameter: str) -> str:
    """Structured name of the layer that owns a parameter; empty for the model itself."""
    return parameter.rpartition(".")[0]
