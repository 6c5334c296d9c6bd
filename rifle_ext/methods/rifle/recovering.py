"""Learning rates and running statistics during the recovery from a reset."""

from __future__ import annotations

from dataclasses import replace
from typing import Collection, Iterable, Optional

from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.recovery import Recovery, factors
from rifle_ext.redraw.initializers import LSUV
from rifle_ext.training.heeding import check_heeded
from rifle_ext.training.warm_up import HeadFirst, check_optimizer, refuse_static_graphs


def check_rates(block: RifleConfig, optimizer: Optional[Optimizer]) -> None:
    """Stop if the optimizer would not heed the rates that a block asks for.

    As `rifle_ext.training.warm_up.check_optimizer` for `warm_up`, as
    `rifle_ext.training.heeding.check_heeded` for `ramp` and `head_lr`. What `auto` leaves open is
    no such rate.
    """
    wanted, another = block.head_lr, "or train with another optimizer"
    if block.warm_up:
        check_optimizer(optimizer, f"rifle.warm_up = {block.warm_up}")
    if block.ramp:
        check_heeded(optimizer, f"rifle.ramp = {block.ramp}", f"set it to 0, {another}")
    if wanted.cycle != "none":
        asked = f"rifle.head_lr.cycle = {wanted.cycle}"
        check_heeded(optimizer, asked, f"set head_lr: none, {another}")
    if wanted.scale not in ("auto", 1):
        asked = f"rifle.head_lr.scale = {wanted.scale:g}"
        check_heeded(optimizer, asked, f"set head_lr: none, {another}")


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
