"""Timings of things beside each other, on machines where other things run."""

from __future__ import annotations

import time
from statistics import median
from typing import Callable, Dict, List

import paddle


def now() -> float:
    """Seconds, once the device has done what it was asked."""
    if paddle.device.get_device().startswith("gpu"):
        paddle.device.cuda.synchronize()
    return time.perf_counter()


def interleaved(things: Dict[str, Callable[[], object]], repeats: int) -> Dict[str, List[float]]:
    """Seconds each thing takes, in turns; every one is done once before, for nothing.

    Parameters
    ----------
    things
        What to do, by name.
    repeats
        How many times each.
    """
    for thing in things.values():
        thing()
    taken: Dict[str, List[float]] = {name: [] for name in things}
    for _ in range(repeats):
        for name, thing in things.items():
            begin = now()
            thing()
            taken[name].append(now() - begin)
    return taken


def ratio(taken: Dict[str, List[float]], name: str, to: str) -> float:
    """The median of the ratios of two things that were done in turns."""
    return median(a / b for a, b in zip(taken[name], taken[to]))
