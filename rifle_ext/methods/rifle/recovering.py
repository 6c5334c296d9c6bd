"""Learning rates and running statistics during the recovery from a reset."""

from __future__ import annotations

from typing import Collection, Iterable, Optional

from paddle import Tensor, nn

from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.recovery import Recovery, factors
from rifle_ext.training.parameter_rates import ParameterRates
from rifle_ext.training.stillness import StillStatistics, static_layers


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
            If running statistics are to be held still in a static graph, which would not notice.
        """
        warm_up = self._block.warm_up
        if warm_up and self._model is not None and static_layers(self._model):
            raise RifleError(
                f"rifle.warm_up = {warm_up}: running statistics cannot be held still in a model "
                "that is trained as a static graph; set warm_up to 0, or train without to_static"
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
        self._head.restore()
        if self._rest is not None and self._statistics is not None:
            self._rest.restore()
            self._statistics.hold(False)
