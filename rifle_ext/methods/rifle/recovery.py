"""How a fresh head comes back after a reset: pure functions of block, schedule and rates.

An adaptive optimizer (Adam and its kin) moves a weight by about the learning rate a step, whatever
the gradient. So a head that has a distance `d` to go (the root mean square of what its constructor
draws, which is about the size it will have) needs some `d / rate` steps. Where that is more than a
few dozen, the head's rate is raised for a while. Plain and momentum SGD move by the gradient, which
is large after a reset: there the rate suffices (Li et al. 2020 train so).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import List, Mapping, Optional, Sequence, Tuple, Union

from paddle import Tensor
from paddle.optimizer import SGD, Momentum, Optimizer

from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.schedule import Schedule, cosine
from rifle_ext.training.warm_up import Factors
from rifle_ext.training.warm_up import factors as factors_since

QUICK = 20
"""Steps within which a fresh head is to come back: `scale: auto` is what brings it there."""

FASTEST = 10.0
"""The most that `scale: auto` multiplies the head's rate by."""

AMPLY = 4
"""How many times its way back a head is given: for how long its rate is raised, and how much
learning a reset should leave."""


@dataclass(frozen=True)
class Pace:
    """How fast a fresh head can go.

    Attributes
    ----------
    distance
        Root mean square of what the constructor draws for its weights, over their own factors of
        the learning rate; the largest of its tensors counts.
    momentum
        None for an adaptive optimizer; otherwise that of momentum SGD, 0 for plain SGD.
    heeds
        The optimizer heeds a rate of the head's own.
    """

    distance: float
    momentum: Optional[float] = None
    heeds: bool = True

    def steps(self, rate: float) -> float:
        """Expected steps of the way back at a constant rate."""
        if rate <= 0:
            return math.inf
        if self.momentum is not None:
            return max(QUICK, 5 * (1 - self.momentum) / rate)
        return max(QUICK, self.distance / rate)

    def scale(self, rate: float) -> float:
        """By how much the rate is raised to come back in `QUICK` steps, as far as that may go."""
        if self.momentum is not None or rate <= 0 or not self.heeds:
            return 1.0
        return min(FASTEST, max(1.0, self.distance / (rate * QUICK)))

    def need(self, rate: float, scale: Union[str, float] = "auto") -> float:
        """Steps at a rate that a reset should leave, the head's raised as `head_lr.scale` says."""
        factor = self.scale(rate) if scale == "auto" else float(scale)
        return AMPLY * self.steps(rate * factor)


def pace_of(
    sizes: Mapping[str, float],
    parameters: Mapping[str, Tensor],
    optimizer: Optional[Optimizer],
    heeds: bool,
) -> Pace:
    """How fast the fresh tensors of a head can go.

    Parameters
    ----------
    sizes
        Root mean square of what the constructor draws for each, by name; 0 for constants.
    parameters
        The parameters of those names.
    optimizer
        What trains them.
    heeds
        Whether it heeds the rates of single parameters: `rifle_ext.training.heeding.heeds_rates`.
    """
    factors = {name: p.optimize_attr["learning_rate"] for name, p in parameters.items()}
    distance = max((sizes[name] / f for name, f in factors.items() if f > 0), default=0.0)
    if isinstance(optimizer, Momentum):
        return Pace(distance, float(optimizer._momentum), heeds)
    return Pace(distance, 0.0 if isinstance(optimizer, SGD) else None, heeds)


@dataclass(frozen=True)
class Recovery:
    """The way back from one reset.

    Attributes
    ----------
    start, end
        Steps done before the reset, and at the end of its period.
    scale
        What the head's learning rate is multiplied by at first.
    iterations
        For how many iterations.
    expected
        Iterations after which the head is expected to be back; None if not within the period.
    enough
        Whether the period has time for it, amply.
    """

    start: int
    end: int
    scale: float
    iterations: int
    expected: Optional[int]
    enough: bool

    def moved(self, steps: int) -> Recovery:
        """The same way back, so many steps later."""
        return replace(self, start=self.start + steps, end=self.end + steps)


def recoveries(
    block: RifleConfig, schedule: Schedule, rates: Sequence[float], pace: Pace
) -> List[Recovery]:
    """The way back from each reset of a schedule.

    Parameters
    ----------
    block
        The validated block.
    schedule
        Of the training.
    rates
        The optimizer's learning rate at each step of the training.
    pace
        Of the head.
    """
    periods = [schedule.period(reset.step) for reset in schedule.resets]
    return [recovery(block, start, end, rates, pace) for start, end in periods]


def recovery(
    block: RifleConfig, start: int, end: int, rates: Sequence[float], pace: Pace
) -> Recovery:
    """The way back from one reset, after `start` steps, in a period that ends after `end`."""
    rate = rates[start]
    wanted = block.head_lr
    scale = pace.scale(rate) if wanted.scale == "auto" else float(wanted.scale)
    steps = pace.steps(rate * scale)
    if wanted.iterations == "auto":
        iterations = math.ceil(min(AMPLY * steps, (end - start) / AMPLY))
    else:
        iterations = min(int(wanted.iterations), end - start)
    head = [
        rates[step] * (scale if step - start < iterations else 1.0) for step in range(start, end)
    ]
    if block.head_lr.cycle == "cosine":
        peak = max(rates)
        head = [
            peak * cosine(step, start, end) * (scale if step - start < iterations else 1.0)
            for step in range(start, end)
        ]
    way = steps * rate * scale if rate > 0 else math.inf
    gone = list(accumulate(head))
    expected = next((number for number, sum_ in enumerate(gone, start=1) if sum_ >= way), None)
    # Resets are at whole steps: the defaults can miss what they aim at by a few.
    enough = expected is not None and AMPLY * (expected - 1) <= end - start
    return Recovery(start, end, scale, iterations if scale != 1 else 0, expected, enough)


def factors(step: int, recovery: Optional[Recovery], warm_up: int = 0, ramp: int = 0) -> Factors:
    """The factors of the step that follows `step` done ones.

    Parameters
    ----------
    step
        Optimizer steps done.
    recovery
        That of the last reset at or before it; None before the first.
    warm_up, ramp
        Of the block.
    """
    if recovery is None:
        return Factors()
    since = step - recovery.start
    head = recovery.scale if since < recovery.iterations else 1.0
    return factors_since(since, warm_up, ramp, head)


def at(step: int, ways: Sequence[Recovery]) -> Optional[Recovery]:
    """The recovery of the last reset at or before a step."""
    past: List[Tuple[int, Recovery]] = [(w.start, w) for w in ways if w.start <= step]
    return max(past, key=lambda item: item[0])[1] if past else None
