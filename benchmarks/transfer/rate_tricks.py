"""Learning rates that differ from plain fine-tuning's, as hooks: see tricks.py."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from paddle import nn

from rifle_ext.heads.selection import select
from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.methods.rifle.recovery import at, factors
from rifle_ext.methods.rifle.schedule import Schedule, cosine, make_schedule
from rifle_ext.training import parameter_rates
from rifle_ext.training.hooks import Hook, TrainingRun
from rifle_ext.training.learning_rates import peak


def output_layers(run: TrainingRun) -> Dict[str, nn.Layer]:
    """The layers RIFLE would reset, by structured name."""
    return select(run.model, "auto", run.forward, run.gives_losses).layers(run.model)


def equal_periods(run: TrainingRun, number: int) -> Schedule:
    """The periods that RIFLE would cut a training into with one reset less."""
    block = RifleConfig.model_validate({"max_re_num": number - 1})
    return make_schedule(block, run.total_steps, run.steps_per_epoch)


class CyclicRate(Hook):
    """Cosine learning rates that restart (Loshchilov and Hutter, ICLR 2017), for all parameters.

    Parameters
    ----------
    periods
        Equal ones; the paper's 4 are those of three resets.
    """

    def __init__(self, periods: int = 4) -> None:
        self.periods = periods

    def on_train_begin(self, run: TrainingRun) -> None:
        """Take the peak of the training's own schedule."""
        parameters = [p for p in run.model.parameters() if not p.stop_gradient]
        self._rates = parameter_rates.ParameterRates(parameters)
        highest, first = peak(run.optimizer._learning_rate, run.total_steps)
        self._cycle = parameter_rates.CyclicRate(run.optimizer, highest, first)
        self._schedule = equal_periods(run, self.periods)

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Set the rate of the next step."""
        fraction = cosine(step, *self._schedule.period(step))
        self._rates.multiply(self._cycle.factor(step, fraction))


class OtherRate(Hook):
    """All learning rates times a factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def on_train_begin(self, run: TrainingRun) -> None:
        """Multiply them."""
        self._rates = parameter_rates.ParameterRates(run.model.parameters())
        self._rates.multiply(self.factor)


class FasterHead(Hook):
    """A higher learning rate of the output layers for a while.

    Parameters
    ----------
    scale
        What their rate is multiplied by.
    iterations
        For how many iterations.
    after
        Optimizer steps done at the beginning of each such while.
    layers
        Which ones, if not all: names or globs.
    """

    def __init__(
        self, scale: float, iterations: int, after: List[int], layers: Optional[List[str]] = None
    ) -> None:
        self.scale, self.iterations, self.after = scale, iterations, after
        self.layers = layers or "auto"

    def on_train_begin(self, run: TrainingRun) -> None:
        """Find the output layers and the factors of their own."""
        found = select(run.model, self.layers, run.forward, run.gives_losses).parameters.values()
        self._rates = parameter_rates.ParameterRates(found)

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Set the factor of the next step."""
        now = any(0 <= step - start < self.iterations for start in self.after)
        self._rates.multiply(self.scale if now else 1.0)


class RatesOnly(Hook):
    """The head's learning rates of a `rifle:` block, without its resets.

    Parameters
    ----------
    block
        The block.
    """

    def __init__(self, block: Dict[str, Any]) -> None:
        self.block = RifleConfig.model_validate(block)

    def on_train_begin(self, run: TrainingRun) -> None:
        """Make the plan."""
        plan = Plan(self.block, run)
        self._ways = plan.recoveries
        self._rates = parameter_rates.ParameterRates(plan.selection.parameters.values())

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Set the rates of the next step."""
        self._rates.multiply(factors(step, at(step, self._ways)).head)
