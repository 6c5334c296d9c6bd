"""Learning rates and running statistics during the recovery from a reset, in a trainer's loop."""

from __future__ import annotations

from typing import Optional

from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.methods.rifle.recovery import at, factors
from rifle_ext.methods.rifle.schedule import cosine
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.learning_rates import peak
from rifle_ext.training.parameter_rates import CyclicRate, ParameterRates
from rifle_ext.training.stillness import StillStatistics, static_layers


class Recovering:
    """Sets, before each step, what the plan's recoveries say of it.

    Parameters
    ----------
    plan
        The plan.
    run
        Its training, not begun.
    """

    def __init__(self, plan: Plan, run: TrainingRun) -> None:
        self._plan, self._run = plan, run
        head = plan.selection.parameters
        self._head = ParameterRates(head.values())
        self._rest: Optional[ParameterRates] = None
        self._statistics: Optional[StillStatistics] = None
        if plan.block.warm_up or plan.block.ramp:
            named = run.model.named_parameters()
            rest = [p for name, p in named if name not in head and not p.stop_gradient]
            self._rest = ParameterRates(rest)
            self._statistics = StillStatistics(run.model, but=plan.layers)
        self._cycle: Optional[CyclicRate] = None
        if plan.block.head_lr.cycle == "cosine":
            highest, first = peak(run.optimizer._learning_rate, run.total_steps)
            self._cycle = CyclicRate(run.optimizer, highest, first)

    def check(self) -> None:
        """Before the first step.

        Raises
        ------
        RifleError
            If running statistics are to be held still in a static graph, which would not notice.
        """
        static = static_layers(self._run.model) if self._plan.block.warm_up else {}
        if static:
            raise RifleError(
                f"rifle.warm_up = {self._plan.block.warm_up}: running statistics cannot be held "
                "still in a model that is trained as a static graph; set warm_up to 0, or train "
                "without to_static"
            )

    def set(self, step: int) -> None:
        """For the step that follows `step` done ones."""
        block = self._plan.block
        now = factors(step, at(step, self._plan.recoveries), block.warm_up, block.ramp)
        head = now.head
        if self._cycle is not None:
            fraction = cosine(step, *self._plan.schedule.period(step))
            head *= self._cycle.factor(step, fraction)
        self._head.multiply(head)
        if self._rest is not None and self._statistics is not None:
            self._rest.multiply(now.rest)
            self._statistics.hold(now.still)

    def end(self) -> None:
        """Give everything back."""
        self._head.restore()
        if self._rest is not None and self._statistics is not None:
            self._rest.restore()
            self._statistics.hold(False)
