"""The values that each reset writes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional

import numpy as np
from paddle import Tensor, nn

from rifle_ext.heads.selection import Selection
from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.redraw import fresh
from rifle_ext.redraw.size import inputs_of, resized, root_mean_square
from rifle_ext.runtime.tensors import as_float32
from rifle_ext.training.hooks import TrainingRun


class Drawing:
    """Draws the fresh values of a training's resets: a function of block and index alone.

    Parameters
    ----------
    block
        The validated `rifle:` block.
    run
        The training, not begun.
    fresh_ones
        What is drawn anew.
    restored
        What comes back as it is now.
    second
        The model that was built for the first reset already.
    """

    def __init__(
        self,
        block: RifleConfig,
        run: TrainingRun,
        fresh_ones: Selection,
        restored: Mapping[str, Tensor],
        second: Optional[fresh.SecondModel] = None,
    ) -> None:
        self.block, self._run, self._fresh = block, run, fresh_ones
        kept = fresh_ones.tensors if block.weight_initializer == "original" else {}
        self._kept = {n: t.clone().detach() for n, t in {**kept, **restored}.items()}
        owners = fresh_ones.layers(run.model)
        self._inputs = {
            name: inputs_of(owners[name.rpartition(".")[0]], tensor.shape)
            for name, tensor in fresh_ones.parameters.items()
            if len(tensor.shape) >= 2
            and not isinstance(owners[name.rpartition(".")[0]], nn.Embedding)
        }
        self._named = block.initializers().of(fresh_ones.parameters)
        self._initializers: Optional[Dict[str, Any]] = None
        # One build is needed to know that the model can be redrawn: the first reset uses it.
        first = self._constructed(1, second)
        self.sizes = {name: root_mean_square(value) for name, value in first.items()}
        self.repeated = self._repeated(first)
        self._ahead: Optional[Dict[str, Tensor]] = self._finished(first, 1)
        self.described = [self._describe(name, value) for name, value in self._ahead.items()]

    def draw(self, index: int) -> Dict[str, Tensor]:
        """The values of reset `index` (from 1), by structured name, on the CPU."""
        if index == 1 and self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return ahead
        return self._finished(self._constructed(index), index)

    def _repeated(self, first: Dict[str, Tensor]) -> List[str]:
        """Weights that are no constants, and that the model holds already as they are drawn."""
        if self.block.weight_initializer is not None:
            return []
        held = self._fresh.parameters
        return [
            name
            for name in self._inputs
            if self.sizes[name] > 0
            and np.array_equal(as_float32(first[name]), as_float32(held[name]))
        ]

    def _constructed(
        self, index: int, second: Optional[fresh.SecondModel] = None
    ) -> Dict[str, Tensor]:
        """As the model's constructor draws them."""
        tensors, seed = self._fresh.tensors, self.block.seed
        if not tensors or self.block.weight_initializer == "original":
            return {name: self._kept[name] for name in tensors}
        if index > 1 and self._initializers is not None:
            return fresh.from_initializers(self._initializers, tensors, seed, index)
        second = second or fresh.SecondModel(self._run.rebuild, seed, index)
        redraw = second.redraw(tensors)
        self._initializers = redraw.initializers
        return redraw.values

    def _finished(self, values: Dict[str, Tensor], index: int) -> Dict[str, Tensor]:
        """With what the block says in place of what the constructor draws, and at its size."""
        block = self.block
        if block.weight_initializer != "original":
            own = {name: value for name, value in values.items() if name not in self._named}
            values = {**values, **resized(own, self._inputs, block.scale)}
        drawn = fresh.from_initializers(self._named, self._fresh.tensors, block.seed, index)
        return {**values, **self._kept, **drawn}

    def _describe(self, name: str, value: Tensor) -> Drawn:
        """How a tensor is drawn: one value alone does not tell whether it is a constant."""
        drawn = _describe(name, value)
        if drawn.constant is None or value.size > 1:
            return drawn
        initializer = {**(self._initializers or {}), **self._named}.get(name)
        if initializer is not None:
            constant = "Constant" in type(initializer).__name__
        else:
            now = self._fresh.tensors.get(name, value).astype(value.dtype)
            constant = bool((value.cpu() == now.cpu()).all())
        return drawn if constant else replace(drawn, constant=None)


@dataclass(frozen=True)
class Drawn:
    """How the first reset draws one tensor.

    Attributes
    ----------
    name, shape
        Of the tensor.
    constant
        The one value it is filled with; None if it is not constant.
    mean, std
        Of the values drawn, otherwise.
    """

    name: str
    shape: List[int]
    constant: Any
    mean: float
    std: float

    def record(self) -> Dict[str, Any]:
        """As JSON-ready data."""
        about = {"name": self.name, "shape": self.shape}
        if self.constant is not None:
            return {**about, "constant": self.constant}
        return {**about, "mean": self.mean, "std": self.std}


def _describe(name: str, value: Tensor) -> Drawn:
    values = as_float32(value)
    first = float(values.reshape(-1)[0]) if values.size else 0.0
    constant = first if (values == first).all() else None
    return Drawn(name, list(value.shape), constant, float(values.mean()), float(values.std()))
