"""How far the stages of a model moved: as recorded, or between checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Collection, Dict, Sequence

Change = Dict[int, Dict[str, float]]
"""How far each stage moved in each period, which is named by the iteration it began after."""


def tracked(events: Sequence[Dict[str, Any]]) -> Change:
    """As it was recorded during the training."""
    looks = {e["since"]: e["change"] for e in events if e["event"] == "weights"}
    return {since: looks[since] for since in sorted(looks)}


def from_checkpoints(
    files: Dict[int, Path], resets: Sequence[int], head: Collection[str]
) -> Change:
    """Between the first and the last checkpoint of each period, the output layers left out.

    A checkpoint at a reset holds what was there before it: it ends one period, and as the rest of
    the model is not changed by a reset, it begins the next.
    """
    bounds = [0, *resets, max(files, default=0)]
    change: Change = {}
    for begin, end in zip(bounds, bounds[1:]):
        inside = sorted(step for step in files if begin <= step <= end)
        if len(inside) > 1:
            change[inside[0]] = _compare(files[inside[0]], files[inside[-1]], head)
    return change


def _compare(before: Path, after: Path, head: Collection[str]) -> Dict[str, float]:
    from rifle_ext.runtime.compat import before_paddle

    before_paddle()
    import numpy as np

    from rifle_ext.training.weight_change import relative_change

    old, new = _weights(before), _weights(after)
    outputs = [(old[name], new[name]) for name in head if name in old and name in new]

    def is_output(name: str) -> bool:
        """Under any name: of one tensor of two names a file has two copies."""
        return any(
            np.array_equal(old[name], first) and np.array_equal(new[name], last)
            for first, last in outputs
        )

    return relative_change({n: v for n, v in old.items() if n in new and not is_output(n)}, new)


def _weights(path: Path) -> Dict[str, Any]:
    import paddle

    return {
        name: value
        for name, value in paddle.load(str(path), return_numpy=True).items()
        if not name.endswith(("._mean", "._variance")) and hasattr(value, "dtype")
    }
