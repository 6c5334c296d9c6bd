"""RIFLE in a training loop of one's own, with the interface of the published `paddle-rifle`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

from paddle import Tensor, nn
from paddle.nn.initializer import Initializer
from paddle.optimizer import Optimizer

from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.loop_arguments import check_scale, owners_of, whole, whole_or_none
from rifle_ext.methods.rifle.loop_recovery import LoopRecovery
from rifle_ext.methods.rifle.schedule import Reset, schedule_in_epochs
from rifle_ext.redraw import fresh
from rifle_ext.redraw.initializers import LSUV
from rifle_ext.redraw.lsuv import Calibration, uncalibrated
from rifle_ext.redraw.reset import (
    check_optimizer,
    check_trained,
    digest,
    reinitialize,
    write_master_weights,
)
from rifle_ext.redraw.size import inputs_of, resized, root_mean_square
from rifle_ext.training.ranks import refuse_parts

InitializerLike = Union[None, str, Mapping[str, Any], Initializer]
"""An initializer: None for what the constructor draws, a name, a mapping, or Paddle's object."""

_log = logging.getLogger("rifle_ext")


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
    expected
        Iterations after which the layers are expected to be learned again; None if not before the
        next reset or the end, or if the optimizer or the length of an epoch is not known.
    """

    epoch: int
    index: int
    parameters: Tuple[str, ...]
    digest: str
    expected: Optional[int] = None


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
        Reset every so many epochs. None: `epochs`, which then has to be given, is cut into
        ``max_re_num + 1`` equal periods, as a block without an interval cuts a training.
    max_re_num
        How many resets at most; None means 3.
    weight_initializer
        How weights (two or more dimensions) are drawn: None as each layer's class draws them, an
        `Initializer`, or a name or mapping as in the `rifle:` block; ``"original"`` restores the
        values present now.
    bias_initializer
        The same for biases; None as weight_initializer says of other tensors.
    optimizer
        The optimizer that trains the layers; its state for them restarts with each reset.
    seed
        Of the fresh values.
    epochs
        Length of the training, if known: a reset that leaves less than one period is then left
        out.
    scale
        What random weights of the layers' own draw are multiplied by: ``"auto"`` makes them small,
        so that a fresh head begins near an even guess, 1 leaves them as they are drawn.
    head_lr
        The layers' learning rate after each reset, as in the block: ``"auto"`` raises it for a
        while where that is needed, ``"none"`` does not, a mapping says `scale` and `iterations`.
        It needs the optimizer, and `step` called after each of its steps. None means auto where
        both are there.
    warm_up, ramp
        For how many iterations after each reset the layers learn alone, and over how many the
        learning rate of everything else comes back. They need `optimizer`, `model` and `step`.
    model
        The whole model, for `warm_up` and `ramp`.
    steps_per_epoch
        Optimizer steps of an epoch. None: counted, from the first epoch that is trained here; so a
        loop that is resumed right at a reset, or in the middle of a recovery, needs it.

    Raises
    ------
    RifleError
        If an argument is wrong, the layers have no trainable parameters, or the optimizer does not
        train them or its state for them cannot restart by itself.

    Examples
    --------
    >>> rifle = RIFLE(model.output, re_init_epoch=5, optimizer=optimizer)   # doctest: +SKIP
    >>> for epoch in range(20):                                             # doctest: +SKIP
    ...     rifle.apply(current_epoch=epoch)
    ...     for batch in loader:
    ...         train(model, batch, optimizer)
    ...         rifle.step()
    """

    def __init__(
        self,
        layers: Union[nn.Layer, Sequence[nn.Layer]],
        re_init_epoch: Optional[int] = 5,
        max_re_num: Optional[int] = 3,
        weight_initializer: InitializerLike = None,
        optimizer: Optional[Optimizer] = None,
        seed: int = 0,
        epochs: Optional[int] = None,
        bias_initializer: InitializerLike = None,
        scale: Union[str, float] = "auto",
        head_lr: Union[None, str, Mapping[str, Any]] = None,
        warm_up: int = 0,
        ramp: int = 0,
        model: Optional[nn.Layer] = None,
        steps_per_epoch: Optional[int] = None,
    ) -> None:
        given = {"weight": weight_initializer, "bias": bias_initializer}
        ready = {kind: it for kind, it in given.items() if isinstance(it, Initializer)}
        block = parse_block(
            {
                "re_init_epoch": re_init_epoch,
                "max_re_num": max_re_num,
                "weight_initializer": None if "weight" in ready else weight_initializer,
                "bias_initializer": None if "bias" in ready else bias_initializer,
                "seed": seed,
                "scale": scale,
                "head_lr": "auto" if head_lr is None else head_lr,
                "warm_up": warm_up,
                "ramp": ramp,
            },
            source="RIFLE(...)",
        )
        assert block is not None
        check_scale(block, "weight" in ready)
        refuse_parts()
        check_optimizer(optimizer)
        self.block = block
        self.optimizer = optimizer
        self.epochs = whole_or_none("epochs", epochs)
        self._schedule = schedule_in_epochs(block, self.epochs)
        per_epoch = whole_or_none("steps_per_epoch", steps_per_epoch)
        self._owners = owners_of(layers)
        self._tensors = {name: getattr(layer, key) for name, (layer, key) in self._owners.items()}
        self._original = {name: tensor.clone().detach() for name, tensor in self._tensors.items()}
        self._initializers = replace(block.initializers(), **ready)
        self._inputs = {
            name: inputs_of(layer, self._tensors[name].shape)
            for name, (layer, _) in self._owners.items()
            if len(self._tensors[name].shape) >= 2 and not isinstance(layer, nn.Embedding)
        }
        self._last_epoch: Optional[int] = None
        self._calibration: Optional[Calibration] = None
        owners = [layer for layer, _ in self._owners.values()]
        self._recovery = LoopRecovery(
            block, self._tensors, owners, optimizer, model, head_lr is not None, per_epoch
        )
        check_trained(optimizer, self._tensors)  # now that loops before have given rates back

    def step(self) -> None:
        """Count one step of the optimizer: call it after each, for the recovery from a reset."""
        self._recovery.step()

    def end(self) -> None:
        """After the training: give the learning rates back, should a recovery not be over."""
        self._recovery.end()
        self._end_calibration()

    def apply(self, current_epoch: int) -> Optional[ResetDone]:
        """Reset the layers if a reset is due after `current_epoch` epochs.

        Call it once an epoch, before the epoch's training and after the evaluation and checkpoint
        of the one before. A second call for the same epoch does nothing.

        Parameters
        ----------
        current_epoch
            Epochs done so far: 0 before the first one.

        Returns
        -------
        ResetDone or None
            None if no reset was due.

        Raises
        ------
        RifleError
            If `current_epoch` is not a whole number, 0 or more.
        """
        current_epoch = whole("current_epoch", current_epoch, 0)
        repeated, first = current_epoch == self._last_epoch, self._last_epoch is None
        self._last_epoch = current_epoch
        self._recovery.begin_epoch(current_epoch)
        if not repeated:
            self._end_calibration()
        due = {reset.step: reset for reset in self._schedule.resets}.get(current_epoch)
        if first and due is None:
            self._resume(current_epoch)
        if due is None or repeated:
            self._tell_skipped(current_epoch)
            return None
        values = self._draw(due.index)
        expected = self._recovery.reset(self._sizes, self._epochs_after(due))
        reinitialize(self._tensors, values, self.optimizer)
        self._calibrate()
        done = ResetDone(current_epoch, due.index, tuple(values), digest(values), expected)
        _log.info(
            "[RIFLE] reset %d after %d epochs: %s", due.index, current_epoch, ", ".join(values)
        )
        return done

    def _tell_skipped(self, epoch: int) -> None:
        """A reset that would be due now, but for the length of the training."""
        for reset in self._schedule.skipped:
            if reset.step == epoch:
                _log.info("[RIFLE] reset %d at epoch %d is skipped: too late", reset.index, epoch)

    def _epochs_after(self, reset: Reset) -> int:
        """How many follow a reset, until the next one or the end."""
        start, end = self._schedule.period(reset.step)
        return end - start

    def _resume(self, epoch: int) -> None:
        """In a loop that goes on in its middle: the way back from the last reset, if known."""
        past = [reset for reset in self._schedule.resets if reset.step < epoch]
        if past:
            last = past[-1]
            self._draw(last.index)
            ago = epoch - last.step
            self._recovery.reset(self._sizes, self._epochs_after(last), epochs_ago=ago)

    def _calibrate(self) -> None:
        """Let the next batch scale the fresh weights, with LSUV."""
        spec, optimizer = self.block.weight_initializer, self.optimizer
        if not isinstance(spec, LSUV):
            return

        def finish(name: str, value: Tensor, factor: float) -> None:
            if optimizer is not None:
                write_master_weights(optimizer, {name: self._tensors[name]}, {name: value})

        weights = {n: layer for n, (layer, key) in self._owners.items() if key == "weight"}
        matrices = {n: layer for n, layer in weights.items() if len(layer.weight.shape) >= 2}
        self._calibration = Calibration(matrices, spec.variance, finish)

    def _end_calibration(self) -> None:
        """At the epoch after a reset: a loop that is resumed there scales nothing, either."""
        left = self._calibration.end() if self._calibration is not None else []
        if left:
            _log.warning("[RIFLE] %s", uncalibrated(left))
        self._calibration = None

    def _draw(self, index: int) -> Dict[str, Tensor]:
        seed = self.block.seed
        if self.block.weight_initializer == "original":
            values = dict(self._original)
        else:
            values = fresh.from_layers(self._owners, seed, index)
        self._sizes = {name: root_mean_square(value) for name, value in values.items()}
        named = self._initializers.of(self._tensors)
        if self.block.weight_initializer != "original":
            own = {name: value for name, value in values.items() if name not in named}
            values.update(resized(own, self._inputs, self.block.scale))
        drawn = fresh.from_initializers(named, self._tensors, seed, index)
        values.update({n: fresh.padded(self._owners[n][0], value) for n, value in drawn.items()})
        return values
