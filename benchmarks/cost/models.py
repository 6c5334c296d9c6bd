"""What RIFLE costs beside the training steps of real models.

``python -m benchmarks.cost.models seg configs/seg/pp_liteseg.yml`` prints one JSON object. The
training step is a small one: one or two images of the config's made-up data set, a corner of 128
pixels in PaddleSeg. Real steps take longer, so real ratios are smaller.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, Optional

import paddle

from benchmarks.cost.timing import interleaved, now, ratio
from rifle_ext.commands.training_options import toolkits
from rifle_ext.heads.outputs import tensors_in
from rifle_ext.heads.selection import select
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.hook import RifleHook
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.redraw import fresh
from rifle_ext.redraw.reset import digest, reinitialize
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.setup import Request

REPEATS = 9
IDLE_BLOCKS, IDLE_STEPS = 15, 4
"""The idle hook is timed over blocks of steps, with it and without it in turns."""


def main(toolkit: str, config: str, device: str = "cpu") -> Dict[str, Any]:
    """Measure one config on ``cpu`` or ``gpu``; the result as JSON-ready data."""
    block = parse_block({"max_re_num": 1})
    assert block is not None
    with toolkits()[toolkit].load()(Request(config, synthetic=True)) as (_, run):
        paddle.device.set_device(device)
        if device != "cpu":
            run.model.to(device)
        run.model.train()
        step = training_step(run)
        step()
        plan = Plan(block, run)
        values = plan.draw(1)
        return {
            "config": config,
            "model": type(run.model).__name__,
            "device": device,
            "parameters": sum(int(p.size) for p in run.model.parameters()),
            "head": plan.selection.values,
            **_acting(run, plan, values, step),
            **_idle(run, block, step),
            **_memory(run, plan),
        }


def training_step(run: TrainingRun, term: Optional[Callable[[], Any]] = None) -> Callable[[], None]:
    """Forward, backward and update on the run's sample, with a loss that needs no labels.

    Parameters
    ----------
    run
        The training.
    term
        What gives another term of the loss, after the forward pass.
    """

    def step() -> None:
        outputs = run.forward()
        if isinstance(outputs, dict) and "loss" in outputs:
            loss = outputs["loss"]
        else:
            floats = [t for t in tensors_in(outputs) if t.dtype == paddle.float32]
            loss = sum(tensor.square().mean() for tensor in floats)
        if term is not None:
            loss = loss + term()
        loss.backward()
        run.optimizer.step()
        run.optimizer.clear_grad()

    return step


def _acting(
    run: TrainingRun, plan: Plan, values: Dict[str, Any], step: Callable[[], None]
) -> Dict[str, float]:
    """The probe and a reset, in training steps; the part that writes, against a plain copy."""
    tensors = plan.selection.tensors

    def probe() -> None:
        select(run.model, "auto", run.forward, run.gives_losses)

    def write() -> None:
        reinitialize(tensors, values, run.optimizer)

    def reset() -> None:
        reinitialize(tensors, plan.draw(2), run.optimizer)
        digest(tensors)

    def build() -> None:
        fresh.from_rebuild(run.rebuild, tensors, 0, 1)

    def copy() -> None:
        for name, tensor in tensors.items():
            tensor.set_value(values[name])

    taken = interleaved({"step": step, "probe": probe, "reset": reset, "build": build}, REPEATS)
    small = interleaved({"write": write, "copy": copy}, 10 * REPEATS)
    return {
        "step_seconds": median(taken["step"]),
        "probe_in_steps": ratio(taken, "probe", "step"),
        "reset_in_steps": ratio(taken, "reset", "step"),
        "reset_seconds": median(taken["reset"]),
        "build_seconds": median(taken["build"]),
        "needs_builds": fresh.from_rebuild(run.rebuild, tensors, 0, 1).initializers is None,
        "write_in_copies": ratio(small, "write", "copy"),
        "write_seconds": median(small["write"]),
    }


def _idle(run: TrainingRun, block: Any, step: Callable[[], None]) -> Dict[str, float]:
    """A step with the hook, no reset being due, over one without; the hook by itself."""
    hook = RifleHook(block)
    run.save_dir = Path("/nonexistent")
    run.rank = 1  # no events file
    hook.on_train_begin(run)
    hook.on_step_begin(run, 0)

    def with_hook() -> None:
        for _ in range(IDLE_STEPS):
            hook.on_step_begin(run, 1)
            step()

    def without() -> None:
        for _ in range(IDLE_STEPS):
            step()

    taken = interleaved({"with": with_hook, "without": without}, IDLE_BLOCKS)
    calls = 20_000
    begin = now()
    for _ in range(calls):
        hook.on_step_begin(run, 1)
    alone = (now() - begin) / calls
    return {"idle_ratio": ratio(taken, "with", "without"), "idle_microseconds": 1e6 * alone}


def _memory(run: TrainingRun, plan: Plan) -> Dict[str, float]:
    """Host memory a reset needs at its peak, in copies of the model, and what stays after it."""
    size = sum(p.size * p.element_size() for p in run.model.parameters())
    gc.collect()
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")  # start the peak anew
    reinitialize(plan.selection.tensors, plan.draw(2), run.optimizer)
    peak = resident("VmHWM")
    gc.collect()
    after = resident()
    return {
        "model_megabytes": size / 2**20,
        "peak_in_models": (peak - before) / size,
        "left_megabytes": (after - before) / 2**20,
    }


def resident(what: str = "VmRSS") -> int:
    """Bytes of memory of this process that are in use, or were at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(what))


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
