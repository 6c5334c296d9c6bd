"""Fine-tune a small PaddleSeg model on few scenes, with RIFLE, in a few minutes on a CPU.

Makes the example data, pre-trains on the source task (digits 0 to 4, many scenes), fine-tunes on
the target task (digits 5 to 9, 24 scenes) with the block of `configs/seg/demo/target.yml`, and
tells what was reset when and what that did to the mean intersection over union (mIoU).

Run from the repository root: ``make demo``, or ``python examples/demo_seg.py``.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

import digit_scenes

OUTPUT = Path("output/demo")

SHOWN = re.compile(r"\[TRAIN\]|\[RIFLE\]|\[EVAL\] #Images")
MIOU = re.compile(r"\[EVAL\] #Images: \d+ mIoU: ([\d.]+)")
DONE = re.compile(r"\[TRAIN\] .* iter: (\d+)/")


def make_data() -> None:
    """Write both tasks below `data/digit_scenes`."""
    root = Path("data/digit_scenes")
    digit_scenes.write_task(root, "source", n_train=1500, n_val=100, size=64, seed=0)
    digit_scenes.write_task(root, "target", n_train=24, n_val=100, size=64, seed=0)


def train(config: str, save_dir: Path, *options: str) -> Dict[int, float]:
    """Run the train tool and show its progress; returns the mIoU after each evaluated iteration."""
    command = [sys.executable, "-m", "seg_hooks.train", "--config", config, "--do_eval"]
    command += ["--save_dir", str(save_dir), "--seed", "1", "--keep_checkpoint_max", "1", *options]
    print("$ python", *command[1:], flush=True)
    measured: Dict[int, float] = {}
    iteration = 0
    last: List[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = [*last[-20:], line]
            if SHOWN.search(line):
                print("  " + line.strip().split("\t")[-1].split(", batch_cost")[0], flush=True)
            if DONE.search(line):
                iteration = int(DONE.search(line).group(1))  # type: ignore[union-attr]
            if MIOU.search(line):
                measured[iteration] = float(MIOU.search(line).group(1))  # type: ignore[union-attr]
    if process.returncode != 0:
        raise SystemExit("".join(last) + f"\nthe training ended with {process.returncode}")
    return measured


def tell(measured: Dict[int, float], save_dir: Path) -> None:
    """Print the resets with the mIoU before each, and how it came back after it."""
    lines = (save_dir / "rifle_events.jsonl").read_text().splitlines()
    resets = [event for event in map(json.loads, lines) if event["event"] == "reset"]
    print("\nWhat was reset, and the mIoU on the 100 validation scenes:")
    for reset in resets:
        step = reset["step"]
        after = {at: value for at, value in measured.items() if at > step}
        back = [f"{value:.3f} after {at - step} more" for at, value in sorted(after.items())]
        print(
            f"  reset {reset['index']} of {reset['of']} after iteration {step}: "
            f"{reset['values']} values of {', '.join(reset['parameters'])}\n"
            f"    mIoU before it {measured[step]:.3f}, then {', '.join(back)} iterations"
        )


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="gpu", help="gpu (the CPU where there is none) or cpu")
    device = ["--device", parser.parse_args().device]
    begin = time.time()
    make_data()
    print("\nPre-training on the source task")
    train("configs/seg/demo/source.yml", OUTPUT / "source", "--save_interval", "500", *device)
    print("\nFine-tuning on the target task, with RIFLE")
    measured = train(
        "configs/seg/demo/target.yml", OUTPUT / "target", "--save_interval", "50", *device
    )
    tell(measured, OUTPUT / "target")
    print(f"\nDone in {time.time() - begin:.0f} s. Outputs are in {OUTPUT}:")
    print("  source/best_model, target/best_model    checkpoints")
    print("  target/rifle_events.jsonl               the plan and every reset")


if __name__ == "__main__":
    main()
