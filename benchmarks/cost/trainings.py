"""Whole trainings with FreezeOut, and without: ``python -m benchmarks.cost.trainings``.

Fine-tunes the models of `benchmarks.transfer` with its data and pre-training, on few images with
the usual augmentation and weight decay. The settings of a seed are trained one after the other, so
that whatever else the machine does falls on all of them. The time is that of the processor between
the first iteration and the last: forward and backward pass, update, reading of data, and what
FreezeOut itself does. Resumable; `python -m benchmarks.cost.saving_table` writes docs/saving.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import yaml

from benchmarks.transfer import data, records, settings
from benchmarks.transfer.__main__ import pretrain
from benchmarks.transfer.outcome import outcome
from benchmarks.transfer.places import Place
from benchmarks.transfer.regimes import REGIMES
from rifle_ext.commands.trial.records import append, read
from rifle_ext.training.hooks import Hook, TrainingRun

RESULTS = Path(__file__).parent / "results/trainings.jsonl"

PLACES = [Place("digits", "pp_liteseg", "clean"), Place("digits", "ppyoloe", "clean")]
STEPS = {"seg": 400, "det": 402}
"""Optimizer steps; whole epochs in PaddleDetection."""

AUTHORS = {"layers": "all", "lr": "own"}
LINEAR = {"t_0": 0.5, "how_scale": "linear", "scale_lr": False}
SETTINGS: Dict[str, Dict[str, Any]] = {
    "plain": {},
    "linear, follow": {**LINEAR, "layers": "all", "lr": "follow"},
    "linear, own": {**LINEAR, **AUTHORS},
    "linear, own, backbone": {**LINEAR, "layers": "auto", "lr": "own"},
    "cubic 0.8, scaled, own": {"t_0": 0.8, "how_scale": "cubic", "scale_lr": True, **AUTHORS},
}
"""What is compared. The authors recommend unscaled linear and scaled cubic, with `lr: own`."""


class Clock(Hook):
    """Writes how long the iterations took: of the processor and by the wall, in seconds."""

    priority = 100

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen: List[List[float]] = []

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Note the time."""
        self._seen.append([time.process_time(), time.perf_counter()])

    def on_train_end(self, run: TrainingRun) -> None:
        """Write it."""
        self._path.write_text(json.dumps(self._seen))


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("output/trainings"))
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    chosen = parser.parse_args()
    work = chosen.work.resolve()
    for seed in range(chosen.seeds):
        for place in PLACES:
            for name in SETTINGS:
                key = f"{place.model}/{name}/{seed}"
                if key not in read(RESULTS):
                    found = fine_tune(place, name, seed, work)
                    append(RESULTS, {"key": key, **found, **records.environment()})
                    print(key, found["metric"], found["seconds"], flush=True)


def fine_tune(place: Place, name: str, seed: int, work: Path) -> Dict[str, Any]:
    """Train in one setting; what came out, and how long it took."""
    scenes = data.prepare(work / "data", place.data, None)
    data.write_few(scenes, place.data, place.regime, REGIMES[place.regime], seed)
    sources = work / "sources.jsonl"
    given = argparse.Namespace(work=work, data=None, device="cpu", results=sources)
    pretrained = pretrain(place, scenes, given)
    folder = work / "runs" / f"{place.model}-{name.replace(', ', '-').replace(' ', '')}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    config = settings.trunk_config(place, seed, scenes, pretrained)
    config["clock"] = str(folder / "clock.json")
    if SETTINGS[name]:
        config["freeze_out"] = SETTINGS[name]
    steps = STEPS[place.toolkit]
    _shorten(config, place, steps)
    _run(place.toolkit, config, folder, seed)
    clock = json.loads((folder / "clock.json").read_text())
    parts = [event["part"] for event in _events(folder) if event["event"] == "freeze"]
    plans = [event for event in _events(folder) if event["event"] == "plan"]
    return {
        "model": place.model,
        "setting": name,
        "seed": seed,
        "steps": steps,
        "metric": outcome(place.toolkit, folder, None, steps)["metric"],
        "seconds": round(clock[-1][0] - clock[0][0], 3),
        "wall": round(clock[-1][1] - clock[0][1], 3),
        "frozen": max(parts, default=0.0),
        "estimate": plans[0]["saving"] if plans else None,
    }


def _shorten(config: Dict[str, Any], place: Place, steps: int) -> None:
    """Let a training be of so many steps, with its schedule."""
    if place.toolkit == "seg":
        config["iters"] = steps
        return
    epochs = steps // place.epoch
    config.update(epoch=epochs, snapshot_epoch=epochs)
    config["LearningRate"]["schedulers"][0]["max_epochs"] = epochs


def _events(folder: Path) -> List[Dict[str, Any]]:
    lines = [p.read_text().splitlines() for p in folder.rglob("rifle_events.jsonl")]
    return [json.loads(line) for found in lines for line in found]


def _run(toolkit: str, config: Dict[str, Any], folder: Path, seed: int) -> None:
    path = folder / "config.yml"
    flags = ["--config", str(path), "--device", "cpu", "--do_eval", "--save_dir", "out"]
    flags += ["--save_interval", str(config.get("iters")), "--log_iters", "20"]
    if toolkit == "det":
        config = {**config, "save_dir": "out", "log_iter": 3, "use_gpu": False}
        flags = ["-c", str(path), "--eval"]
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    ours = {"OMP_NUM_THREADS": "1", "FLAGS_set_to_1d": "1", "PYTHONPATH": str(records.ROOT)}
    with (folder / "train.log").open("w") as log:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.cost.trainings", "run", toolkit, str(seed), *flags],
            cwd=folder, env={**os.environ, **ours}, stdout=log, stderr=log, check=True,
            timeout=1200,
        )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        from benchmarks.transfer.run import main as train
        from rifle_ext.training.registry import register

        register("clock", lambda block, source: [Clock(block)])
        del sys.argv[1]
        train(sys.argv.pop(1), int(sys.argv.pop(1)))
    else:
        main()
