"""What RIFLE will do to a training: which layers, drawn how, when, and how they come back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Collection, Dict, List, Optional

from paddle import Tensor

from rifle_ext.errors import RifleError
from rifle_ext.heads.selection import Selection, select
from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.drawing import Drawing
from rifle_ext.methods.rifle.recovery import AMPLY, Recovery, pace_of, recoveries
from rifle_ext.methods.rifle.schedule import Schedule, make_schedule
from rifle_ext.redraw import fresh
from rifle_ext.redraw.reset import check_trained
from rifle_ext.training.heeding import heeds_rates
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.learning_rates import foreseen, full_rate_steps_left
from rifle_ext.training.length import check_length
from rifle_ext.training.loading import Loaded


class Plan:
    """The resets of one training, made before its first step.

    Parameters
    ----------
    block
        The validated `rifle:` block.
    run
        The training.

    Attributes
    ----------
    selection
        What a reset writes.
    frozen
        Names of the weights of output layers that are frozen, and so left alone.
    loaded
        Names of the chosen tensors that hold pretrained weights.
    restored
        Names of those among them that a reset brings back.
    layers
        The layers that own what a reset writes, by structured name.
    schedule
        When the resets are.
    recoveries
        The way back from each.

    Raises
    ------
    RifleError
        If the plan cannot be made for this model and training.
    """

    def __init__(self, block: RifleConfig, run: TrainingRun) -> None:
        self.block = block
        check_length(run.total_steps, run.steps_per_epoch)
        if block.weight_initializer == "original" and run.start_step > 0:
            raise RifleError(
                "rifle.weight_initializer: original cannot go on after a resume here: the trainer "
                "has loaded the checkpoint over the values the training started with",
                topic="resume",
            )
        layers = "auto" if block.layers == "outputs" else block.layers
        second = self._built_again(run, probed=isinstance(layers, str))
        built = second.model if second is not None else None
        chosen = select(run.model, layers, run.forward, run.gives_losses, built)
        self.frozen = chosen.frozen
        pretrained = Loaded() if block.of_loaded == "redraw" else run.loaded()
        loaded = {name: t for name, t in pretrained.values.items() if name in chosen.tensors}
        self._unread = {p for name, p in pretrained.unread.items() if name in chosen.tensors}
        self.loaded = list(loaded)
        redrawn = chosen if block.of_loaded == "redraw" else chosen.without(loaded)
        self.selection: Selection = chosen.without(loaded if block.of_loaded == "keep" else ())
        self.layers = self.selection.layers(run.model)
        restored = loaded if block.of_loaded == "restore" else {}
        self.restored = list(restored)
        self._drawing = Drawing(block, run, redrawn, restored, second)
        del second, built
        check_trained(run.optimizer, self.selection.parameters)
        rates = foreseen(run.rate, run.total_steps)
        heeds = heeds_rates(run.optimizer)
        pace = pace_of(self._drawing.sizes, redrawn.parameters, run.optimizer, heeds)
        self.schedule: Schedule = make_schedule(
            block,
            run.total_steps,
            run.steps_per_epoch,
            full_rate_steps_left(rates),
            pace.need(max(rates), block.head_lr.scale),
        )
        self.recoveries: List[Recovery] = recoveries(block, self.schedule, rates, pace)
        if not self.selection.tensors:
            steps = [reset.step for reset in self.schedule.resets]
            self.leave_out(steps, "every output layer was loaded")

    def _built_again(self, run: TrainingRun, probed: bool) -> Optional[fresh.SecondModel]:
        """A second model, as the first reset draws it; the probe runs it, too."""
        original = self.block.weight_initializer == "original"
        if original and not probed:
            return None
        try:
            return fresh.SecondModel(run.rebuild, self.block.seed, 1)
        except RifleError:
            if original:  # no build is needed for the values, but it would spare this model
                return None
            raise

    def leave_out(self, steps: Collection[int], why: str) -> None:
        """Skip the resets after these steps, for a reason."""
        self.schedule = self.schedule.without(steps, why)
        self.recoveries = [way for way in self.recoveries if way.start not in steps]

    def draw(self, index: int) -> Dict[str, Tensor]:
        """The fresh values of reset `index` (from 1), by structured name, on the CPU."""
        return self._drawing.draw(index)

    def warnings(self) -> List[str]:
        """What a user should think about, a sentence each."""
        found = []
        if not self.selection.tensors:
            found.append(
                "every output layer was loaded from pretrained weights, so none is new and nothing "
                "will be reset; if your classes are others than those, as many as they were, say "
                "rifle.layers: outputs"
            )
        if self._unread and self.block.of_loaded != "redraw":
            found.append(
                f"{', '.join(sorted(self._unread))} is not on this machine, so it is not known "
                "whether it holds output layers; those would not be reset (rifle.layers: auto)"
            )
        if self._drawing.repeated:
            found.append(
                f"{', '.join(self._drawing.repeated)}: the same values each time the model is "
                "built, so a reset writes those again; does its constructor read them from a "
                "file? A weight_initializer draws others"
            )
        if self.frozen:
            found.append(f"output layers that are frozen, and left alone: {', '.join(self.frozen)}")
        if self.selection.tensors and not self.schedule.resets:
            found.append("nothing will be reset in this training")
        return found + self._still() + self._hasty()

    def _still(self) -> List[str]:
        """What to say if everything but a head does not learn as before until a period's end."""
        warm_up, ramp = self.block.warm_up, self.block.ramp
        worst = min(self.recoveries, key=lambda way: way.end - way.start, default=None)
        if worst is None or warm_up + ramp < worst.end - worst.start:
            return []
        follow = worst.end - worst.start
        keys = {"rifle.warm_up": warm_up, "rifle.ramp": ramp}
        said = ", ".join(f"{key} = {steps}" for key, steps in keys.items() if steps)
        what = (
            f"nothing but the output layers learns in the {follow} iterations that follow"
            if warm_up >= follow
            else "the learning rate of everything else is not back within the "
            f"{follow} iterations that follow"
        )
        return [f"{said}: after iteration {worst.start} {what}; set less"]

    def _hasty(self) -> List[str]:
        """What to say if a fresh head has too little learning before it is reset or the end."""
        short = [way for way in self.recoveries if not way.enough]
        if not short or self.block.weight_initializer == "original":
            return []
        worst = min(short, key=lambda way: (way.expected is not None, way.end - way.start))
        several = len(self.recoveries) > 1
        which = f"{len(short)} of {len(self.recoveries)} resets leave" if several else ""
        subject = f"{which or 'the reset leaves'} too little time"
        follow = worst.end - worst.start
        back = (
            f"is expected back after {worst.expected} iterations, and should have {AMPLY} times as "
            f"many, {AMPLY * worst.expected}, where {follow} follow"
            if worst.expected is not None
            else f"is not expected back within the {follow} iterations that follow"
        )
        return [
            f"{subject}: after iteration {worst.start} a fresh head {back}; train longer, reset "
            "earlier or less often"
        ]

    def record(self) -> Dict[str, Any]:
        """The plan as JSON-ready data; the README beside this module lists the keys."""
        owned: Dict[str, List[Dict[str, Any]]] = {name: [] for name in self.layers}
        for drawn in self._drawing.described:
            owned[drawn.name.rpartition(".")[0]].append(drawn.record())
        return {
            "total_steps": self.schedule.total_steps,
            "steps_per_epoch": self.schedule.steps_per_epoch,
            "resets": [asdict(reset) for reset in self.schedule.resets],
            "skipped": [asdict(skipped) for skipped in self.schedule.skipped],
            "layers": [
                {"name": name, "type": type(layer).__name__, "parameters": owned[name]}
                for name, layer in self.layers.items()
            ],
            "values": self.selection.values,
            **({"frozen": list(self.frozen)} if self.frozen else {}),
            "loaded": {"parameters": self.loaded, "are": self.block.of_loaded},
            "recovery": [
                {
                    "step": way.start,
                    "scale": round(way.scale, 2),
                    "iterations": way.iterations,
                    "expected": way.expected,
                }
                for way in self.recoveries
            ],
            "warnings": self.warnings(),
        }
