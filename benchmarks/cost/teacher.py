"""What a teacher costs: steps with Learning without Forgetting over steps without.

``python -m benchmarks.cost.teacher``, a few minutes on a CPU, prints a line of a table for each
model. The step is that of `benchmarks.cost.models`.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict

import paddle

from benchmarks.cost.models import resident, training_step
from benchmarks.cost.timing import interleaved, ratio
from rifle_ext.commands.training_options import toolkits
from rifle_ext.methods.lwf.block import parse_block
from rifle_ext.methods.lwf.hook import LwfHook
from rifle_ext.training.hooks import Batch
from rifle_ext.training.setup import Request

CONFIGS = [
    ("seg", "configs/seg/pp_liteseg.yml"),
    ("seg", "configs/seg/deeplabv3p.yml"),
    ("seg", "configs/seg/segformer.yml"),
    ("det", "configs/det/gfl.yml"),
    ("det", "configs/det/ppyoloe_plus.yml"),
]
REPEATS = 15


def main(toolkit: str, config: str, device: str = "cpu") -> Dict[str, Any]:
    """Measure one config on ``cpu`` or ``gpu``; the result as JSON-ready data."""
    block = parse_block(None)
    assert block is not None
    with toolkits()[toolkit].load()(Request(config, synthetic=True)) as (_, run):
        paddle.device.set_device(device)
        run.model.to(device)
        rebuild_for, classes = run.rebuild_for, run.classes
        assert rebuild_for is not None and classes is not None
        run.read_weights = lambda path: rebuild_for(classes).state_dict()
        run.model.train()
        without = training_step(run)
        peaks = {"without": _peak(without)}
        hook = LwfHook(block)
        run.save_dir, run.rank = Path(tempfile.gettempdir()), 1  # no events file
        hook.on_train_begin(run)
        held = training_step(run, lambda: hook.loss(run, Batch(lambda model: run.forward(model))))

        def step() -> None:
            hook.on_step_begin(run, 1)
            held()

        peaks["with"] = _peak(step)
        taken = interleaved({"with": step, "without": without}, REPEATS)
        size = sum(p.size * p.element_size() for p in run.model.parameters())
        return {
            "config": config,
            "step_seconds": median(taken["without"]),
            "ratio": ratio(taken, "with", "without"),
            "model_megabytes": size / 2**20,
            "peak_megabytes": {name: peak / 2**20 for name, peak in peaks.items()},
        }


def _peak(step: Callable[[], None]) -> int:
    """The most memory of this process in three steps, in bytes."""
    step()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # start the peak anew
    step()
    step()
    return resident("VmHWM")


def table() -> None:
    """Measure all, each in a process of its own."""
    print("| model | values, MiB | step, ms | with a teacher | peak, MiB | with a teacher |")
    print("|---|---|---|---|---|---|")
    for toolkit, config in CONFIGS:
        command = [sys.executable, "-m", "benchmarks.cost.teacher", toolkit, config]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=1200)
        m = json.loads(done.stdout.decode().splitlines()[-1])
        peaks = m["peak_megabytes"]
        print(
            f"| {config[8:-4]} | {m['model_megabytes']:.1f} | {1000 * m['step_seconds']:.0f} "
            f"| x {m['ratio']:.2f} | {peaks['without']:.0f} | {peaks['with']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(main(*sys.argv[1:])))
    else:
        table()
