"""Running statistics that stand still: batch normalizations go on by the batch, or by them."""

from __future__ import annotations

import weakref
from typing import Any, Callable, Collection, Dict, Iterable, Iterator, List, Tuple

from paddle import nn
from paddle.jit.dy2static.program_translator import StaticFunction

from rifle_ext.runtime.normalization import batch_norm_alone

_NORMALIZATIONS = (nn.layer.norm._BatchNormBase, nn.BatchNorm)


class _Momentum:
    """That of one normalization: its own, and who holds its statistics still."""

    def __init__(self, layer: nn.Layer) -> None:
        self._layer = layer  # kept alive: it is known by its id
        self._own: float = layer._momentum
        self._holders: "weakref.WeakSet[StillStatistics]" = weakref.WeakSet()

    def hold(self, by: StillStatistics) -> None:
        """Hold them still, for one more."""
        if not self._holders:
            self._own = self._layer._momentum
        self._holders.add(by)
        self._layer._momentum = 1.0

    def let_go(self, by: StillStatistics) -> None:
        """Let them go, if nobody else holds them."""
        self._holders.discard(by)
        if not self._holders:
            self._layer._momentum = self._own


_MOMENTA: "weakref.WeakValueDictionary[int, _Momentum]" = weakref.WeakValueDictionary()
"""Of all normalizations that anyone holds, by the layer's id."""


class StillStatistics:
    """Holds the running means and variances of batch normalizations still, and lets them go.

    They are what they were before, with their momentum at 1: `running = 1 * running + 0 * batch`.
    Several may hold those of one model, and let them go in any order: the last one gives them back.
    Which layers there are is looked at when they are held: on several GPUs PaddleDetection converts
    the model after training has begun, and its normalizations are others from then on.

    Parameters
    ----------
    model
        Whose layers they are.
    but
        Structured names of the layers that go on as ever.
    """

    def __init__(self, model: nn.Layer, but: Collection[str] = ()) -> None:
        self._model, self._but = model, but
        self._momenta: List[_Momentum] = []
        self._held = False

    def hold(self, held: bool) -> None:
        """Hold them still, or let them go."""
        if held == self._held:
            return
        self._held = held
        if not held:
            for momentum in self._momenta:
                momentum.let_go(self)
            self._momenta = []
            return
        self._momenta = [
            _MOMENTA.setdefault(id(layer), _Momentum(layer))
            for name, layer in self._model.named_sublayers(include_self=True)
            if isinstance(layer, _NORMALIZATIONS) and name not in self._but
        ]
        for momentum in self._momenta:
            momentum.hold(self)


class RunningStatistics:
    """Lets some batch normalizations compute with their running statistics, and not change them.

    As in evaluation: they are in evaluation mode in their own `forward`, and only there, so that
    the mode of the model and of its other layers is nobody's concern. Synchronized ones compute as
    plain ones do: with statistics that are there already, there is nothing to synchronize.
    """

    def __init__(self) -> None:
        self._undo: Dict[int, Tuple[nn.Layer, Callable[[], None]]] = {}

    def use(self, layers: Iterable[nn.Layer]) -> None:
        """Let these do so, too; those that are no batch normalization are left alone."""
        for layer in layers:
            if isinstance(layer, _NORMALIZATIONS) and id(layer) not in self._undo:
                synchronized = isinstance(layer, nn.SyncBatchNorm)
                use = _by_plain_kernel if synchronized else _in_evaluation_mode
                self._undo[id(layer)] = layer, use(layer)

    def restore(self) -> None:
        """Let all go on as before."""
        for _, undo in self._undo.values():
            undo()
        self._undo.clear()


_EVALUATING = {"training": False, "_use_global_stats": True, "_trainable_statistics": False}
"""Attributes of a batch normalization, as far as it has them, that computes as in evaluation."""


def _in_evaluation_mode(layer: nn.Layer) -> Callable[[], None]:
    own: List[Dict[str, Any]] = []

    def before(layer: nn.Layer, inputs: Any) -> None:
        attributes = vars(layer)
        own.append({name: attributes[name] for name in _EVALUATING if name in attributes})
        attributes.update({name: _EVALUATING[name] for name in own[-1]})

    def after(layer: nn.Layer, inputs: Any, outputs: Any) -> None:
        vars(layer).update(own.pop())

    handles = [layer.register_forward_pre_hook(before), layer.register_forward_post_hook(after)]

    def undo() -> None:
        for handle in handles:
            handle.remove()
        while own:  # of a pass that broke off
            after(layer, None, None)

    return undo


def _by_plain_kernel(layer: nn.SyncBatchNorm) -> Callable[[], None]:
    """Its own has no backward pass by running statistics."""
    layer.forward = lambda x: batch_norm_alone(layer, x, training=False)
    return lambda: delattr(layer, "forward")


def has_running_statistics(layer: nn.Layer) -> bool:
    """Whether it is a batch normalization."""
    return isinstance(layer, _NORMALIZATIONS)


def static_layers(model: nn.Layer) -> Dict[str, nn.Layer]:
    """The layers that run as static graphs, by structured name: what they compute with is fixed."""
    named = model.named_sublayers(include_self=True)
    return {n: layer for n, layer in named if any(map(_is_static, _functions(layer)))}


def _functions(layer: nn.Layer) -> Iterator[Any]:
    """What the layer runs: its `forward`, and what its own class defines."""
    yield layer.forward
    for kind in type(layer).__mro__:
        if not kind.__module__.startswith("paddle."):
            yield from vars(kind).values()


def _is_static(function: Any) -> bool:
    return isinstance(function, StaticFunction)
