"""What RIFLE will do to a training: which layers, drawn how, when."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional

from paddle import Tensor

from rifle_ext.errors import RifleError
from rifle_ext.heads.selection import Selection, select
from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.schedule import ENOUGH, Schedule, make_schedule
from rifle_ext.redraw import fresh
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.learning_rates import full_rate_steps_left


class Plan:
    """The resets of one training, made before its first step.

    Parameters
    ----------
    block
        The validated `rifle:` block.
    run
        The training.

    Raises
    ------
    RifleError
        If the plan cannot be made for this model and training.
    """

    def __init__(self, block: RifleConfig, run: TrainingRun) -> None:
        self.block = block
        self._run = run
        if block.weight_initializer == "original" and run.start_step > 0:
            raise RifleError(
                "rifle.weight_initializer: original cannot go on after a resume here: the trainer "
                "has loaded the checkpoint over the values the training started with"
            )
        self._left = full_rate_steps_left(run.optimizer._learning_rate, run.total_steps)
        self.schedule: Schedule = make_schedule(
            block, run.total_steps, run.steps_per_epoch, self._left
        )
        self.selection: Selection = select(run.model, block.layers, run.forward, run.gives_losses)
        self._original: Dict[str, Tensor] = {}
        if block.weight_initializer == "original":
            self._original = {n: t.clone().detach() for n, t in self.selection.tensors.items()}
        self.layers = self.selection.layers(run.model)
        self._ahead: Dict[int, Dict[str, Tensor]] = {}
        self._initializers: Optional[Dict[str, Any]] = None
        first = self.draw(1)
        self.drawn = [_describe(name, value) for name, value in first.items()]
        if self.schedule.resets:
            # One build was needed to know that the model can be redrawn: the first reset uses it.
            self._ahead[1] = first

    def draw(self, index: int) -> Dict[str, Tensor]:
        """The fresh values of reset `index` (from 1), by structured name, on the CPU."""
        if index in self._ahead:
            return self._ahead.pop(index)
        seed, tensors = self.block.seed, self.selection.tensors
        named = self.block.initializers().of(self.selection.parameters)
        if self.block.weight_initializer == "original":
            return {**self._original, **fresh.from_initializers(named, tensors, seed, index)}
        if index > 1 and self._initializers is not None:
            return fresh.from_initializers({**self._initializers, **named}, tensors, seed, index)
        values, initializers = fresh.from_rebuild(self._run.rebuild, tensors, seed, index)
        self._initializers = initializers
        return {**values, **fresh.from_initializers(named, tensors, seed, index)}

    def warnings(self) -> List[str]:
        """What a user should think about, a sentence each."""
        found = []
        if not self.schedule.resets:
            found.append("nothing will be reset in this training")
        found += self._hasty()
        return found

    def _hasty(self) -> List[str]:
        """What to say if a fresh head has too little learning before it is reset or the end."""
        steps = [reset.step for reset in self.schedule.resets]
        ends = [*steps[1:], self.schedule.total_steps]
        if self.block.head_lr == "cyclic":  # the mean of a cosine, in each period
            after = [(end - step) / 2 for step, end in zip(steps, ends)]
        else:
            after = [self._left(step) - self._left(end) for step, end in zip(steps, ends)]
        # Resets are at whole steps: the defaults can miss what they aim at by one.
        short = [(step, time) for step, time in zip(steps, after) if time < ENOUGH - 1]
        if not short or self.block.weight_initializer == "original":
            return []
        step, least = min(short, key=lambda item: item[1])
        which = f"{len(short)} of {len(steps)} resets leave" if steps[1:] else "the reset leaves"
        return [
            f"{which} too little time: after iteration {step} comes what {least:.0f} iterations "
            f"at the peak learning rate would be, and a fresh head may need {ENOUGH}; train "
            "longer, reset earlier or less often"
        ]

    def record(self) -> Dict[str, Any]:
        """The plan as JSON-ready data; docs/block.md lists the keys."""
        owned: Dict[str, List[Dict[str, Any]]] = {name: [] for name in self.layers}
        for drawn in self.drawn:
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
            "warnings": self.warnings(),
        }


@dataclass(frozen=True)
class Drawn:
    """How the first reset draws one tensor.

    Attributes
    ----------
    name, shape
        Of the tensor.
    constant
        The one value it is filled with; None if it is not constant.
    mean, std
        Of the values drawn, otherwise.
    """

    name: str
    shape: List[int]
    constant: Any
    mean: float
    std: float

    def record(self) -> Dict[str, Any]:
        """As JSON-ready data."""
        about = {"name": self.name, "shape": self.shape}
        if self.constant is not None:
            return {**about, "constant": self.constant}
        return {**about, "mean": self.mean, "std": self.std}


def _describe(name: str, value: Tensor) -> Drawn:
    values = value.astype("float32").numpy()
    first = float(values.reshape(-1)[0]) if values.size else 0.0
    constant = first if (values == first).all() else None
    return Drawn(name, list(value.shape), constant, float(values.mean()), float(values.std()))
