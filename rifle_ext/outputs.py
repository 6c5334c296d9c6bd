"""Find the output layers of any model.

An output layer's parameters are those that reach an output of the model without passing through
another mixing layer on the way. Gradients show them: if the inputs of every mixing layer are cut
off from what made them, the parameters that still receive a gradient are exactly those of the last
mixing layers. No list of models, layer classes or attribute names is needed.
"""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterator, List

import paddle
from paddle import Tensor, nn

from rifle_ext.errors import RifleError
from rifle_ext.isolation import own_random_streams

Forward = Callable[[], Any]
"""Runs the model once in training mode and returns its outputs, in any nesting of containers."""


def output_parameters(model: nn.Layer, forward: Forward) -> Dict[str, Tensor]:
    """The trainable parameters of the model's output layers, by structured name.

    Costs one forward pass and the backward pass of the output layers. Weights, gradients, buffers,
    mode and random streams are afterwards as they were before.

    Raises
    ------
    RifleError
        If no trainable parameter reaches an output, as in a model that ends in a fixed function.
    """
    named = trainable_parameters(model)
    with _probing(model):
        outputs = [t for t in _tensors(forward()) if _carries_gradient(t)]
        gradients: List[Any] = [None] * len(named)
        if outputs and named:
            total = paddle.add_n([t.astype("float32").sum() for t in outputs])
            gradients = paddle.grad(total, list(named.values()), allow_unused=True)
    found = {
        name: parameter
        for (name, parameter), gradient in zip(named.items(), gradients)
        if gradient is not None
    }
    if not found:
        raise RifleError(
            f"rifle.layers: the outputs of {type(model).__name__} come from no trainable "
            "parameter, so there is no output layer to reset; name the layers to reset in `layers`"
        )
    return found


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
    return not tensor.stop_gradient and tensor.dtype in (
        paddle.float16,
        paddle.bfloat16,
        paddle.float32,
        paddle.float64,
    )


@contextlib.contextmanager
def _probing(model: nn.Layer) -> Iterator[None]:
    """Training mode, mixing layers cut off from their inputs; everything given back afterwards."""
    kept = [(tensor, tensor.clone()) for tensor in _changed_by_forward(model)]
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    mixing = [layer for layer in model.sublayers(include_self=True) if _mixes(layer)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_random_streams())
        stack.enter_context(_local_batch_norm())
        stack.enter_context(paddle.enable_grad())
        for layer in mixing:
            stack.enter_context(_cut_off(layer))
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
    return [*frozen, *(buffer for _, buffer in model.named_buffers() if buffer is not None)]


def _mixes(layer: nn.Layer) -> bool:
    """Whether the layer itself owns a trainable tensor of two or more dimensions.

    Layers with 0-D and 1-D parameters only (normalization, a learned scale) are passed through:
    they belong to the output layer that they follow.
    """
    own = own_parameters(layer).values()
    return any(not p.stop_gradient and len(p.shape) >= 2 for p in own)


@contextlib.contextmanager
def _cut_off(layer: nn.Layer) -> Iterator[None]:
    """Let the layer's `forward` see detached inputs, however it is called.

    Paddle's pre-hooks see neither keyword arguments nor direct calls of `forward`.
    """
    forward = layer.forward
    before = layer.__dict__.get("forward")

    def detached(*args: Any, **kwargs: Any) -> Any:
        return forward(*_detach(args), **_detach(kwargs))

    layer.__dict__["forward"] = detached
    try:
        yield
    finally:
        if before is None:
            del layer.__dict__["forward"]
        else:
            layer.__dict__["forward"] = before


def _detach(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {key: _detach(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_detach(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _tensors(value: Any) -> List[Tensor]:
    """Every tensor in a nesting of lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _tensors(item)]
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
