"""Fine-tune a small segmentation model and a small detector on few scenes, with RIFLE.

Makes the example data; then, with PaddleSeg and with PaddleDetection, pre-trains on the source task
(digits 0 to 4, many scenes), fine-tunes on the target task (digits 5 to 9, 24 scenes) with a
`rifle:` block, and tells what was reset when and how the validation metric went on.

Run from the repository root: ``make demo``, or ``python examples/demo.py``.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Callable, Dict, List, Pattern

import digit_scenes

from rifle_ext.runtime.compat import before_paddle

OUTPUT = Path("output/demo")


@dataclass(frozen=True)
class Toolkit:
    """How to train with a toolkit, and how to read its log.

    Attributes
    ----------
    name, metric
        For the reader.
    module
        What is imported.
    train
        Command line flags of this package's train tool for (config, save_dir, device).
    events
        Where a training with that config and folder leaves its events.
    shown
        Lines worth showing.
    progress
        Matches a line that tells how far the training is.
    step
        Optimizer steps done when such a line is the last one before an evaluation.
    measured
        Matches a line with the metric.
    """

    name: str
    metric: str
    module: str
    train: Callable[[str, Path, str], List[str]]
    events: Callable[[str, Path], Path]
    shown: Pattern
    progress: Pattern
    step: Callable[[re.Match], int]
    measured: Pattern


def _seg_flags(config: str, save_dir: Path, device: str) -> List[str]:
    flags = ["-m", "seg_hooks.train", "--config", config, "--device", device, "--do_eval"]
    every = "500" if "source" in config else "50"
    return [*flags, "--save_dir", str(save_dir), "--save_interval", every, "--seed", "1"]


def _det_flags(config: str, save_dir: Path, device: str) -> List[str]:
    flags = ["-m", "det_hooks.train", "-c", config, "--eval", "--enable_ce", "True", "-o"]
    folders = [f"save_dir={save_dir}", f"output_eval={save_dir}"]
    return [*flags, *folders, f"use_gpu={str(device == 'gpu').lower()}"]


SEG = Toolkit(
    name="PaddleSeg",
    metric="mIoU",
    module="paddleseg",
    train=_seg_flags,
    events=lambda config, save_dir: save_dir / "rifle_events.jsonl",
    shown=re.compile(r"(\[TRAIN\].*?loss: [\d.]+|\[RIFLE\].*|\[EVAL\] #Images.*?mIoU: [\d.]+)"),
    progress=re.compile(r"\[TRAIN\] .* iter: (\d+)/"),
    step=lambda found: int(found.group(1)),
    measured=re.compile(r"\[EVAL\] #Images: \d+ mIoU: ([\d.]+)"),
)
DET = Toolkit(
    name="PaddleDetection",
    metric="mAP",
    module="ppdet",
    train=_det_flags,
    events=lambda config, save_dir: save_dir / Path(config).stem / "rifle_events.jsonl",
    shown=re.compile(
        r"(Epoch: \[\d+\] \[ *0/.*?loss: [\d.]+|\[RIFLE\].*|Precision.*0.50:0.95 \| area= +all.*)"
    ),
    progress=re.compile(r"Epoch: \[(\d+)\] \[ *\d+/(\d+)\]"),
    step=lambda found: (int(found.group(1)) + 1) * int(found.group(2)),
    measured=re.compile(r"Precision.*IoU=0.50:0.95 \| area= +all .* = ([\d.]+)"),
)


def default_device() -> str:
    """``gpu`` where paddle sees one, else ``cpu``."""
    before_paddle()
    import paddle

    seen = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    return "gpu" if seen else "cpu"


def make_data() -> None:
    """Write both tasks below `data/digit_scenes`."""
    root = Path("data/digit_scenes")
    digit_scenes.write_task(root, "source", n_train=1500, n_val=100, size=64, seed=0)
    digit_scenes.write_task(root, "target", n_train=24, n_val=100, size=64, seed=0)


def train(toolkit: Toolkit, config: str, save_dir: Path, device: str) -> Dict[int, float]:
    """Run the train tool and show its progress; returns the metric after each evaluated step."""
    command = [sys.executable, *toolkit.train(config, save_dir, device)]
    print("$ python", *command[1:], flush=True)
    measured: Dict[int, float] = {}
    step = 0
    last: List[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = [*last[-20:], line]
            shown = toolkit.shown.search(line)
            if shown:
                print(" ", shown.group(1), flush=True)
            progress = toolkit.progress.search(line)
            step = toolkit.step(progress) if progress else step
            metric = toolkit.measured.search(line)
            if metric:
                measured[step] = float(metric.group(1))
    if process.returncode != 0:
        raise SystemExit("".join(last) + f"\nthe training ended with {process.returncode}")
    return measured


def tell(toolkit: Toolkit, measured: Dict[int, float], events: Path) -> None:
    """Print the resets, with the metric before each and how it came back after it."""
    found = [json.loads(line) for line in events.read_text().splitlines()]
    print(f"\nWhat was reset, and the {toolkit.metric} on the 100 validation scenes:")
    for reset in (event for event in found if event["event"] == "reset"):
        step = reset["step"]
        before = [value for at, value in sorted(measured.items()) if at <= step]
        after = sorted((at - step, value) for at, value in measured.items() if at > step)
        layers = dict.fromkeys(name.rpartition(".")[0] for name in reset["parameters"])
        metrics = [f"before it {before[-1]:.3f}" if before else "before it not evaluated"]
        metrics += [", ".join(f"{value:.3f} after {more} more" for more, value in after)]
        print(
            f"  reset {reset['index']} of {reset['of']} after iteration {step}: "
            f"{reset['values']} values of {', '.join(layers)}\n"
            f"    {toolkit.metric} {'; '.join(metrics)}"
        )


def run(toolkit: Toolkit, kind: str, device: str) -> None:
    """Pre-train and fine-tune with one toolkit."""
    source, target = (f"configs/{kind}/demo/{task}.yml" for task in ("source", "target"))
    print(f"\n{toolkit.name}: pre-training on the source task")
    train(toolkit, source, OUTPUT / kind / "source" if kind == "seg" else OUTPUT / kind, device)
    print(f"\n{toolkit.name}: fine-tuning on the target task, with RIFLE")
    save_dir = OUTPUT / kind / "target" if kind == "seg" else OUTPUT / kind
    measured = train(toolkit, target, save_dir, device)
    tell(toolkit, measured, toolkit.events(target, save_dir))


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "gpu"], help="default: gpu where there is one")
    parser.add_argument("--only", choices=["seg", "det"], help="one of the two toolkits")
    chosen = parser.parse_args()
    begin = time.time()
    make_data()
    for kind, toolkit in (("seg", SEG), ("det", DET)):
        if chosen.only is None and find_spec(toolkit.module) is None:
            print(f"\n{toolkit.name} is not installed: its half is left out")
        elif chosen.only in (None, kind):
            run(toolkit, kind, chosen.device or default_device())
    print(f"\nDone in {time.time() - begin:.0f} s. Outputs are in {OUTPUT}:")
    print("  */source/best_model*, */target/best_model*    checkpoints")
    print("  */target/rifle_events.jsonl                   the plan and every reset")


if __name__ == "__main__":
    main()
