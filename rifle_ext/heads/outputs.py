"""Find the output layers of any model.

An output layer's parameters are those that reach an output of the model without passing through
another mixing operation on the way. One forward pass shows them, in the graph that Paddle keeps for
the backward pass (`rifle_ext.heads.graph`). No list of models, layer classes or attribute names is
needed.
"""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

import paddle
from paddle import Tensor, nn

from rifle_ext.errors import CannotRun, RifleError
from rifle_ext.heads.graph import Graph
from rifle_ext.heads.modules import head_of
from rifle_ext.heads.probing import nothing_saved, probing
from rifle_ext.heads.second import FLOATS, frozen_layers, same_forwards, same_parameters
from rifle_ext.runtime.isolation import on_cpu

COMPLEX = (paddle.complex64, paddle.complex128)

Forward = Callable[..., Any]
"""Runs the model once in training mode; returns its outputs or losses in any nesting.

Called with a second model that is built like the first one, it runs that one.
"""


class Outputs(NamedTuple):
    """The output layers of a model.

    Attributes
    ----------
    parameters
        What can be trained of them, by structured name.
    frozen
        Names of frozen parameters that outputs come from.
    """

    parameters: Dict[str, Tensor]
    frozen: Tuple[str, ...]


def find_outputs(
    model: nn.Layer,
    forward: Forward,
    losses: bool = False,
    second: Optional[nn.Layer] = None,
    method: Optional[str] = "rifle",
) -> Outputs:
    """The output layers of a model.

    Costs one forward pass, in about the memory of one without gradients. Everything that can be
    reached from the model is afterwards as it was before.

    Parameters
    ----------
    model
        Any model.
    forward
        Runs it.
    losses
        The forward pass gives losses. What of the outputs reaches them depends on the batch: a loss
        of boxes is often left out where nothing is found. So layers count, too, whose results no
        other mixing operation uses, in the modules that hold the outputs found.
    second
        The model as its constructor makes it, on the CPU. It is run in the model's place, if it has
        the same parameters and can be: then nothing of the model is touched. And it tells constants
        from layers that were frozen later.
    method
        Key of the block whose `layers` asks for them, for messages; None if no block can name them.

    Raises
    ------
    RifleError
        If no trainable parameter reaches an output, as in a model that ends in a fixed function, or
        the model cannot be run.
    """
    trainable = trainable_parameters(model)
    alike = second is not None and same_parameters(model, second)
    frozen = frozen_layers(model, second if alike else None)
    found: Set[str] = set()
    if second is not None and alike and same_forwards(model, second):
        found = _found_in_second(model, second, forward, losses, {*trainable, *frozen})
    if not found:
        try:
            found = _found(model, [], forward, losses, {*trainable, *frozen})
        except CannotRun as error:
            advice = f"; name the layers in {method}.layers" if method else ""
            raise RifleError(
                f"the output layers could not be found: {error}{advice}", topic=error.topic
            ) from error.__cause__
    if not alike and found and not found & trainable.keys():
        found = _found(model, [], forward, losses, set(trainable))
    chosen = {name: parameter for name, parameter in trainable.items() if name in found}
    if not chosen:
        raise RifleError(_no_outputs(model, sorted(found), method), topic="layers")
    return Outputs(chosen, tuple(name for name in frozen if name in found))


def _no_outputs(model: nn.Layer, frozen: List[str], method: Optional[str]) -> str:
    said = f"{method}.layers: " if method else ""
    said += f"the outputs of {type(model).__name__} come from "
    if frozen:
        said += f"frozen layers alone ({', '.join(frozen[:8])}), which never change"
    else:
        said += "no trainable parameter"
    advice = ["train them (stop_gradient = False)"] if frozen else []
    advice += ["name layers in `layers`"] if method else []
    end = f"; {', or '.join(advice)}" if advice else ""
    return f"{said}, so there is no output layer to be found{end}"


def _found_in_second(
    model: nn.Layer, second: nn.Layer, forward: Forward, losses: bool, names: Set[str]
) -> Set[str]:
    """As `_found`, by running the second model; empty if that cannot be run."""
    trained = {name: not p.stop_gradient for name, p in model.named_parameters()}
    for name, parameter in second.named_parameters():
        if len(parameter.shape) >= 2 or trained[name]:
            parameter.stop_gradient = not trained[name]
    try:
        with on_cpu():
            return _found(second, [model], forward, losses, names)
    except Exception:  # whatever a model needs of a device, or of what was done to the first one
        return set()


def _found(
    model: nn.Layer, beside: List[Any], forward: Forward, losses: bool, names: Set[str]
) -> Set[str]:
    """Which of some parameters reach the outputs through no other mixing operation.

    The frozen ones among them are seen like the others: for that they need a gradient meanwhile.
    """
    named = {name: p for name, p in model.named_parameters() if name in names}
    with probing(model, beside), nothing_saved(), _recording(model) as made:

        def run() -> Any:
            made.clear()
            return forward(model) if beside else forward()

        with _thawed(list(named.values())) as thawed:
            try:
                results = run()
            except Exception:
                if not thawed:
                    raise
                results = None
            nodes = _nodes(results)
            graph = Graph([*made, *nodes], named)
        if results is None:  # it writes into frozen parameters, say, as only those allow
            nodes = _nodes(run())
            graph = Graph([*made, *nodes], named)
        found = graph.reached(nodes, losses).parameters
        if losses:
            found |= _without_luck(model, graph, made, found, list(named))
    return found


@contextlib.contextmanager
def _thawed(parameters: List[Tensor]) -> Iterator[List[Tensor]]:
    """Let the frozen ones among parameters have a gradient meanwhile."""
    frozen = [parameter for parameter in parameters if parameter.stop_gradient]
    for parameter in frozen:
        parameter.stop_gradient = False
    try:
        yield frozen
    finally:
        for parameter in frozen:
            parameter.stop_gradient = True


def _nodes(results: Any) -> List[Any]:
    return [tensor.grad_fn for tensor in tensors_in(results) if _carries_gradient(tensor)]


def _without_luck(
    model: nn.Layer, graph: Graph, made: List[Any], found: Set[str], names: List[str]
) -> Set[str]:
    """Parameters of the heads whose results went neither into a loss nor anywhere else.

    Where other layers of a list are used further on, as on the levels of a pyramid on which
    something was found, so would this one be.
    """
    consumed = graph.consumed()
    inner = set().union(*consumed.values())
    last: Set[str] = set()
    for node in made:
        reached = graph.reached([node])
        if reached.mixing and not reached.mixing.keys() & consumed.keys():
            last |= reached.parameters
    sequences = {n for n, layer in model.named_sublayers() if isinstance(layer, nn.Sequential)}
    inner_roles = {_role(name, sequences) for name in inner}
    heads = {head_of(name, names) for name in found}
    return {
        name
        for name in last - inner - found
        if head_of(name, names) in heads and _role(name, sequences) not in inner_roles
    }


def _role(name: str, sequences: Set[str]) -> str:
    """The name of a parameter's layer without positions in lists; in sequences they mean much."""
    parts = name.split(".")[:-1]
    owners = [".".join(parts[:depth]) for depth in range(len(parts))]
    return ".".join(
        "#" if part.isdigit() and owner not in sequences else part
        for part, owner in zip(parts, owners)
    )


def own_parameters(layer: nn.Layer) -> Dict[str, Tensor]:
    """The parameters a layer itself owns, by attribute.

    Not through `parameters()`, which models override.
    """
    return dict(layer.named_parameters(include_sublayers=False))


def trainable_parameters(model: nn.Layer) -> Dict[str, Tensor]:
    """What training changes: not frozen, and among the parameters the model gives an optimizer.

    A distillation model lists its teacher in `named_parameters()` but not in `parameters()`.
    """
    offered = {id(parameter) for parameter in model.parameters()}
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if not parameter.stop_gradient and id(parameter) in offered
    }


def _carries_gradient(tensor: Tensor) -> bool:
    return tensor.grad_fn is not None and tensor.dtype in (*FLOATS, *COMPLEX)


@contextlib.contextmanager
def _recording(model: nn.Layer) -> Iterator[List[Any]]:
    """Collect the last operation behind each result of a sublayer that carries a gradient."""
    made: List[Any] = []

    def record(layer: nn.Layer, inputs: Any, outputs: Any) -> None:
        results = [t for t in tensors_in(outputs) if _carries_gradient(t) and t.size > 1]
        made.extend(result.grad_fn for result in results)  # a single value is a weighed loss

    handles = [layer.register_forward_post_hook(record) for layer in model.sublayers()]
    try:
        yield made
    finally:
        for handle in handles:
            handle.remove()


def tensors_in(value: Any) -> List[Tensor]:
    """Every tensor in a nesting of lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []
