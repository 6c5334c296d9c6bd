"""What it saved that layers were frozen: pure functions of logged times and of freezings."""

from __future__ import annotations

from statistics import median
from typing import Mapping, NamedTuple, Optional, Sequence


class Freezing(NamedTuple):
    """One event of the kind `freeze`.

    Attributes
    ----------
    method
        Key of the method that did it.
    step
        Iterations done before it.
    layers
        How many layers froze.
    part
        The part of all values that is frozen from then on.
    """

    method: str
    step: int
    layers: int
    part: float


class Saved(NamedTuple):
    """Time that freezing saved.

    Attributes
    ----------
    before, after
        Seconds of an iteration before the first freezing and after the last one: the median of what
        was logged.
    seconds
        Saved from the first freezing on, against going on as before it.
    part
        That over the time of all iterations as they were before.
    """

    before: float
    after: float
    seconds: float
    part: float


def saved(seconds: Mapping[int, float], freezings: Sequence[Freezing]) -> Optional[Saved]:
    """What freezing saved; None if no iterations were logged before it or after it.

    Parameters
    ----------
    seconds
        Of an iteration, by the number of iterations done: the mean since the one logged before.
    freezings
        In order.
    """
    if not freezings:
        return None
    first, last = freezings[0].step, freezings[-1].step
    logged = sorted(seconds)
    lengths = {at: at - begin for begin, at in zip([0, *logged], logged)}
    before = [seconds[at] for at in logged if at <= first]
    after = [seconds[at] for at in logged if at - lengths[at] >= last]
    if not before or not after:
        return None
    usual = median(before)
    gained = sum((usual - seconds[at]) * lengths[at] for at in logged if at > first)
    return Saved(usual, median(after), gained, gained / (usual * logged[-1]))
