"""Learning rates and running statistics during the recovery from a reset."""

from __future__ import annotations

from dataclasses import replace
from typing import Collection, Iterable, Optional

from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.recovery import Recovery, factors
from rifle_ext.redraw.initializers import LSUV
from rifle_ext.training.warm_up import HeadFirst, check_optimizer, refuse_static_graphs


def check_warm_up(block: RifleConfig, optimizer: Optional[Optimizer]) -> None:
    """Stop if rates of 0 would not hold everything else still during `warm_up`.

    As `rifle_ext.training.warm_up.check_optimizer`.
    """
    if block.warm_up:
        check_optimizer(optimizer, f"rifle.warm_up = {block.warm_up}")


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
        self._rates = HeadFirst(head, model, bool(block.warm_up or block.ramp), but)

    def check(self) -> None:
        """Before the first step.

        Raises
        ------
        RifleError
            If a static graph would not notice what is asked for: running statistics that stand
            still, weights that are scaled on a batch.
        """
        block = self._block
        if self._model is None:
            return
        if block.warm_up:
            refuse_static_graphs(
                self._model,
                f"rifle.warm_up = {block.warm_up}: running statistics cannot be held still "
                "{without}, or set warm_up to 0",
            )
        if isinstance(block.weight_initializer, LSUV):
            refuse_static_graphs(
                self._model,
                "rifle.weight_initializer: LSUV: no batch can be looked at {without}, or name "
                "another initializer",
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
        self._rates.set(replace(now, head=now.head * cycle))

    def end(self) -> None:
        """Give everything back."""
        self._rates.end()
