"""FreezeOut as a hook that trainers run.

Brock, Lim, Ritchie and Weston, "FreezeOut: Accelerate Training by Progressively Freezing Layers",
2017 (arXiv 1706.04983); code github.com/ajbrock/FreezeOut.
"""

from __future__ import annotations

from typing import List, Optional

from rifle_ext.errors import RifleError
from rifle_ext.methods.freeze_out.block import BLOCK_KEY, FreezeOutConfig
from rifle_ext.methods.freeze_out.journal import FreezeJournal
from rifle_ext.methods.freeze_out.outlook import outlook
from rifle_ext.methods.freeze_out.plan import Plan
from rifle_ext.training.freezing import Frozen, check_optimizer
from rifle_ext.training.heeding import check_heeded
from rifle_ext.training.hooks import Hook, TrainingRun
from rifle_ext.training.learning_rates import peak
from rifle_ext.training.parameter_rates import CyclicRate, ParameterRates, SharedRates
from rifle_ext.training.plans import MethodPlan
from rifle_ext.training.ranks import refuse_parts
from rifle_ext.training.stillness import static_layers


class FreezeOutHook(Hook):
    """Anneals each layer's rate to zero on a schedule of its own, then takes it out.

    What it does at a step is a function of the block and the step; nothing is carried over. It is
    called after methods that change the model between steps.

    Parameters
    ----------
    block
        The validated `freeze_out:` block.
    source
        What the user knows the config as, for messages.
    """

    priority = 60

    def __init__(self, block: FreezeOutConfig, source: str = "config") -> None:
        self.block = block
        self.source = source

    def plan(self, run: TrainingRun) -> MethodPlan:
        """What it would do to a training.

        Raises
        ------
        RifleError
            If the plan cannot be made for this model and training.
        """
        return outlook(Plan(self.block, run))

    def on_train_begin(self, run: TrainingRun) -> None:
        """Find the layers and their order, make the plan and say it.

        Raises
        ------
        RifleError
            If the plan cannot be made for this model and training.
        """
        try:
            check_optimizer(run.optimizer)
            check_heeded(run.optimizer, BLOCK_KEY, "train with another optimizer")
            self._plan = Plan(self.block, run)
            self._own = self._own_rate(run)
        except RifleError as error:
            raise RifleError(f"{self.source}: {error}") from error
        self._shared: Optional[SharedRates] = None
        self._rates = [ParameterRates(layer.parameters.values()) for layer in self._plan.layers]
        self._frozen: Optional[Frozen] = None
        self._still: List[int] = []
        self._step = 0
        self._journal = FreezeJournal(run, self._plan)
        self._journal.tell_plan()

    def _own_rate(self, run: TrainingRun) -> Optional[CyclicRate]:
        """What makes rates follow the cosine alone, if they do: `lr: own`."""
        if self.block.lr != "own":
            return None
        try:
            start = self._plan.timetable.start
            return CyclicRate(run.optimizer, *peak(run.rate, run.total_steps, start))
        except RifleError as error:
            raise RifleError(f"{BLOCK_KEY}.lr: own: {error}; allowed here is lr: follow") from error

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Freeze what is due after `step` optimizer steps, and set the rates of the rest."""
        table = self._plan.timetable
        if self._frozen is None:
            self._start(run)
        self._step = step
        if self._shared is not None:
            self._shared.next_step()
        due = [index for index in table.frozen_by(step) if index not in self._still]
        if due:
            self._freeze(run, due, step)
        for index, rates in enumerate(self._rates):
            factor = table.factor(index, step)
            if self._own is not None and step >= table.start:
                factor = self._own.factor(step, factor)
            rates.multiply(factor)

    def on_train_end(self, run: TrainingRun) -> None:
        """Let everything learn again, at its own rate."""
        for rates in self._rates:
            rates.restore()
        if self._frozen is not None:
            self._frozen.restore()
        if self._shared is not None:
            self._shared.restore()
        self._journal.end(self._step)

    def _start(self, run: TrainingRun) -> None:
        """At the first step of this process: wrappers are known only now."""
        refuse_parts()
        static = static_layers(run.model)
        if static:
            name = next(iter(static)) or "the model itself"
            raise RifleError(
                f"{self.source}: {BLOCK_KEY}: {name} is trained as a static graph, which goes on "
                "computing all gradients; train without to_static",
                topic="static-graph",
            )
        self._frozen, self._shared = Frozen(run), SharedRates(run.optimizer)
        self._journal.begin()

    def _freeze(self, run: TrainingRun, due: List[int], step: int) -> None:
        assert self._frozen is not None
        named = dict(run.model.named_sublayers(include_self=True))
        layers = [self._plan.layers[index] for index in due]
        self._frozen.add(
            {name: p for layer in layers for name, p in layer.parameters.items()},
            [named[name] for layer in layers for name in layer.normalizations],
        )
        self._still += due
        now = [index for index in due if self._plan.timetable.freezes_at(index) == step]
        if now:
            self._journal.tell_freezing(step, now)
