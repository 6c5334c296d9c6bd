"""Run a model once, in training mode, without the training noticing."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, ContextManager, Iterable, Iterator

import paddle
from paddle import Tensor, nn
from paddle.distributed.fleet.utils import recompute

from rifle_ext.runtime.isolation import own_random_streams
from rifle_ext.runtime.keeping import Kept
from rifle_ext.runtime.normalization import batch_norm_alone
from rifle_ext.runtime.patching import rebound, replaced


@contextlib.contextmanager
def probing(model: nn.Layer, beside: Iterable[Any] = ()) -> Iterator[None]:
    """Training mode, functions as they are without `to_static`; everything given back afterwards.

    That is all that can be reached from the model: its tensors, and what its code counts, lists or
    draws from (`rifle_ext.runtime.keeping`).

    Parameters
    ----------
    model
        What is run.
    beside
        What else the run may change: the model of the training, if `model` is built like it. Of
        that the parameters are out of reach, and are not copied.
    """
    others = list(beside)
    apart = [p for other in others if isinstance(other, nn.Layer) for p in _parameters(other)]
    kept = Kept([model, *others], leave=apart)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(own_random_streams())
            stack.enter_context(_local_batch_norm())
            stack.enter_context(rebound({recompute: called_plainly}))
            stack.enter_context(_without_to_static())
            stack.enter_context(paddle.enable_grad())
            model.train()
            yield
    finally:
        kept.restore()


def _parameters(model: nn.Layer) -> Iterator[Tensor]:
    for _, parameter in model.named_parameters():
        yield parameter


def nothing_saved() -> ContextManager[None]:
    """Let the forward pass keep nothing for a backward pass, which will not come."""
    return paddle.autograd.saved_tensors_hooks(lambda tensor: None, lambda nothing: nothing)


def called_plainly(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Stands in for `recompute`, whose operations the graph does not show."""
    own = ("preserve_rng_state", "use_reentrant")
    return function(*args, **{key: value for key, value in kwargs.items() if key not in own})


@contextlib.contextmanager
def _without_to_static() -> Iterator[None]:
    """Let functions under `paddle.jit.to_static` run as they are written.

    As a static graph a whole model is one operation. `paddle.jit.enable_to_static(False)` would do
    the same with a warning at each call.
    """

    def plainly(decorated: Any, *args: Any, **kwargs: Any) -> Any:
        return decorated.dygraph_function(*args, **kwargs)

    with contextlib.ExitStack() as stack:
        for kind in _with_subclasses(paddle.jit.dy2static.program_translator.StaticFunction):
            if "__call__" in vars(kind):
                stack.enter_context(replaced(kind, __call__=plainly))
        yield


def _with_subclasses(kind: type) -> Iterator[type]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from _with_subclasses(subclass)


@contextlib.contextmanager
def _local_batch_norm() -> Iterator[None]:
    """Stand plain batch normalization in for the synchronized kind.

    That has no CPU kernel, and on several GPUs it would wait for ranks that are not connected yet.
    """

    def forward(layer: nn.SyncBatchNorm, x: Tensor) -> Tensor:
        return batch_norm_alone(layer, x, training=True)

    with replaced(nn.SyncBatchNorm, forward=forward):
        yield
