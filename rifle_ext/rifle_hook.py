"""RIFLE as a hook that trainers run.

Li et al., "RIFLE: Backpropagation in Depth for Deep Transfer Learning through Re-Initializing the
Fully-connected LayEr", ICML 2020, algorithm 1.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Dict, Optional

from rifle_ext.config import RifleConfig
from rifle_ext.errors import RifleError
from rifle_ext.events import EventLog
from rifle_ext.head_lr import HeadLearningRate
from rifle_ext.hooks import Hook, TrainingRun
from rifle_ext.plan import Plan
from rifle_ext.ranks import check_same, refuse_parts
from rifle_ext.reset import check_optimizer, digest, reinitialize
from rifle_ext.schedule import Reset, cosine


class RifleHook(Hook):
    """Re-initializes the output layers on schedule in a trainer's loop.

    What it does at a step is a function of the block and the step; nothing is carried over.

    Parameters
    ----------
    block
        The validated `rifle:` block.
    source
        What the user knows the config as, for messages.
    """

    def __init__(self, block: RifleConfig, source: str = "config") -> None:
        self.block = block
        self.source = source

    def on_train_begin(self, run: TrainingRun) -> None:
        """Find the output layers, make the plan and say it.

        Raises
        ------
        RifleError
            If the plan cannot be made for this model and training.
        """
        try:
            check_optimizer(run.optimizer)
            self.plan = Plan(self.block, run)
        except RifleError as error:
            raise RifleError(f"{self.source}: {error}") from error
        self.schedule, self.selection = self.plan.schedule, self.plan.selection
        self._due = {reset.step: reset for reset in self.schedule.resets}
        self._head_lr = (
            HeadLearningRate(self.selection.parameters.values(), run.optimizer, run.total_steps)
            if self.block.head_lr == "cyclic"
            else None
        )
        self._events: Optional[EventLog] = None
        self._started = False
        self._log_plan(run)

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Do the reset that is due after `step` optimizer steps, if one is."""
        if not self._started:
            self._start(run)
        due = self._due.get(step)
        if due is not None:
            self._reset(run, due)
        if self._head_lr is not None:
            self._head_lr.set(step, cosine(step, *self.schedule.period(step)))

    def on_train_end(self, run: TrainingRun) -> None:
        """Give the output layers' learning rate back to the training's schedule."""
        if self._head_lr is not None:
            self._head_lr.restore()

    def _start(self, run: TrainingRun) -> None:
        """At the first step of this process: where it starts from is known only now."""
        self._started = True
        refuse_parts()
        if run.rank == 0:
            self._events = EventLog(run.save_dir, resumed=run.start_step > 0)
            self._events.write("plan", **self.plan.record())
            for skipped in self.schedule.skipped:
                self._events.write("skip", **asdict(skipped))
        if run.start_step > 0:
            if self._events is not None:
                self._events.write("resume", step=run.start_step)
            ahead = [str(step) for step in self._due if step >= run.start_step]
            run.log(
                f"[RIFLE] resumed after iteration {run.start_step}; resets still to come after "
                f"iteration {', '.join(ahead) or '(none)'}"
            )

    def _reset(self, run: TrainingRun, due: Reset) -> None:
        begin = time.perf_counter()
        values = self.plan.draw(due.index)
        reinitialize(
            self.selection.tensors,
            values,
            run.optimizer,
            keep_optimizer_state=self.block.optimizer_state == "keep",
            shadows=run.shadows,
        )
        written = digest(self.selection.tensors)
        check_same(written, f"reset {due.index} after iteration {due.step}")
        record: Dict[str, Any] = {
            "step": due.step,
            "epoch": due.epoch,
            "index": due.index,
            "of": len(self.schedule.resets),
            "parameters": list(values),
            "values": self.selection.values,
            "digest": written,
            "duration_ms": round(1000 * (time.perf_counter() - begin), 3),
        }
        if self._events is not None:
            self._events.write("reset", **record)
        run.log(
            "[RIFLE] reset {index} of {of} after iteration {step} (epoch {epoch}): {values} values "
            "in {tensors} tensors drawn again ({names}), optimizer state {state}, "
            "{duration_ms:.0f} ms".format(
                tensors=len(values),
                names=", ".join(self.plan.layers),
                state="kept" if self.block.optimizer_state == "keep" else "reset",
                **record,
            )
        )

    def _log_plan(self, run: TrainingRun) -> None:
        schedule, layers = self.schedule, self.plan.layers
        kinds = ", ".join(f"{name} ({type(layer).__name__})" for name, layer in layers.items())
        steps = ", ".join(str(reset.step) for reset in schedule.resets)
        number = "1 reset" if len(schedule.resets) == 1 else f"{len(schedule.resets)} resets"
        run.log(
            f"[RIFLE] output layers: {kinds}; {len(self.selection.tensors)} tensors, "
            f"{self.selection.values} values"
        )
        run.log(
            f"[RIFLE] {number} planned"
            + (f" after iteration {steps}" if steps else "")
            + f"; {schedule.total_steps} iterations in all, {schedule.steps_per_epoch} an epoch"
        )
        for warning in self.plan.warnings():
            run.warn(f"[RIFLE] {warning}")
        for skipped in schedule.skipped:
            run.log(
                f"[RIFLE] reset {skipped.index} after iteration {skipped.step} is skipped: "
                f"{skipped.why}"
            )
