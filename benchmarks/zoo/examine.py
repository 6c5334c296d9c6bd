"""Plan one config, and compare the model with one that has one class more.

``python -m benchmarks.zoo.examine seg configs/x.yml`` prints one JSON object: the plan that
`rifle-ext plan --synthetic --json` makes; the trainable parameters whose shape depends on a number
of classes, joints or identities and that the plan does not name, each with the reason; and what it
took.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from typing import Any, Dict, List, Set

import paddle
from paddle import nn

from benchmarks.zoo.models import architecture, one_class_more
from rifle_ext import cli
from rifle_ext.config import RifleConfig
from rifle_ext.hooks import TrainingRun
from rifle_ext.outputs import probing, tensors_in, trainable_parameters
from rifle_ext.plan import Plan, Request


def main(toolkit: str, config: str) -> Dict[str, Any]:
    """Examine one config; the result as JSON-ready data."""
    set_up = cli.toolkits()[toolkit].load()
    with set_up(Request(config, synthetic=True)) as (_, run):
        plan = Plan(RifleConfig(), run)
        found = set(plan.selection.parameters)
        result = {
            "ok": True,
            "architecture": architecture(run.model),
            "plan": {"toolkit": toolkit, "model": type(run.model).__name__, **plan.record()},
        }
        try:
            with one_class_more(toolkit):
                larger = run.rebuild()
        except Exception as error:
            return {**result, "verdict": f"found; no model with one class more: {_line(error)}"}
        depends = _of_another_shape(run.model, larger)
        others = _reasons(run, sorted(depends - found))
    return {
        **result,
        "verdict": "found",
        "class_dependent": sorted(depends & found),
        "others": others,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


BEHIND = "reaches the outputs through other layers only"
DEAD = "reaches no output"


def _of_another_shape(model: nn.Layer, larger: nn.Layer) -> Set[str]:
    shapes = {name: parameter.shape for name, parameter in larger.named_parameters()}
    trainable = trainable_parameters(model)
    return {name for name, parameter in trainable.items() if shapes.get(name) != parameter.shape}


def _reasons(run: TrainingRun, names: List[str]) -> Dict[str, str]:
    """Why class-dependent parameters are no outputs, from gradients: apart from what finds them."""
    if not names:
        return {}
    named = dict(run.model.named_parameters())
    with probing(run.model):
        outputs = [t for t in tensors_in(run.forward()) if not t.stop_gradient]
        total = paddle.add_n([t.astype("float32").sum() for t in outputs])
        gradients = paddle.grad(total, [named[name] for name in names], allow_unused=True)
    return {n: DEAD if g is None else BEHIND for n, g in zip(names, gradients)}


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        outcome = main(*sys.argv[1:])
    print(json.dumps(outcome))
