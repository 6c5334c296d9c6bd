"""RIFLE as a hook that trainers run.

Li et al., "RIFLE: Backpropagation in Depth for Deep Transfer Learning through Re-Initializing the
Fully-connected LayEr", ICML 2020, algorithm 1.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Dict, List, Mapping, Optional

from paddle import Tensor, nn

from rifle_ext import fresh
from rifle_ext.config import RifleConfig
from rifle_ext.errors import RifleError
from rifle_ext.events import EventLog
from rifle_ext.head_lr import HeadLearningRate
from rifle_ext.hooks import Hook, TrainingRun
from rifle_ext.outputs import own_parameters
from rifle_ext.ranks import check_same
from rifle_ext.reset import digest, reinitialize
from rifle_ext.schedule import Reset, Schedule, cosine, make_schedule
from rifle_ext.selection import Selection, select


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
            self._refuse_lost_originals(run)
            self.schedule = make_schedule(self.block, run.total_steps, run.steps_per_epoch)
            self.selection = select(run.model, self.block.layers, run.forward)
            self._original = {n: t.clone().detach() for n, t in self._kept_originals().items()}
            self._zero = _zero_weights(self._draw(run, index=1))
        except RifleError as error:
            raise RifleError(f"{self.source}: {error}") from error
        self._due = {reset.step: reset for reset in self.schedule.resets}
        self._layers = self.selection.layers(run.model)
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

    def _refuse_lost_originals(self, run: TrainingRun) -> None:
        if self.block.weight_initializer == "original" and run.start_step > 0:
            raise RifleError(
                "rifle.weight_initializer: original cannot go on after a resume here: the trainer "
                "has loaded the checkpoint over the values the training started with"
            )

    def _kept_originals(self) -> Dict[str, Tensor]:
        return self.selection.tensors if self.block.weight_initializer == "original" else {}

    def _start(self, run: TrainingRun) -> None:
        """At the first step of this process: where it starts from is known only now."""
        self._started = True
        if run.rank == 0:
            self._events = EventLog(run.save_dir, resumed=run.start_step > 0)
            self._events.write("plan", **plan_record(self.schedule, self.selection, self._layers))
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
        values = self._draw(run, due.index)
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
                names=", ".join(self._layers),
                state="kept" if self.block.optimizer_state == "keep" else "reset",
                **record,
            )
        )

    def _draw(self, run: TrainingRun, index: int) -> Dict[str, Tensor]:
        wanted, seed = self.block.weight_initializer, self.block.seed
        if wanted == "original":
            values = dict(self._original)
        else:
            values = fresh.from_rebuild(run.rebuild, self.selection.tensors, seed, index)
        initializers, parameters = self.block.initializers(), self.selection.parameters
        values.update(fresh.from_initializers(initializers, parameters, seed, index))
        return values

    def _log_plan(self, run: TrainingRun) -> None:
        schedule, layers = self.schedule, self._layers
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
        if not schedule.resets:
            run.warn("[RIFLE] nothing will be reset in this training")
        if self._zero:
            run.warn(
                f"[RIFLE] fresh {', '.join(self._zero)} are all zero: for one "
                "step after a reset no gradient passes through them to the backbone; a "
                "weight_initializer such as XavierNormal, or layers: head, avoids that"
            )
        for skipped in schedule.skipped:
            run.log(
                f"[RIFLE] reset {skipped.index} after iteration {skipped.step} is skipped: "
                f"{skipped.why}"
            )


def _zero_weights(values: Mapping[str, Tensor]) -> List[str]:
    """Names of the weights (two or more dimensions) whose fresh values are all zero."""
    return [
        name
        for name, value in values.items()
        if len(value.shape) >= 2 and not bool((value != 0).any())
    ]


def plan_record(
    schedule: Schedule, selection: Selection, layers: Mapping[str, nn.Layer]
) -> Dict[str, Any]:
    """The plan as JSON-ready data: lengths, resets, skipped resets, layers, number of values."""
    names = {id(parameter): name for name, parameter in selection.parameters.items()}
    return {
        "total_steps": schedule.total_steps,
        "steps_per_epoch": schedule.steps_per_epoch,
        "resets": [asdict(reset) for reset in schedule.resets],
        "skipped": [asdict(skipped) for skipped in schedule.skipped],
        "layers": [
            {
                "name": layer_name,
                "type": type(layer).__name__,
                "parameters": [
                    {"name": names[id(p)], "shape": list(p.shape)}
                    for p in own_parameters(layer).values()
                    if id(p) in names
                ],
            }
            for layer_name, layer in layers.items()
        ],
        "values": selection.values,
    }
