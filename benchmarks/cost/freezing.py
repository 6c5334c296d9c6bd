"""Time and memory of a step against the part frozen: ``python -m benchmarks.cost.freezing``.

For one model of each toolkit: forward, backward and update on the config's made-up sample with the
first layers frozen, in the order of execution, up to some part of all layers. All parts are timed
in turns. Beside it stands what theory expects of the multiply-adds of the layers that still learn.
Writes benchmarks/cost/results/freezing.json.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, List

import paddle

from benchmarks.cost.models import training_step
from rifle_ext.commands.training_options import toolkits
from rifle_ext.methods.freeze_out.block import parse_block
from rifle_ext.methods.freeze_out.plan import Plan
from rifle_ext.methods.freeze_out.saving import left_out, saving
from rifle_ext.training.freezing import Frozen
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.parameter_rates import ParameterRates, SharedRates
from rifle_ext.training.setup import Request

CONFIGS = [("seg", "configs/seg/pp_liteseg.yml"), ("det", "configs/det/ppyoloe_plus.yml")]
PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)
REPEATS = 21
RESULTS = Path(__file__).parent / "results/freezing.json"


def main(device: str = "cpu") -> List[Dict[str, Any]]:
    """Measure each model on ``cpu`` or ``gpu``."""
    return [_model(toolkit, config, device) for toolkit, config in CONFIGS]


def _model(toolkit: str, config: str, device: str) -> Dict[str, Any]:
    block = parse_block({"layers": "all"})
    assert block is not None
    with toolkits()[toolkit].load()(Request(config, synthetic=True)) as (_, run):
        paddle.device.set_device(device)
        if device != "cpu":
            run.model.to(device)
        plan = Plan(block, run)
        run.model.train()
        step = training_step(run)
        counts = [round(part * len(plan.layers)) for part in PARTS]
        taken: Dict[int, List[float]] = {count: [] for count in counts}
        rates: List[float] = []
        for repeat in range(REPEATS + 1):  # the first one is for nothing
            for count in counts:
                seconds = _with_frozen(run, plan, count, step)
                if repeat:
                    taken[count].append(seconds)
            if repeat:
                rates.append(_with_rates(run, plan, step))
        whole = taken[counts[0]]
        return {
            "config": config,
            "device": device,
            "layers": len(plan.layers),
            "step_seconds": median(whole),
            "rates_ratio": median(a / b for a, b in zip(rates, whole)),
            "parts": [
                {
                    "frozen": count,
                    "ratio": median(a / b for a, b in zip(taken[count], whole)),
                    "expected": 1 - saving(_left_out(plan, count)),
                    "megabytes": _kept(run, plan, count),
                }
                for count in counts
            ],
        }


def _left_out(plan: Plan, count: int) -> float:
    work = [layer.work for layer in plan.layers]
    times = [0.0] * count + [1.0] * (len(work) - count)
    return left_out(work, times, plan.rest)


def _freeze(run: TrainingRun, plan: Plan, count: int) -> Frozen:
    frozen, named = Frozen(run), dict(run.model.named_sublayers(include_self=True))
    layers = plan.layers[:count]
    if layers:
        frozen.add(
            {name: p for layer in layers for name, p in layer.parameters.items()},
            [named[name] for layer in layers for name in layer.normalizations],
        )
    return frozen


def _with_frozen(run: TrainingRun, plan: Plan, count: int, step: Callable[[], None]) -> float:
    """Seconds of the processor for a step with the first layers frozen."""
    frozen = _freeze(run, plan, count)
    step()
    begin = _now()
    step()
    taken = _now() - begin
    frozen.restore()
    return taken


def _with_rates(run: TrainingRun, plan: Plan, step: Callable[[], None]) -> float:
    """Seconds for a step in which nothing is frozen, and every layer has a rate of its own."""
    rates = [ParameterRates(layer.parameters.values()) for layer in plan.layers]
    shared = SharedRates(run.optimizer)
    for index, rate in enumerate(rates, start=2):
        rate.multiply(1 / index)
    step()
    shared.next_step()
    begin = _now()
    step()
    taken = _now() - begin
    for rate in rates:
        rate.restore()
    shared.restore()
    return taken


def _kept(run: TrainingRun, plan: Plan, count: int) -> float:
    """MiB that a forward pass keeps for the backward pass, weights apart."""
    frozen = _freeze(run, plan, count)
    weights = {p.data_ptr() for p in run.model.parameters()}
    sizes: Dict[int, int] = {}

    def pack(tensor: paddle.Tensor) -> paddle.Tensor:
        if tensor._is_initialized() and tensor.data_ptr() not in weights:
            sizes[tensor.data_ptr()] = tensor.size * tensor.element_size()
        return tensor

    with paddle.autograd.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = run.forward()
    found = sum(sizes.values()) / 2**20
    del outputs
    frozen.restore()
    gc.collect()
    return found


def _now() -> float:
    """Seconds of the processor, or by the wall once a GPU has done what it was asked."""
    if paddle.device.get_device().startswith("gpu"):
        paddle.device.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


if __name__ == "__main__":
    found = main(*sys.argv[1:])
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
