"""How much time FreezeOut is expected to save: pure functions of work and freezing."""

from __future__ import annotations

from typing import Sequence

BACKWARD = 2.0
"""The backward pass of a layer over its forward pass: as much again for its input as for its
weights. The authors count 1."""


def left_out(work: Sequence[float], times: Sequence[float], rest: float = 0.0) -> float:
    """The part of all backward passes of a training that is left out.

    Parameters
    ----------
    work
        Of each layer that freezes, in one forward pass; any unit.
    times
        The fraction of the training after which it freezes.
    rest
        The work of all layers that never do.
    """
    whole = sum(work) + rest
    return sum(c * (1 - min(1.0, t)) for c, t in zip(work, times)) / whole if whole > 0 else 0.0


def saving(left_out: float, backward: float = BACKWARD) -> float:
    """The part of the time of a training that is saved, of forward and backward passes.

    Parameters
    ----------
    left_out
        The part of the backward passes that is left out (`left_out`).
    backward
        How many times as long as a forward pass a backward pass takes. With 1 this is the authors'
        estimate (github.com/ajbrock/FreezeOut, utils.py, `calc_speedup`), without the 1.3 by which
        they multiply it for linear schedules.
    """
    return backward * left_out / (1 + backward)
