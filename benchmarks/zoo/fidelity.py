"""Compare redraws of a model's output layers with constructions of the model.

``python -m benchmarks.zoo.fidelity seg configs/x.yml`` draws 20 resets as RIFLE does, sets the
training up 20 times as the train tool does, and compares every tensor: what is the same in every
construction must be the same, bit for bit, in every redraw; the rest must have the same mean within
4 standard errors and the same standard deviation, within 5% in tensors of 1,000 values or more, and
within 4 standard errors in smaller ones.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
from typing import Any, Dict, List

import numpy as np
import paddle

from benchmarks.zoo.models import architecture
from rifle_ext.commands.training_options import toolkits
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.redraw import fresh
from rifle_ext.training.setup import Request

DRAWS = 20


def main(toolkit: str, config: str) -> Dict[str, Any]:
    """Compare for one config; the result as JSON-ready data."""
    block = parse_block({})
    assert block is not None
    set_up = toolkits()[toolkit].load()
    request = Request(config, synthetic=True)
    with set_up(request) as (_, run):
        plan = Plan(block, run)
        tensors = plan.selection.tensors
        built = fresh.from_rebuild(run.rebuild, tensors, 0, 1).initializers is None
        drawn = [_arrays(plan.draw(index)) for index in range(1, DRAWS + 1)]
        name = architecture(run.model)
    constructed: List[Dict[str, np.ndarray]] = []
    for seed in range(DRAWS):
        paddle.seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        with set_up(request) as (_, run):
            named = {**dict(run.model.named_buffers()), **dict(run.model.named_parameters())}
            constructed.append(_arrays({tensor: named[tensor] for tensor in drawn[0]}))
    compared = {tensor: compare(drawn, constructed, tensor) for tensor in drawn[0]}
    wrong = {tensor: found for tensor, found in compared.items() if not found["ok"]}
    return {
        "ok": not wrong,
        "architecture": name,
        "verdict": f"{len(wrong)} tensors differ" if wrong else "same",
        "needs_builds": built,
        "tensors": len(compared),
        "constant": sum(found["random"] == 0 for found in compared.values()),
        "worst_mean": max(found["mean_errors"] for found in compared.values()),
        "worst_std": max(found["std_ratio"] for found in compared.values()),
        "wrong": wrong,
    }


def compare(
    drawn: List[Dict[str, np.ndarray]], built: List[Dict[str, np.ndarray]], name: str
) -> Dict[str, Any]:
    """One tensor's redraws against its constructions.

    Returns
    -------
    dict
        `ok`; `random`: how many of its values vary; `mean_errors`: the difference of the means in
        standard errors; `std_ratio`: the larger standard deviation over the smaller, less 1.
    """
    ours, theirs = (np.stack([values[name] for values in side]) for side in (drawn, built))
    varies = (theirs != theirs[0]).any(axis=0)
    same = bool((ours[:, ~varies] == theirs[:, ~varies]).all())
    result = {"random": int(varies.sum()), "mean_errors": 0.0, "std_ratio": 0.0}
    allowed = 0.05
    if varies.any():
        ours, theirs = ours[:, varies], theirs[:, varies]
        error = theirs.std() * np.sqrt(2 / ours.size)
        result["mean_errors"] = float(abs(ours.mean() - theirs.mean()) / error)
        low, high = sorted([ours.std(), theirs.std()])
        result["std_ratio"] = float(high / low - 1) if low else float("inf")
        if varies.size < 1000:  # of normal values; those of uniform ones vary less
            allowed = 4 / np.sqrt(ours.size)
    return {**result, "ok": same and result["mean_errors"] < 4 and result["std_ratio"] < allowed}


def _arrays(tensors: Dict[str, Any]) -> Dict[str, np.ndarray]:
    return {name: t.astype("float32").numpy().astype("float64") for name, t in tensors.items()}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        outcome = main(*sys.argv[1:])
    print(json.dumps(outcome))
