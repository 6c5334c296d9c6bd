"""What FreezeOut will do to a training: which layers, in which order, when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from paddle import Tensor, nn

from rifle_ext.errors import CannotRun, RifleError
from rifle_ext.heads.execution import Execution, execution, layers_in_order, owner_of
from rifle_ext.heads.outputs import find_outputs, trainable_parameters
from rifle_ext.heads.selection import select
from rifle_ext.methods.freeze_out.block import BLOCK_KEY, FreezeOutConfig
from rifle_ext.methods.freeze_out.saving import left_out, saving
from rifle_ext.methods.freeze_out.schedule import Timetable, fractions
from rifle_ext.redraw.fresh import SecondModel
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.length import check_length
from rifle_ext.training.stillness import has_running_statistics

BACKBONE = "backbone"
"""The attribute name that both toolkits give that part of a model."""

DEPTH = 3
"""How many levels of modules tell the stages of a plan apart, as in ``backbone.stages.0``."""

STEEP = 4.0
"""From how many times the training's own rate on a first rate is warned of."""


@dataclass(frozen=True)
class FreezingLayer:
    """A layer with weights and the normalization behind it, which freeze together.

    Attributes
    ----------
    name
        Structured name of the layer.
    parameters
        Those of both that freeze, by structured name.
    normalizations
        Structured names of the batch normalizations among them.
    work
        Multiply-adds in the pass that found it.
    """

    name: str
    parameters: Dict[str, Tensor]
    normalizations: Tuple[str, ...]
    work: float

    @property
    def values(self) -> int:
        """How many numbers freeze with it."""
        return sum(int(parameter.size) for parameter in self.parameters.values())


class Plan:
    """The freezing of one training, planned before its first step.

    Parameters
    ----------
    block
        The validated block.
    run
        The training.

    Attributes
    ----------
    layers
        What freezes, in the order of execution.
    timetable
        When.
    waits_for
        The methods that need gradients everywhere until the clock starts.
    unreached
        Names of chosen parameters that the forward pass does not use; they are left alone.
    values
        How many numbers the training changes in all.

    Raises
    ------
    RifleError
        If the plan cannot be made for this model and training.
    """

    def __init__(self, block: FreezeOutConfig, run: TrainingRun) -> None:
        check_length(run.total_steps, run.steps_per_epoch)
        self.block, self._run = block, run
        second = _built_again(run)
        ran = _execution(run, second)
        trainable = trainable_parameters(run.model)
        chosen = self._chosen(trainable, second)
        self.layers = freezing_layers(run.model, ran, chosen)
        self.unreached = [name for name in chosen if name not in ran.order]
        self._check(trainable, ran)
        self.values = sum(int(parameter.size) for parameter in trainable.values())
        busy = {
            key: max(hook.busy_until(run) for hook in hooks)
            for key, hooks in run.methods.items()
            if key != BLOCK_KEY
        }
        start = max(busy.values(), default=0)
        self.waits_for = [key for key, step in busy.items() if step == start > 0]
        times = fractions(len(self.layers), block.t_0, block.how_scale)
        self.timetable = Timetable(start, run.total_steps, tuple(times), block.scale_lr)
        self.rest = sum(ran.work.values()) - sum(layer.work for layer in self.layers)

    def _chosen(
        self, trainable: Dict[str, Tensor], second: Optional[nn.Layer]
    ) -> Dict[str, Tensor]:
        """The parameters that the block's `layers` stands for."""
        run, layers = self._run, self.block.layers
        how = (run.forward, run.gives_losses, second, BLOCK_KEY)
        if not isinstance(layers, str):
            return select(run.model, layers, *how).parameters
        backbone = {name: p for name, p in trainable.items() if BACKBONE in name.split(".")[:-1]}
        if layers == "auto" and backbone:
            return backbone
        outputs = find_outputs(run.model, *how).parameters
        return {name: p for name, p in trainable.items() if name not in outputs}

    def _check(self, trainable: Dict[str, Tensor], ran: Execution) -> None:
        """Stop if there is nothing to freeze, or nothing that would learn to the end."""
        said = self.block.layers if isinstance(self.block.layers, str) else list(self.block.layers)
        if not self.layers:
            raise RifleError(
                f"{BLOCK_KEY}.layers: {said}: none of these layers runs in a training step of "
                f"{type(self._run.model).__name__}, so there is nothing to freeze",
                topic="layers",
            )
        frozen = {name for layer in self.layers for name in layer.parameters}
        if not {name for name in ran.order if name in trainable} - frozen:
            raise RifleError(
                f"{BLOCK_KEY}.layers: {said}: that is all that learns in "
                f"{type(self._run.model).__name__}; leave out what is to learn to the end, the "
                "output layers in the main (auto does)",
                topic="layers",
            )

    def frozen_values(self, step: int) -> int:
        """How many numbers are still in the step that follows `step` done ones."""
        return sum(self.layers[index].values for index in self.timetable.frozen_by(step))

    def estimate(self) -> Dict[str, float]:
        """What part of the training's time is saved: with a backward pass of 1 and of 2 forward."""
        table = self.timetable
        steps = [min(table.freezes_at(i), table.total_steps) for i in range(len(self.layers))]
        part = left_out(
            [layer.work for layer in self.layers],
            [step / table.total_steps for step in steps],
            self.rest,
        )
        return {"paper": round(saving(part, 1), 4), "backward_twice": round(saving(part), 4)}

    def stages(self) -> Dict[str, List[int]]:
        """The layers by the module they are in, `DEPTH` levels deep, in the order they freeze."""
        found: Dict[str, List[int]] = {}
        for index, layer in enumerate(self.layers):
            found.setdefault(".".join(layer.name.split(".")[:DEPTH]), []).append(index)
        return found

    def warnings(self) -> List[str]:
        """What a user should think about, a sentence each."""
        found = []
        table, count = self.timetable, len(self.layers)
        if self.unreached:
            found.append(
                f"{len(self.unreached)} parameters are not used in the forward pass on a made-up "
                f"sample, and are left alone: {some(self.unreached)}"
            )
        if not any(table.freezes_at(index) < table.total_steps for index in range(count)):
            found.append("nothing freezes before the training ends")
        steepest = max(table.scale(index) for index in range(count))
        if steepest >= STEEP:
            found.append(
                f"scale_lr lets the earliest layers begin at {steepest:.3g} times the rate of the "
                "others, which is much for pretrained weights"
            )
        return found

    def record(self) -> Dict[str, Any]:
        """The plan as JSON-ready data; the README beside this module lists the keys."""
        table = self.timetable
        return {
            "total_steps": table.total_steps,
            "steps_per_epoch": self._run.steps_per_epoch,
            "start": table.start,
            "waits_for": list(self.waits_for),
            "layers": [
                {
                    "name": layer.name,
                    "parameters": list(layer.parameters),
                    "values": layer.values,
                    "fraction": round(table.times[index], 6),
                    "freezes_at": table.freezes_at(index),
                    "scale": round(table.scale(index), 6),
                }
                for index, layer in enumerate(self.layers)
            ],
            "values": self.values,
            "unreached": list(self.unreached),
            "saving": self.estimate(),
            "warnings": self.warnings(),
        }


def _built_again(run: TrainingRun) -> Optional[nn.Layer]:
    """A second model to look at, so that the training's own is not touched; None without one."""
    try:
        return SecondModel(run.rebuild, 0, 1).model
    except RifleError:
        return None


def _execution(run: TrainingRun, second: Optional[nn.Layer]) -> Execution:
    try:
        return execution(run.model, run.forward, second)
    except CannotRun as error:
        raise RifleError(
            f"{BLOCK_KEY}: the order in which the layers run could not be found: {error}",
            topic=error.topic,
        ) from error.__cause__


def freezing_layers(
    model: nn.Layer, ran: Execution, chosen: Dict[str, Tensor]
) -> List[FreezingLayer]:
    """Some parameters, by structured name, as layers in the order of execution."""
    named, owners = dict(model.named_parameters()), dict(model.named_sublayers(include_self=True))
    found = []
    for names in layers_in_order(ran.order, {name: p.shape for name, p in named.items()}):
        parameters = {name: chosen[name] for name in names if name in chosen}
        if not parameters:
            continue
        inside = dict.fromkeys(owner_of(name) for name in names)
        goes_on = {owner_of(n) for n in names if n not in chosen and not named[n].stop_gradient}
        still = [name for name in inside if name not in goes_on]
        found.append(
            FreezingLayer(
                owner_of(next(iter(parameters))) or next(iter(parameters)),
                parameters,
                tuple(name for name in still if has_running_statistics(owners[name])),
                sum(ran.work.get(name, 0.0) for name in still),
            )
        )
    return found


def some(names: List[str], most: int = 5) -> str:
    """The first few of some names, for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
