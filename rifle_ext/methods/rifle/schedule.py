"""When the output layers are reset: pure functions of the block and the length of a training.

All counts are optimizer steps ("iterations") unless a name says epochs. Step `k` names the moment
after `k` optimizer steps have been done, with that step's evaluation and checkpoint, and before the
forward pass of step `k + 1`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Callable, Collection, List, Optional, Tuple

from rifle_ext.errors import RifleError
from rifle_ext.training.length import check_length

if TYPE_CHECKING:
    from rifle_ext.methods.rifle.block import RifleConfig


@dataclass(frozen=True)
class Reset:
    """One reset that a block asks for.

    Attributes
    ----------
    index
        1 for the first reset the block asks for. Fresh values depend on it and on the seed alone.
    step
        Optimizer steps done before the reset.
    epoch
        The epoch, counted from 1, that the last of those steps belongs to.
    why
        What makes it due; of a skipped one, why it is not done.
    """

    index: int
    step: int
    epoch: int
    why: str


@dataclass(frozen=True)
class Schedule:
    """The resets of one training.

    Attributes
    ----------
    total_steps, steps_per_epoch
        Length of the training and of one pass over the data, in steps.
    resets
        In order of their steps, which lie strictly between 0 and `total_steps`.
    skipped
        What the block asks for beyond them.
    """

    total_steps: int
    steps_per_epoch: int
    resets: Tuple[Reset, ...]
    skipped: Tuple[Reset, ...]

    def without(self, steps: Collection[int], why: str) -> Schedule:
        """The same training with the resets after these steps skipped, for a reason."""
        left_out = [replace(reset, why=why) for reset in self.resets if reset.step in steps]
        skipped = sorted((*left_out, *self.skipped), key=lambda reset: reset.index)
        resets = tuple(reset for reset in self.resets if reset.step not in steps)
        return replace(self, resets=resets, skipped=tuple(skipped))

    def period(self, step: int) -> Tuple[int, int]:
        """First step and end (exclusive) of the period that step number `step` (from 0) is in."""
        starts = [0] + [reset.step for reset in self.resets]
        start = max(s for s in starts if s <= step)
        return start, min([s for s in starts if s > step] + [self.total_steps])


AMPLE = 1000
"""Steps at the peak learning rate that each period must have for more than one reset, if what a
head needs is no more than a fifth of that (docs/benefit.md)."""

MOST = 3
"""Resets at most, if the block names no number: the paper's."""


def make_schedule(
    block: RifleConfig,
    total_steps: int,
    steps_per_epoch: int,
    left: Optional[Callable[[int], float]] = None,
    need: float = 100.0,
) -> Schedule:
    """Work out which resets a training of this length gets.

    With `max_re_num` and no interval in the block, the training is cut into ``max_re_num + 1``
    equal periods, as in the paper (section 3.2) and its code (``num_epochs // num_periods``). With
    neither, number and place follow what was measured: see `measured_steps`.

    Parameters
    ----------
    block
        The validated block.
    total_steps
        Optimizer steps of the whole training, those before a resume included.
    steps_per_epoch
        Optimizer steps of one pass over the data.
    left
        How much learning is left after a step, in steps at the peak learning rate, as from
        `learning_rates.full_rate_steps_left`; by default that of a constant rate.
    need
        How much of that a reset should leave (`recovery.Pace.need`).

    Raises
    ------
    RifleError
        If a length is not positive: such a training never does a step.
    """
    check_length(total_steps, steps_per_epoch)
    unit = steps_per_epoch if block.re_init_epoch else 1
    interval = block.re_init_epoch or block.re_init_iter
    count = block.max_re_num or MOST
    least = interval or total_steps // (count + 1)
    if interval:
        steps = [i * interval * unit for i in range(1, count + 1)]
    elif block.max_re_num:
        periods = min(count + 1, total_steps)  # of at least one step each
        steps = [i * total_steps // periods for i in range(1, count + 1)]
    else:
        learning = left or (lambda step: total_steps - step)
        steps, least = measured_steps(total_steps, learning, need), 0
    least = least if block.keep_last is None else block.keep_last
    return _sort_out(steps, total_steps, steps_per_epoch, keep=least * unit)


def schedule_in_epochs(block: RifleConfig, epochs: Optional[int]) -> Schedule:
    """The resets of a loop that counts epochs: those of a training whose steps are its epochs.

    Parameters
    ----------
    block
        The validated block.
    epochs
        Length of the training. If it is not known no reset is left out, and the period after the
        last one is as long as the others.

    Raises
    ------
    RifleError
        If the block names no interval, so that periods are equal, and the length is not known.
    """
    count = block.max_re_num or MOST
    if epochs is None:
        if block.re_init_epoch is None:
            raise RifleError(
                "RIFLE(re_init_epoch=None) cuts the training into equal periods: give epochs, too, "
                "or a whole number of epochs as re_init_epoch",
                topic="own-loop",
            )
        epochs = (count + 1) * block.re_init_epoch
    return make_schedule(block.model_copy(update={"max_re_num": count}), epochs, steps_per_epoch=1)


def measured_steps(total_steps: int, left: Callable[[int], float], need: float) -> List[int]:
    """When to reset if the block leaves it open.

    Once, or up to `MOST` times if each period can have `AMPLE` steps at the peak rate, and five
    times what a head needs. The periods are of equal length, as in the paper, if each that follows
    a reset has what a head needs; otherwise they are equal shares of the learning, so that resets
    come earlier where the learning rate falls.

    Parameters
    ----------
    total_steps, left, need
        As for `make_schedule`.
    """
    whole = left(0)
    number = min(max(1, int(whole / max(AMPLE, 5 * need)) - 1), MOST)
    equal = [i * total_steps // (number + 1) for i in range(1, number + 2)]
    if all(left(start) - left(end) >= need for start, end in zip(equal, equal[1:])):
        return equal[:-1]
    return [
        _last_with(left, whole * (number + 1 - i) / (number + 1), total_steps)
        for i in range(1, number + 1)
    ]


def _last_with(left: Callable[[int], float], amount: float, total_steps: int) -> int:
    """The last step, from 1, that leaves at least `amount`."""
    low, high = 1, max(1, total_steps - 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if left(middle) >= amount else (low, middle - 1)
    return low


def _sort_out(steps: List[int], total_steps: int, steps_per_epoch: int, keep: int) -> Schedule:
    """Part the wanted steps into those that can be done and those that cannot."""
    resets: List[Reset] = []
    skipped: List[Reset] = []
    for index, step in enumerate(steps, start=1):
        epoch = max(0, step - 1) // steps_per_epoch + 1
        left = total_steps - step
        if left <= 0:
            why = f"the training ends at iteration {total_steps}"
        elif left < keep:
            why = f"it would leave {left} iterations of the {keep} that keep_last asks for"
        else:
            resets.append(Reset(index, step, epoch, f"period {index} is over"))
            continue
        skipped.append(Reset(index, step, epoch, why))
    return Schedule(total_steps, steps_per_epoch, tuple(resets), tuple(skipped))


def cosine(step: int, start: int, end: int) -> float:
    """The fraction of its peak that a cosine learning rate has at `step` of a period.

    1 at `start`, falling towards 0 at `end` (exclusive), as ``0.5 * (1 + cos(pi * t / u))`` in the
    paper's code (github.com/lixingjian/RIFLE, train.py), in steps where that code counts epochs.
    """
    return 0.5 * (1.0 + math.cos(math.pi * (step - start) / (end - start)))


def falling(step: int, start: int, end: int) -> float:
    """1 at `start`, falling linearly to 0 at `end`; 0 before and after."""
    return (end - step) / (end - start) if start <= step < end else 0.0
