"""Learning rates and running statistics during the recovery from a reset."""

from __future__ import annotations

import weakref
from typing import Collection, Iterable, Optional

from paddle import Tensor, nn
from paddle.optimizer import Optimizer, RMSProp

from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.recovery import Recovery, factors
from rifle_ext.redraw.initializers import LSUV
from rifle_ext.training.parameter_rates import ParameterRates
from rifle_ext.training.stillness import StillStatistics, static_layers


def check_warm_up(block: RifleConfig, optimizer: Optional[Optimizer]) -> None:
    """Stop if rates of 0 would not hold everything else still during `warm_up`.

    Raises
    ------
    RifleError
        If the optimizer's moments contain the learning rate, so that they go on moving the weights.
    """
    contains = isinstance(optimizer, RMSProp) and optimizer._momentum > 0
    if block.warm_up and (contains or "Lars" in type(optimizer).__name__):
        raise RifleError(
            f"rifle.warm_up = {block.warm_up}: with {type(optimizer).__name__} and momentum what "
            "was to stand still would go on moving, as its moments contain the learning rate; set "
            "warm_up to 0, or train with another optimizer"
        )


_ACTIVE: "weakref.WeakSet[Recovering]" = weakref.WeakSet()
"""Those that may have changed something: an interrupted loop of a user's own never ends its own."""


class Recovering:
    """Sets, before each step, what the recovery from the last reset says of it.

    Parameters
    ----------
    block
        The validated block.
    head
        The parameters that are reset.
    model
        The model they are in; needed for `warm_up` and `ramp`.
    but
        Structured names of the layers that are reset: their running statistics never stand still.
    """

    def __init__(
        self,
        block: RifleConfig,
        head: Iterable[Tensor],
        model: Optional[nn.Layer],
        but: Collection[str] = (),
    ) -> None:
        self._block, self._model = block, model
        heads = {id(parameter): parameter for parameter in head}
        self._touched = {*heads, *(id(p) for p in (model.parameters() if model else ()))}
        for other in [o for o in _ACTIVE if o._touched & self._touched]:
            other.end()  # or its rates would be taken for the parameters' own
        _ACTIVE.add(self)
        self._head = ParameterRates(heads.values())
        self._rest: Optional[ParameterRates] = None
        self._statistics: Optional[StillStatistics] = None
        if model is not None and (block.warm_up or block.ramp):
            changing = (p for p in model.parameters() if not p.stop_gradient)
            self._rest = ParameterRates(p for p in changing if id(p) not in heads)
            self._statistics = StillStatistics(model, but)

    def check(self) -> None:
        """Before the first step.

        Raises
        ------
        RifleError
            If a static graph would not notice what is asked for: running statistics that stand
            still, weights that are scaled on a batch.
        """
        block = self._block
        if self._model is None or not static_layers(self._model):
            return
        without = "in a model that is trained as a static graph; train without to_static"
        if block.warm_up:
            raise RifleError(
                f"rifle.warm_up = {block.warm_up}: running statistics cannot be held still "
                f"{without}, or set warm_up to 0"
            )
        if isinstance(block.weight_initializer, LSUV):
            raise RifleError(
                f"rifle.weight_initializer: LSUV: no batch can be looked at {without}, or name "
                "another initializer"
            )

    def set(self, step: int, way: Optional[Recovery], cycle: float = 1.0) -> None:
        """For the step that follows `step` done ones.

        Parameters
        ----------
        step
            Optimizer steps done.
        way
            The recovery from the last reset; None before the first.
        cycle
            What else the head's rate is multiplied by.
        """
        now = factors(step, way, self._block.warm_up, self._block.ramp)
        self._head.multiply(now.head * cycle)
        if self._rest is not None and self._statistics is not None:
            self._rest.multiply(now.rest)
            self._statistics.hold(now.still)

    def end(self) -> None:
        """Give everything back."""
        _ACTIVE.discard(self)
        self._head.restore()
        if self._rest is not None and self._statistics is not None:
            self._rest.restore()
            self._statistics.hold(False)
