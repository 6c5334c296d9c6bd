"""Running statistics that stand still while the layers go on normalizing by the batch."""

from __future__ import annotations

from typing import Any, Collection, Dict, Iterator, List, Tuple

from paddle import nn
from paddle.jit.dy2static.program_translator import StaticFunction

_NORMALIZATIONS = (nn.layer.norm._BatchNormBase, nn.BatchNorm)


class StillStatistics:
    """Holds the running means and variances of batch normalizations still, and lets them go.

    They are what they were before, with their momentum at 1: `running = 1 * running + 0 * batch`.

    Parameters
    ----------
    model
        Whose layers they are.
    but
        Structured names of the layers that go on as ever.
    """

    def __init__(self, model: nn.Layer, but: Collection[str] = ()) -> None:
        self._layers: List[Tuple[nn.Layer, float]] = [
            (layer, layer._momentum)
            for name, layer in model.named_sublayers(include_self=True)
            if isinstance(layer, _NORMALIZATIONS) and name not in but
        ]
        self._held = False

    def hold(self, held: bool) -> None:
        """Hold them still, or let them go."""
        if held == self._held:
            return
        self._held = held
        for layer, own in self._layers:
            layer._momentum = 1.0 if held else own


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
