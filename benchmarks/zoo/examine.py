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

from paddle import nn

from benchmarks.zoo.models import architecture, class_dependent
from rifle_ext.commands.training_options import toolkits
from rifle_ext.heads.outputs import tensors_in
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.setup import Request


def main(toolkit: str, config: str) -> Dict[str, Any]:
    """Examine one config; the result as JSON-ready data."""
    block = parse_block({})
    assert block is not None
    set_up = toolkits()[toolkit].load()
    with set_up(Request(config, synthetic=True)) as (_, run):
        nodes = _keep_nodes(run)
        plan = Plan(block, run)
        found = set(plan.selection.parameters)
        result = {
            "ok": True,
            "architecture": architecture(run.model),
            "plan": {"toolkit": toolkit, "model": type(run.model).__name__, **plan.record()},
        }
        try:
            depends = class_dependent(toolkit, run)
        except Exception as error:
            return {**result, "verdict": f"found; no model with one class more: {_line(error)}"}
        others = _reasons(run.model, nodes, sorted(depends - found))
    return {
        **result,
        "verdict": "found",
        "class_dependent": sorted(depends & found),
        "others": others,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


BEHIND = "reaches the outputs through other layers only"
DEAD = "reaches no output"


def _keep_nodes(run: TrainingRun) -> List[Any]:
    """Where the operations behind the outputs will be, once the plan has run the model."""
    nodes: List[Any] = []
    forward = run.forward

    def keeping(*second: nn.Layer) -> Any:  # the run's own: its parameters are looked up below
        outputs = forward()
        nodes.extend(t.grad_fn for t in tensors_in(outputs) if t.grad_fn is not None)
        return outputs

    run.forward = keeping
    return nodes


def _reasons(model: nn.Layer, nodes: List[Any], names: List[str]) -> Dict[str, str]:
    """Why class-dependent parameters are no outputs: whether anything of them reaches those."""
    seen: Set[int] = set()
    ahead = list(nodes)
    while ahead:
        node = ahead.pop()
        if node.node_ptr() not in seen:
            seen.add(node.node_ptr())
            ahead.extend(operand for operand in node.next_functions if operand is not None)
    named = dict(model.named_parameters())
    used = {n for n in names if named[n].grad_fn and named[n].grad_fn.node_ptr() in seen}
    return {name: BEHIND if name in used else DEAD for name in names}


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        outcome = main(*sys.argv[1:])
    print(json.dumps(outcome))
