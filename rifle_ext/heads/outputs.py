"""Find the output layers of any model.

An output layer's parameters are those that reach an output of the model without passing through
another mixing operation on the way. One forward pass shows them, in the graph that Paddle keeps for
the backward pass (`rifle_ext.heads.graph`). No list of models, layer classes or attribute names is
needed.
"""

from __future__ import annotations

import contextlib
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Set

import paddle
from paddle import Tensor, nn
from paddle.distributed.fleet.utils import recompute

from rifle_ext.errors import RifleError
from rifle_ext.heads.graph import Graph
from rifle_ext.heads.modules import head_of
from rifle_ext.runtime.isolation import own_random_streams
from rifle_ext.runtime.patching import rebound

Forward = Callable[[], Any]
"""Runs the model once in training mode; returns its outputs or losses in any nesting."""


def output_parameters(model: nn.Layer, forward: Forward, losses: bool = False) -> Dict[str, Tensor]:
    """The trainable parameters of the model's output layers, by structured name.

    Costs one forward pass, in about the memory of one without gradients. Weights, gradients,
    buffers, mode and random streams are afterwards as they were before.

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

    Raises
    ------
    RifleError
        If no trainable parameter reaches an output, as in a model that ends in a fixed function.
    """
    named = trainable_parameters(model)
    with probing(model), _nothing_saved(), _recording(model) as made:
        outputs = [tensor for tensor in tensors_in(forward()) if _carries_gradient(tensor)]
        nodes = [tensor.grad_fn for tensor in outputs]
        graph = Graph([*made, *nodes], named)
        found = graph.reached(nodes, losses).parameters
        if losses:
            found |= _without_luck(model, graph, made, found, list(named))
    if not found:
        raise RifleError(
            f"rifle.layers: the outputs of {type(model).__name__} come from no trainable "
            "parameter, so there is no output layer to reset; name the layers to reset in `layers`"
        )
    return {name: parameter for name, parameter in named.items() if name in found}


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
    return tensor.grad_fn is not None and tensor.dtype in (
        paddle.float16,
        paddle.bfloat16,
        paddle.float32,
        paddle.float64,
        paddle.complex64,
        paddle.complex128,
    )


@contextlib.contextmanager
def probing(model: nn.Layer) -> Iterator[None]:
    """Training mode; everything given back afterwards."""
    kept = [(tensor, tensor.clone()) for tensor in _changed_by_forward(model)]
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_random_streams())
        stack.enter_context(_local_batch_norm())
        stack.enter_context(rebound({recompute: _called_plainly}))
        stack.enter_context(paddle.enable_grad())
        try:
            model.train()
            yield
        finally:
            for layer, training in modes:
                layer.training = training
            for tensor, value in kept:
                tensor.set_value(value)


def _changed_by_forward(model: nn.Layer) -> List[Tensor]:
    """Buffers and running statistics, which Paddle keeps as frozen 1-D parameters."""
    frozen = [p for _, p in model.named_parameters() if p.stop_gradient and len(p.shape) <= 1]
    buffers = [buffer for _, buffer in model.named_buffers() if buffer is not None]
    # A recurrent layer's buffer for the state of cuDNN's dropout holds nothing until it is used.
    return [tensor for tensor in (*frozen, *buffers) if tensor._is_initialized()]


def _nothing_saved() -> ContextManager[None]:
    """Let the forward pass keep nothing for a backward pass, which will not come."""
    return paddle.autograd.saved_tensors_hooks(lambda tensor: None, lambda nothing: nothing)


def _called_plainly(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Stands in for `recompute`, whose operations the graph does not show."""
    own = ("preserve_rng_state", "use_reentrant")
    return function(*args, **{key: value for key, value in kwargs.items() if key not in own})


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


@contextlib.contextmanager
def _local_batch_norm() -> Iterator[None]:
    """Stand plain batch normalization in for the synchronized kind.

    That has no CPU kernel, and on several GPUs it would wait for ranks that are not connected yet.
    """
    synchronized = nn.SyncBatchNorm.forward

    def forward(layer: nn.SyncBatchNorm, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(
            x, layer._mean, layer._variance, layer.weight, layer.bias, training=True
        )

    nn.SyncBatchNorm.forward = forward
    try:
        yield
    finally:
        nn.SyncBatchNorm.forward = synchronized
