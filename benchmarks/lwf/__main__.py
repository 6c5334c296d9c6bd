"""All of it: ``python -m benchmarks.lwf``, hours on one core; resumable.

Digits 0 to 4, then 5 to 9: each model is trained on the old task once (with benchmarks/transfer,
whose data and trainings these are), and then fine-tuned, whole, on the new one, with each weight
and each seed. `python -m benchmarks.lwf.table` prints what came out; `--list` what there is to run.

Resumable: what was trained on the old task, its evaluation and each fine-tuning that is done stay;
one that was interrupted begins anew.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List

import yaml

from benchmarks.lwf.evaluate import old_model
from benchmarks.transfer import data, records, settings
from benchmarks.transfer.__main__ import parse_seeds, pretrain, source_of, train
from benchmarks.transfer.outcome import outcome
from benchmarks.transfer.places import Place
from benchmarks.transfer.regimes import REGIMES
from rifle_ext.commands.trial.records import append, is_done, read
from rifle_ext.errors import RifleError

RESULTS = Path(__file__).parent / "results/runs.jsonl"
STEPS = 480
"""Of a fine-tuning: whole epochs of its 24 images."""

WEIGHTS = (0, 1, 3, 10)
"""What is tried of `weight`; 0 is plain fine-tuning."""

TRIED = ("pp_liteseg", "gfl", "ppyoloe")
"""Keys of `benchmarks.transfer.places.MODELS`."""

REGIME = "clean"
LIMIT = 3600
"""Seconds that a training may take."""


@dataclass(frozen=True)
class Run:
    """One fine-tuning.

    Attributes
    ----------
    model
        One of `TRIED`.
    weight
        That of the block.
    seed
        Which images it trains on, and the seed of the training.
    """

    model: str
    weight: float
    seed: int

    @property
    def key(self) -> str:
        """The run in one word."""
        return f"{self.model}/{self.weight:g}/{self.seed}"

    @property
    def place(self) -> Place:
        """Where benchmarks/transfer has such a training."""
        return Place("digits", self.model, REGIME)


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--work", type=Path, default=Path("output/transfer"), help="that of benchmarks/transfer")
    add("--results", type=Path, default=RESULTS, help="JSON lines, one for each training")
    add("--seeds", type=parse_seeds, default=range(5), help="such as 0-4")
    add("--only", default="", help="beginnings of the keys to run: model/weight/seed")
    add("--list", action="store_true", help="say what is done and what is missing, and run nothing")
    add("--device", choices=["cpu", "gpu"], default="cpu")
    chosen = parser.parse_args()
    chosen.work, chosen.data = chosen.work.resolve(), None
    for run in wanted(chosen.seeds):
        if run.key.startswith(tuple(chosen.only.split(","))):
            done = is_done(read(chosen.results), run.key, digest(run))
            if chosen.list:
                print(f"{run.key}: {'done' if done else 'missing'}")
            elif not done:
                print(attempt(run, chosen), flush=True)


def wanted(seeds: Any) -> List[Run]:
    """Seed by seed, so that each is complete before the next begins."""
    return [Run(model, weight, s) for s in seeds for model in TRIED for weight in WEIGHTS]


def attempt(run: Run, chosen: argparse.Namespace) -> str:
    """As `do`; what fails is said, and tried again next time."""
    try:
        return do(run, chosen)
    except (RuntimeError, RifleError, OSError, subprocess.TimeoutExpired) as error:
        return f"{run.key} FAILED: {error}"


def do(run: Run, chosen: argparse.Namespace) -> str:
    """Train, evaluate both tasks, and write the result; returns a line about it."""
    scenes = data.prepare(chosen.work / "data", "digits", None)
    data.write_few(scenes, "digits", REGIME, REGIMES[REGIME], run.seed)
    before_it = pretrain(run.place, scenes, chosen).parent
    old, begun = whole_model(before_it), cpu_seconds()
    folder = chosen.work / "lwf" / run.key
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = config_of(run, scenes, old)
    toolkit = run.place.toolkit
    train(toolkit, config, folder, run.seed, chosen.device, LIMIT)
    trained = whole_model(folder)
    line: Dict[str, Any] = {"key": run.key, **asdict(run), "steps": STEPS, "digest": digest(run)}
    line["new"] = outcome(toolkit, folder, None, 0)["metric"]
    kept = old_model(toolkit, folder / "config.yml", trained, old)
    source = settings.source_config(run.model, scenes, folder / "unused")
    line["old"] = evaluate(toolkit, source, kept, folder)
    line["cpu_seconds"] = round(cpu_seconds() - begun)  # of this run alone
    line["before"] = evaluated_once(toolkit, source, old, before_it)
    append(chosen.results, {**line, **records.environment()})
    shutil.rmtree(folder)
    return f"{run.key}: old {line['old']:.4f} of {line['before']:.4f}, new {line['new']:.4f}"


def cpu_seconds() -> float:
    """What the processes that have ended took of the CPU."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def config_of(run: Run, scenes: Path, old: Path) -> Dict[str, Any]:
    """The config of a fine-tuning that begins with the whole old model."""
    config = settings.trunk_config(run.place, run.seed, scenes, old)
    config["lwf"] = {"weight": run.weight}
    if run.place.toolkit == "seg":
        return {**config, "iters": STEPS}
    epochs = STEPS // run.place.epoch
    config.update(epoch=epochs, snapshot_epoch=epochs)
    config["LearningRate"]["schedulers"][0]["max_epochs"] = epochs
    return config


def digest(run: Run) -> str:
    """A digest of what decides what a run does, package and versions apart."""
    bases = settings.resolved(settings.base_of(run.model))
    config = {**config_of(run, Path("data"), Path("old")), "_base_": 0, "_BASE_": 0}
    return settings.digest_of([source_of(run.place), config, bases])


def whole_model(folder: Path) -> Path:
    """The model that a training has written last, its output layers included."""
    files = [p for p in (folder / "out").rglob("*.pdparams") if "best_model" not in str(p)]
    return max(files, key=lambda path: path.stat().st_mtime)


def evaluated_once(toolkit: str, config: Dict[str, Any], weights: Path, folder: Path) -> float:
    """As `evaluate`; what came out is kept in the folder for the runs that follow."""
    kept = folder / "evaluated.json"
    if not kept.exists():
        kept.write_text(json.dumps({"metric": evaluate(toolkit, config, weights, folder)}))
    return float(json.loads(kept.read_text())["metric"])


def evaluate(toolkit: str, config: Dict[str, Any], weights: Path, folder: Path) -> float:
    """The metric of some weights on the validation set of a config, in a process of its own."""
    path = folder / "evaluated.yml"
    left_out = {key: value for key, value in config.items() if key != "trick"}
    path.write_text(yaml.safe_dump({**left_out, "use_gpu": False}, sort_keys=False))
    command = [sys.executable, "-m", "benchmarks.lwf.evaluate", toolkit, str(path), str(weights)]
    done = subprocess.run(command, cwd=records.ROOT, capture_output=True, text=True, timeout=LIMIT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} fails:\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["metric"])


if __name__ == "__main__":
    main()
