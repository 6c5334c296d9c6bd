"""The way back from a reset in a training loop of one's own, which says when a step is done."""

from __future__ import annotations

import logging
from typing import Dict, Iterable, Mapping, Optional, Set, Tuple

from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.recovering import Recovering, check_rates
from rifle_ext.methods.rifle.recovery import Recovery, pace_of, recovery
from rifle_ext.training.heeding import heeds_rates
from rifle_ext.training.learning_rates import past

_log = logging.getLogger("rifle_ext")


class LoopRecovery:
    """Counts steps and sets rates after each reset.

    Parameters
    ----------
    block
        The validated arguments.
    tensors
        What is reset, by name.
    layers
        The layers they are in.
    optimizer
        What trains them, if it is known.
    model
        The whole model, for `warm_up` and `ramp`.
    wanted
        A rate of their own was asked for in so many words.
    steps_per_epoch
        Optimizer steps of an epoch; None to find it out from the loop.

    Raises
    ------
    RifleError
        If what the recovery needs is missing.
    """

    def __init__(
        self,
        block: RifleConfig,
        tensors: Mapping[str, Tensor],
        layers: Iterable[nn.Layer],
        optimizer: Optional[Optimizer],
        model: Optional[nn.Layer],
        wanted: bool,
        steps_per_epoch: Optional[int],
    ) -> None:
        _check(block, optimizer, model, wanted)
        self._block, self._tensors, self._optimizer = block, tensors, optimizer
        self._heeds = heeds_rates(optimizer)
        head = [tensor for tensor in tensors.values() if not tensor.stop_gradient]
        self._recovering = Recovering(block, head, model, but=_names(model, layers))
        self._per_epoch = steps_per_epoch
        self._steps = 0
        self._last: Optional[Tuple[int, int]] = None  # epoch and steps when it began
        self._way: Optional[Recovery] = None

    def step(self) -> None:
        """After each step of the optimizer."""
        self._steps += 1
        self._recovering.set(self._steps, self._way)

    def begin_epoch(self, epoch: int) -> None:
        """Learn how long an epoch is, where that is not said, or that no step is counted."""
        if self._last is not None and epoch > self._last[0]:
            counted = self._steps - self._last[1]
            if counted:
                self._per_epoch = max(1, counted // (epoch - self._last[0]))
            elif self._way is not None:
                self._stop()
        self._last = epoch, self._steps

    def _stop(self) -> None:
        """Nobody counts the steps: what has begun would never end, so it ends now."""
        self._way = self._per_epoch = None
        self._recovering.set(self._steps, None)
        _log.warning(
            "[RIFLE] no step was counted in the last epoch, so the learning rates are given back "
            "and no reset changes them from now on: call RIFLE.step() after each step of the "
            "optimizer"
        )

    def reset(self, sizes: Mapping[str, float], epochs: int, epochs_ago: int = 0) -> Optional[int]:
        """Begin the way back from a reset; returns the steps after which it is expected to be over.

        Parameters
        ----------
        sizes
            Root mean square of what the layers' own draw gives for each tensor.
        epochs
            How many follow the reset, until the next one or the end of the training.
        epochs_ago
            When the reset was: not 0 only in a loop that is resumed, at its first epoch.
        """
        self._way = None
        if self._optimizer is not None and self._per_epoch:
            start = self._steps - epochs_ago * self._per_epoch
            period = self._per_epoch * epochs
            rates = [self._rate(self._optimizer, epochs_ago)] * (period + max(0, start))
            pace = pace_of(sizes, self._tensors, self._optimizer, self._heeds)
            way = recovery(self._block, 0, period, rates, pace)
            self._way = way.moved(start)
        self._recovering.check()
        self._recovering.set(self._steps, self._way)
        return None if self._way is None else self._way.expected

    def _rate(self, optimizer: Optimizer, epochs_ago: int) -> float:
        """The learning rate at the reset."""
        if not epochs_ago or self._last is None:
            return float(optimizer.get_lr())
        epoch = self._last[0]
        return past(optimizer._learning_rate, (epoch - epochs_ago) / epoch)

    def end(self) -> None:
        """Give the learning rates back."""
        self._recovering.end()


def _check(
    block: RifleConfig, optimizer: Optional[Optimizer], model: Optional[nn.Layer], wanted: bool
) -> None:
    """Stop if what a recovery needs is missing."""
    if wanted and block.head_lr.cycle != "none":
        raise RifleError(
            "RIFLE(head_lr=...): a cycle of its own is for the toolkits' trainers", topic="own-loop"
        )
    raised = wanted and block.head_lr.scale != 1
    if (raised or block.warm_up or block.ramp) and optimizer is None:
        raise RifleError(
            "RIFLE(head_lr=..., warm_up=..., ramp=...): give the optimizer, too", topic="own-loop"
        )
    if (block.warm_up or block.ramp) and model is None:
        raise RifleError(
            "RIFLE(warm_up=..., ramp=...): give the model, too: all that is not reset stands "
            "still meanwhile",
            topic="own-loop",
        )
    check_rates(block, optimizer)


def _names(model: Optional[nn.Layer], layers: Iterable[nn.Layer]) -> Set[str]:
    """The structured names of some layers of a model; none without a model."""
    wanted: Dict[int, nn.Layer] = {id(layer): layer for layer in layers}
    named = () if model is None else model.named_sublayers(include_self=True)
    return {name for name, layer in named if id(layer) in wanted}
