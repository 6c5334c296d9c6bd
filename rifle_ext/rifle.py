"""RIFLE: the hook that trainers run, and the class for a plain training loop.

Li et al., "RIFLE: Backpropagation in Depth for Deep Transfer Learning through Re-Initializing the
Fully-connected LayEr", ICML 2020, algorithm 1.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from paddle import Tensor, nn
from paddle.nn.initializer import Initializer
from paddle.optimizer import Optimizer

from rifle_ext import fresh
from rifle_ext.config import RifleConfig, parse_block
from rifle_ext.errors import RifleError
from rifle_ext.events import EventLog
from rifle_ext.head_lr import HeadLearningRate
from rifle_ext.hooks import Hook, TrainingRun
from rifle_ext.outputs import Selection, select
from rifle_ext.reset import digest, reinitialize
from rifle_ext.schedule import Reset, Schedule, cosine, make_schedule

_log = logging.getLogger("rifle_ext")


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
            self.schedule = make_schedule(self.block, run.total_steps, run.steps_per_epoch)
            self.selection = select(run.model, self.block.layers, run.forward)
        except RifleError as error:
            raise RifleError(f"{self.source}: {error}") from error
        self._due = {reset.step: reset for reset in self.schedule.resets}
        self._layers = self.selection.layers(run.model)
        self._original = {name: t.clone().detach() for name, t in self._kept_originals().items()}
        self._head_lr = (
            HeadLearningRate(self.selection.parameters.values(), run.optimizer)
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
            self._head_lr.set(cosine(step, *self.schedule.period(step)))

    def on_train_end(self, run: TrainingRun) -> None:
        """Give the output layers' learning rate back to the training's schedule."""
        if self._head_lr is not None:
            self._head_lr.restore()

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
        record = {
            "step": due.step,
            "epoch": due.epoch,
            "index": due.index,
            "of": len(self.schedule.resets),
            "parameters": list(values),
            "values": self.selection.values,
            "digest": digest(values),
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
            return self._original
        values = fresh.from_rebuild(run.rebuild, self.selection.tensors, seed, index)
        if wanted is not None:
            values.update(
                fresh.from_initializer(wanted.build(), self.selection.parameters, seed, index)
            )
        return values

    def _log_plan(self, run: TrainingRun) -> None:
        schedule, layers = self.schedule, self._layers
        kinds = ", ".join(f"{name} ({type(layer).__name__})" for name, layer in layers.items())
        steps = ", ".join(str(reset.step) for reset in schedule.resets)
        run.log(
            f"[RIFLE] output layers: {kinds}; {len(self.selection.tensors)} tensors, "
            f"{self.selection.values} values"
        )
        run.log(
            f"[RIFLE] {len(schedule.resets)} resets planned"
            + (f", after iterations {steps}" if steps else "")
            + f" of {schedule.total_steps} ({schedule.steps_per_epoch} an epoch)"
        )
        for skipped in schedule.skipped:
            run.log(
                f"[RIFLE] reset {skipped.index} after iteration {skipped.step} is skipped: "
                f"{skipped.why}"
            )


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
                    for p in layer.parameters(include_sublayers=False)
                    if id(p) in names
                ],
            }
            for layer_name, layer in layers.items()
        ],
        "values": selection.values,
    }


@dataclass(frozen=True)
class ResetDone:
    """What one reset of a plain training loop did.

    Attributes
    ----------
    epoch
        The epoch given to `RIFLE.apply`.
    index
        1 for the first reset.
    parameters
        Names of what was reset: the layer's full name and the attribute.
    digest
        SHA-256 over the new values as float32 in the order of the names.
    """

    epoch: int
    index: int
    parameters: Tuple[str, ...]
    digest: str


class RIFLE:
    """Re-initialize layers every few epochs of a training loop of one's own.

    The interface of the published `paddle-rifle` module, with the parameters written in place, so
    that the optimizer goes on training them.

    Parameters
    ----------
    layers
        The output layer or layers (any `paddle.nn.Layer`, containers too); all their trainable
        parameters are reset.
    re_init_epoch
        Reset every so many epochs.
    max_re_num
        How many resets at most.
    weight_initializer
        How weights (two or more dimensions) are drawn: None as each layer's class draws them, an
        `Initializer`, or a name or mapping as in the `rifle:` block; ``"original"`` restores the
        values present now.
    optimizer
        The optimizer that trains the layers; its state for them restarts with each reset.
    seed
        Of the fresh values.
    epochs
        Length of the training, if known: a reset that leaves fewer than `re_init_epoch` epochs is
        then left out.

    Raises
    ------
    RifleError
        If an argument is wrong, or the layers have no trainable parameters.

    Examples
    --------
    >>> rifle = RIFLE(model.output, re_init_epoch=5, optimizer=optimizer)   # doctest: +SKIP
    >>> for epoch in range(20):                                             # doctest: +SKIP
    ...     rifle.apply(current_epoch=epoch)
    ...     train_one_epoch(model, optimizer)
    """

    def __init__(
        self,
        layers: Union[nn.Layer, Sequence[nn.Layer]],
        re_init_epoch: int = 5,
        max_re_num: int = 3,
        weight_initializer: Union[None, str, Mapping[str, Any], Initializer] = None,
        optimizer: Optional[Optimizer] = None,
        seed: int = 0,
        epochs: Optional[int] = None,
    ) -> None:
        given = weight_initializer if isinstance(weight_initializer, Initializer) else None
        block = parse_block(
            {
                "re_init_epoch": re_init_epoch,
                "max_re_num": max_re_num,
                "weight_initializer": None if given else weight_initializer,
                "seed": seed,
            },
            source="RIFLE(...)",
        )
        assert block is not None
        self.block = block
        self.optimizer = optimizer
        self.epochs = epochs
        self._owners = _owners(layers)
        self._tensors = {name: getattr(layer, key) for name, (layer, key) in self._owners.items()}
        self._original = {name: tensor.clone().detach() for name, tensor in self._tensors.items()}
        described = block.weight_initializer
        self._initializer = given or (described.build() if hasattr(described, "build") else None)
        self._last_epoch: Optional[int] = None

    def apply(self, current_epoch: int) -> Optional[ResetDone]:
        """Reset the layers if `current_epoch` is a multiple of `re_init_epoch`.

        Call it once an epoch, before the epoch's training and after the evaluation and checkpoint of
        the one before. A second call for the same epoch does nothing.

        Parameters
        ----------
        current_epoch
            Epochs done so far: 0 before the first one.

        Returns
        -------
        ResetDone or None
            None if no reset was due.
        """
        index, rest = divmod(current_epoch, self.block.re_init_epoch or 1)
        repeated = current_epoch == self._last_epoch
        self._last_epoch = current_epoch
        if rest or not 1 <= index <= self.block.max_re_num or repeated:
            return None
        if self.epochs is not None and self.epochs - current_epoch < (self.block.re_init_epoch or 1):
            _log.info("[RIFLE] reset %d at epoch %d is skipped: too late", index, current_epoch)
            return None
        values = self._draw(index)
        reinitialize(self._tensors, values, self.optimizer)
        done = ResetDone(current_epoch, index, tuple(values), digest(values))
        _log.info("[RIFLE] reset %d after %d epochs: %s", index, current_epoch, ", ".join(values))
        return done

    def _draw(self, index: int) -> Dict[str, Tensor]:
        if self.block.weight_initializer == "original":
            return self._original
        values = fresh.from_layers(self._owners, self.block.seed, index)
        if self._initializer is not None:
            values.update(
                fresh.from_initializer(self._initializer, self._tensors, self.block.seed, index)
            )
        return values


def _owners(
    layers: Union[nn.Layer, Sequence[nn.Layer]],
) -> Dict[str, Tuple[nn.Layer, str]]:
    """For each trainable parameter of the layers: its name, its layer and its attribute there."""
    given: List[nn.Layer] = [layers] if isinstance(layers, nn.Layer) else list(layers)
    wrong = next((layer for layer in given if not isinstance(layer, nn.Layer)), None)
    if wrong is not None:
        raise RifleError(f"RIFLE(layers=...): {wrong!r} is not a paddle.nn.Layer")
    owners: Dict[str, Tuple[nn.Layer, str]] = {}
    seen = set()
    for layer in given:
        for sublayer in layer.sublayers(include_self=True):
            for key, parameter in sublayer.named_parameters(include_sublayers=False):
                if not parameter.stop_gradient and id(parameter) not in seen:
                    seen.add(id(parameter))
                    owners[f"{sublayer.full_name()}.{key}"] = (sublayer, key)
    if not owners:
        raise RifleError("RIFLE(layers=...): the layers have no trainable parameters")
    return owners
