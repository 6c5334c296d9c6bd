"""RIFLE as a hook that trainers run.

Li et al., "RIFLE: Backpropagation in Depth for Deep Transfer Learning through Re-Initializing the
Fully-connected LayEr", ICML 2020, algorithm 1.
"""

from __future__ import annotations

import time
from typing import Callable, Optional, Tuple

from paddle import Tensor

from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.journal import ResetJournal
from rifle_ext.methods.rifle.outlook import outlook
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.methods.rifle.recovering import Recovering, check_rates
from rifle_ext.methods.rifle.recovery import at
from rifle_ext.methods.rifle.schedule import Reset, cosine
from rifle_ext.redraw.initializers import LSUV
from rifle_ext.redraw.lsuv import Calibration
from rifle_ext.redraw.reset import (
    blended,
    check_optimizer,
    digest,
    in_full_precision,
    reinitialize,
    write_master_weights,
)
from rifle_ext.training.hooks import Hook, TrainingRun
from rifle_ext.training.learning_rates import peak
from rifle_ext.training.parameter_rates import CyclicRate
from rifle_ext.training.plans import MethodPlan
from rifle_ext.training.ranks import check_same, refuse_parts
from rifle_ext.training.weight_change import WeightChange

LOOKS = 20
"""How many times in a training the change of the weights is looked at, resets apart."""


class RifleHook(Hook):
    """Re-initializes the output layers on schedule in a trainer's loop.

    What it does at a step is a function of the block and the step; nothing is carried over.

    Parameters
    ----------
    block
        The validated `rifle:` block.
    source
        What the user knows the config as, for messages.

    Attributes
    ----------
    schedule
        The resets, once training has begun.
    before_reset
        Called with the run and the reset before its values are written.
    """

    def __init__(self, block: RifleConfig, source: str = "config") -> None:
        self.block = block
        self.source = source
        self.before_reset: Callable[[TrainingRun, Reset], None] = lambda run, due: None

    def plan(self, run: TrainingRun) -> MethodPlan:
        """What it would do to a training.

        Raises
        ------
        RifleError
            If the plan cannot be made for this model and training.
        """
        self._plan = Plan(self.block, run)
        return outlook(self._plan)

    def busy_until(self, run: TrainingRun) -> int:
        """The last reset, which sends gradients deep into the model, and its warm-up."""
        plan: Plan = getattr(self, "_plan", None) or Plan(self.block, run)
        steps = [reset.step for reset in plan.schedule.resets]
        return max(steps) + self.block.warm_up if steps else 0

    def on_train_begin(self, run: TrainingRun) -> None:
        """Find the output layers, make the plan and say it.

        Raises
        ------
        RifleError
            If the plan cannot be made for this model and training.
        """
        try:
            check_optimizer(run.optimizer)
            check_rates(self.block, run.optimizer)
            self._plan = Plan(self.block, run)
            highest = self._peak(run)
        except RifleError as error:
            raise RifleError(f"{self.source}: {error}") from error
        self.schedule, self.selection = self._plan.schedule, self._plan.selection
        self._due = {reset.step: reset for reset in self.schedule.resets}
        head = self.selection.parameters.values()
        self._recovering = Recovering(self.block, head, run.model, but=self._plan.layers)
        self._cycle: Optional[CyclicRate] = None
        if highest is not None:
            self._cycle = CyclicRate(run.optimizer, *highest)
        self._calibration: Optional[Calibration] = None
        self._change: Optional[WeightChange] = None
        self._look_every = max(1, run.total_steps // LOOKS)
        self._started, self._looking, self._step = False, False, 0
        self._journal = ResetJournal(run, self.block, self._plan)
        self._journal.tell_plan()

    def _peak(self, run: TrainingRun) -> Optional[Tuple[float, int]]:
        """The training's highest rate and where it is, if a cycle of the head's needs it."""
        if self.block.head_lr.cycle != "cosine":
            return None
        try:
            return peak(run.rate, run.total_steps)
        except RifleError as error:
            raise RifleError(
                f"rifle.head_lr.cycle: cosine: {error}; allowed here is cycle: none"
            ) from error

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Do the reset that is due after `step` optimizer steps, if one is."""
        if not self._started:
            self._start(run, step)
        self._step = step
        due = self._due.get(step)
        look = self._looking and (due is not None or step % self._look_every == 0)
        if look and self._change is not None:
            self._tell_change(self._change, step, restart=due is not None)
        self._end_calibration()
        if due is not None:
            self._reset(run, due)
            self._calibrate(run, due)
        self._recovering.set(step, at(step, self._plan.recoveries), self._cycling(step))
        if look and self.selection.parameters:
            head = next(iter(self.selection.parameters.values()))
            rate = run.optimizer.get_lr() * head.optimize_attr["learning_rate"]
            self._journal.scalar("head_lr", rate, step)

    def on_train_end(self, run: TrainingRun) -> None:
        """Give every learning rate back to the training's schedule."""
        self._recovering.end()
        self._end_calibration()
        done = self._step + 1
        if self._change is not None and done == run.total_steps:
            run.scalar = None  # the toolkit has closed its record
            self._tell_change(self._change, done)
        self._journal.end()

    def _cycling(self, step: int) -> float:
        """What the head's rate is multiplied by for a cosine of its own."""
        if self._cycle is None:
            return 1.0
        return self._cycle.factor(step, cosine(step, *self.schedule.period(step)))

    def _start(self, run: TrainingRun, step: int) -> None:
        """At the first step of this process: where it starts from is known only now."""
        self._started = True
        refuse_parts()
        try:
            self._recovering.check()
        except RifleError as error:
            raise RifleError(f"{self.source}: {error}") from error
        self._leave_out_what_lies_between(run)
        self._journal.begin()
        self._looking = run.scalar is not None or bool(self.block.track)
        tracked = run.scalar is not None if self.block.track is None else self.block.track
        if tracked and run.rank == 0:
            self._change = WeightChange(
                {
                    name: parameter
                    for name, parameter in run.model.named_parameters()
                    if not parameter.stop_gradient and name not in self.selection.parameters
                },
                step,
            )

    def _leave_out_what_lies_between(self, run: TrainingRun) -> None:
        """After a resume with epochs of another length, which are counted as they are now.

        Resets that are placed by epochs are right then. Of those placed by iterations some lie
        between the checkpoint's own count and today's: with shorter epochs they were done, with
        longer ones their iterations never come.
        """
        counted = run.counted_steps
        if counted is None or counted == run.start_step:
            return
        first, end = sorted((counted, run.start_step))
        by_iterations = self.block.re_init_iter is not None
        between = [step for step in self._due if by_iterations and first <= step < end]
        done = counted > run.start_step
        why = (
            "it was done before the checkpoint that is resumed"
            if done
            else "the resume begins after it, as epochs are counted now"
        )
        self._plan.leave_out(between, why)
        self.schedule = self._plan.schedule
        self._due = {reset.step: reset for reset in self.schedule.resets}
        left = f"the reset after iteration {', '.join(map(str, between))}"
        left = f"done already, and left out: {left}" if done else f"passed over: {left}"
        self._journal.warn(
            f"the checkpoint was made after {counted} iterations, which count as {run.start_step} "
            "now that an epoch has another length" + (f"; {left}" if between else "")
        )

    def _tell_change(self, change: WeightChange, step: int, restart: bool = False) -> None:
        """Say how far the weights have moved in this period."""
        if step > change.since:
            self._journal.tell_weights(step, change.since, change.stages())
        if restart:
            change.restart(step)

    def _calibrate(self, run: TrainingRun, due: Reset) -> None:
        """Let the next batch scale what was drawn, with `weight_initializer: LSUV`."""
        spec = self.block.weight_initializer
        if not isinstance(spec, LSUV):
            return

        def finish(name: str, value: Tensor, factor: float) -> None:
            write_master_weights(run.optimizer, {name: named[name]}, {name: value})
            for shadow in run.shadows:
                shadow({name: value})
            self._journal.tell_calibration(due.step, name, factor, digest({name: value}))

        drawn = self.selection.without(self._plan.restored).parameters
        named = {name: p for name, p in drawn.items() if len(p.shape) >= 2}
        owners = {n: self._plan.layers[n.rpartition(".")[0]] for n in named}
        owners = {n: layer for n, layer in owners.items() if n.endswith(".weight")}
        self._calibration = Calibration(owners, spec.variance, finish)

    def _end_calibration(self) -> None:
        """At the step after a reset: a training that is resumed there scales nothing, either."""
        if self._calibration is not None:
            self._journal.tell_uncalibrated(self._calibration.end())
            self._calibration = None

    def _reset(self, run: TrainingRun, due: Reset) -> None:
        begin = time.perf_counter()
        self.before_reset(run, due)
        values = self._plan.draw(due.index)
        if self.block.keep:
            old = in_full_precision(run.optimizer, self.selection.parameters)
            values = {**values, **blended(old, values, self.block.keep)}
        reinitialize(
            self.selection.tensors,
            values,
            run.optimizer,
            keep_optimizer_state=self.block.optimizer_state == "keep",
            shadows=run.shadows,
        )
        written = digest(self.selection.tensors)
        check_same(written, f"reset {due.index} after iteration {due.step}")
        self._journal.tell_reset(
            {
                "step": due.step,
                "epoch": due.epoch,
                "index": due.index,
                "of": len(self.schedule.resets),
                "parameters": list(values),
                "values": self.selection.values,
                "digest": written,
                "duration_ms": round(1000 * (time.perf_counter() - begin), 3),
            }
        )
