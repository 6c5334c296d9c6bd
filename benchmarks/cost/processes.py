"""What a reset costs where two processes train together: ``python -m benchmarks.cost.processes``.

Two ranks on one machine (gloo on the CPU, NCCL on GPUs) train PaddlePaddle's ResNet-18; after a
reset they compare what they have.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Dict

import paddle
from paddle.vision.models import resnet18

from benchmarks.cost.timing import interleaved, ratio
from rifle_ext.redraw import fresh
from rifle_ext.redraw.reset import digest, reinitialize
from rifle_ext.training.ranks import check_same

RANKS, REPEATS = 2, 15
PROJECT = Path(__file__).resolve().parents[2]


def main(device: str = "cpu") -> Dict[str, Any]:
    """Measure with two processes; of a GPU machine with one GPU, nothing."""
    if device == "gpu" and paddle.device.cuda.device_count() < RANKS:
        return {}
    launch = [sys.executable, "-m", "paddle.distributed.launch", f"--nproc_per_node={RANKS}"]
    backend = ["--backend=gloo"] if device == "cpu" else []
    with tempfile.TemporaryDirectory() as folder:
        script = [str(Path(__file__).resolve()), "rank", str(Path(folder) / "result.json")]
        subprocess.run(
            [*launch, *backend, f"--log_dir={folder}", *script],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdout=sys.stderr,
            check=True,
            timeout=900,
        )
        return json.loads((Path(folder) / "result.json").read_text())


def rank(result: Path) -> None:
    """One of the processes; the first one writes the result."""
    paddle.distributed.init_parallel_env()
    model = resnet18()
    parallel = paddle.DataParallel(model)
    optimizer = paddle.optimizer.Momentum(parameters=model.parameters())
    image = paddle.rand([2, 3, 128, 128])
    head = {name: p for name, p in model.named_parameters() if name.startswith("fc.")}
    initializers = fresh.from_rebuild(resnet18, head, 0, 1).initializers
    assert initializers is not None

    def step() -> None:
        parallel(image).square().mean().backward()
        optimizer.step()
        optimizer.clear_grad()

    def reset() -> None:
        reinitialize(head, fresh.from_initializers(initializers, head, 0, 2), optimizer)
        check_same(digest(head), "the reset")

    def check() -> None:
        check_same(digest(head), "the reset")

    taken = interleaved({"step": step, "reset": reset, "check": check}, REPEATS)
    if paddle.distributed.get_rank() == 0:
        found = {
            "processes": RANKS,
            "step_seconds": median(taken["step"]),
            "reset_seconds": median(taken["reset"]),
            "check_seconds": median(taken["check"]),
            "reset_in_steps": ratio(taken, "reset", "step"),
        }
        result.write_text(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["rank"]:
        rank(Path(sys.argv[2]))
    else:
        print(json.dumps(main(*sys.argv[1:])))
