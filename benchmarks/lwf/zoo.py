"""Which models of the tests' zoo are served: ``python -m benchmarks.lwf.zoo``; resumable.

Each does one step with an `lwf:` block, against an old network of two classes more, or is refused.
Writes benchmarks/lwf/results/zoo.json and docs/lwf-zoo.md.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from pathlib import Path
from typing import Any, Dict, Mapping

import paddle
import yaml
from paddle import nn

from benchmarks.transfer.records import ROOT
from rifle_ext.commands.training_options import toolkits
from rifle_ext.errors import RifleError
from rifle_ext.heads.outputs import tensors_in
from rifle_ext.heads.probing import probing
from rifle_ext.methods.lwf.block import parse_block
from rifle_ext.methods.lwf.hook import LwfHook
from rifle_ext.redraw.fresh import SecondModel
from rifle_ext.training.hooks import Batch, TrainingRun
from rifle_ext.training.setup import Request

ZOO = ROOT / "tests/data/zoo"
RESULTS, PAGE = Path(__file__).parent / "results/zoo.json", ROOT / "docs/lwf-zoo.md"
MARK = "<!-- written by benchmarks/lwf/zoo.py -->\n"
TOOLKITS = {"seg": "PaddleSeg", "det": "PaddleDetection"}

Outcome = Dict[str, Any]


def step(toolkit: str, name: str) -> Outcome:
    """Let a model of the zoo do one step.

    Returns
    -------
    dict
        ``answers``: kinds by layer, if it is served; ``refused``: the reason, if not.

    Raises
    ------
    ValueError
        If the step is not what it should be: gradients in the old head and in the trunk.
    """
    request = Request(str(ZOO / toolkit / f"{name}.yml"), synthetic=True, images=8)
    with toolkits()[toolkit].load()(request) as (_, run), tempfile.TemporaryDirectory() as folder:
        run.save_dir = Path(folder)
        if run.classes is not None:
            weights = old_weights(run, run.classes + 2)
            run.read_weights = lambda path: weights
        block = parse_block(None)
        assert block is not None
        hook = LwfHook(block, "")
        try:
            hook.on_train_begin(run)
        except RifleError as error:
            said = str(error).partition(": ")[2]  # after the config's path
            return {"refused": said[5:] if said.startswith("lwf: ") else said}
        try:
            with probing(run.model):  # synchronous batch normalization cannot be run on a CPU
                return {"answers": _step(run, hook)}
        finally:
            hook.on_train_end(run)


def old_weights(run: TrainingRun, classes: int) -> Mapping[str, Any]:
    """Those of an untrained network whose statistics are those of a batch."""
    rebuild_for = run.rebuild_for
    assert rebuild_for is not None
    model = SecondModel(lambda: rebuild_for(classes), 0, 1).model
    for layer in model.sublayers():
        if isinstance(layer, (nn.layer.norm._BatchNormBase, nn.BatchNorm)):
            layer._momentum = 0.0
    model.train()
    with paddle.no_grad(), contextlib.suppress(RifleError):  # of a loss for other classes
        run.forward(model)
    return model.state_dict()


def _step(run: TrainingRun, hook: LwfHook) -> Dict[str, str]:
    hook.on_step_begin(run, 0)
    results = run.forward()
    term = hook.loss(run, Batch(lambda model: run.forward(model)))
    losses = [t.astype("float32").mean() for t in tensors_in(results) if not t.stop_gradient]
    assert term is not None
    sum(losses, term).backward()
    task = hook._task
    assert task is not None
    old = [parameter.grad for parameter in hook._head.parameters]
    trunk = [p for n, p in run.model.named_parameters() if n not in task.new]
    reached = [p for p in trunk if p.grad is not None and bool(p.grad.abs().max() > 0)]
    if not math.isfinite(float(term)) or any(g is None for g in old) or not reached:
        raise ValueError(f"a step with a term of {float(term)} and gradients in {len(reached)}")
    return {a.name: a.kind for a in task.answers}


def main() -> None:
    """Look at those that were not looked at yet, and write the page after each."""
    expected = yaml.safe_load((ZOO / "expected.yml").read_text())
    found: Dict[str, Dict[str, Outcome]] = {toolkit: {} for toolkit in TOOLKITS}
    found.update(json.loads(RESULTS.read_text()) if RESULTS.exists() else {})
    for toolkit in TOOLKITS:
        for name in sorted(set(expected[toolkit]) - set(found[toolkit])):
            architecture = expected[toolkit][name]["architecture"]
            found[toolkit][name] = {"architecture": architecture, **step(toolkit, name)}
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
            write_page(found, expected)


def write_page(found: Dict[str, Dict[str, Outcome]], expected: Mapping[str, Any]) -> None:
    """Replace what stands under the mark."""
    lines = []
    for toolkit, said in TOOLKITS.items():
        outcomes = [found[toolkit][name] for name in sorted(found[toolkit])]
        served = sum("answers" in outcome for outcome in outcomes)
        left = sorted(set(expected[toolkit]) - set(found[toolkit]))
        lines += [
            f"## {said}",
            "",
            f"{served} of {len(outcomes)} are served."
            + (f" Not looked at yet: {', '.join(left)}." if left else ""),
            "",
            "| model | compared at | or why not |",
            "|---|---|---|",
            *(f"| {o['architecture']} | {_layers(o)} | {o.get('refused', '')} |" for o in outcomes),
            "",
        ]
    above = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    PAGE.write_text(above + MARK + "\n" + "\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _layers(outcome: Outcome) -> str:
    answers = sorted(outcome.get("answers", {}).items())
    return ", ".join(f"`{name}` ({kind})" for name, kind in answers)


if __name__ == "__main__":
    main()
