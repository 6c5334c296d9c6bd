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
    import paddle

    from rifle_ext.training.weight_change import relative_change

    statistics = ("._mean", "._variance")
    old, new = (
        {
            name: value
            for name, value in paddle.load(str(path), return_numpy=True).items()
            if name not in head and not name.endswith(statistics) and hasattr(value, "dtype")
        }
        for path in (before, after)
    )
    return relative_change(old, new)
