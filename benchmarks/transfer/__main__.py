"""All of it: ``python -m benchmarks.transfer``, hours on one core; resumable.

Prepares the data, pre-trains each model once, and fine-tunes it in every arm with every seed. The
arms of a seed are forked from one training (see forking.py), with one thread. A result of other
settings than those that would be run now does not count. `python -m benchmarks.transfer.table`
writes docs/benefit.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Tuple

import yaml

from benchmarks.transfer import data, experiments, forking, records, settings
from benchmarks.transfer.outcome import outcome
from benchmarks.transfer.places import MODELS, Place, Run
from benchmarks.transfer.regimes import REGIMES
from rifle_ext.commands.trial.process import Process
from rifle_ext.commands.trial.records import append, is_done, read

LIMIT = 1800
"""Seconds an arm may take from where it is forked."""

IMAGENET = "efficientnet_lite0.npz"
"""Of the folder that is given by --data: see efficientnet_lite.py."""

PREPARING = threading.Lock()
"""Of what trainings at the same time share: the data, and what was pre-trained."""

LOG_EVERY = {"seg": 5, "det": 3}
"""Iterations between two logged losses; a divisor of PaddleDetection's epochs."""


def main() -> None:
    """Run what is not there yet."""
    chosen = parse_arguments()
    lines = read(chosen.results)
    runs = [run for experiment in experiments.EXPERIMENTS for run in experiment.runs()]
    wanted = [
        run
        for run in dict.fromkeys(runs)
        if run.key.startswith(tuple(chosen.only.split(",")))
        and run.seed in chosen.seeds
        and data.available(run.place.data, chosen.data)
    ]
    missing = [
        run
        for run in wanted
        if not is_done(lines, run.key, settings.digest(run, source_of(run.place)))
    ]
    print(f"{len(wanted)} fine-tunings, {len(wanted) - len(missing)} of them done", flush=True)
    groups = experiments.groups(missing)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        futures = [pool.submit(do_group, group, chosen) for group in groups.values()]
        for number, future in enumerate(as_completed(futures), start=1):
            for said in future.result():
                print(f"{number}/{len(futures)} {said}", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--work", type=Path, default=Path("output/transfer"), help="folder for data and outputs")
    add("--data", type=Path, help="folder of camvid, bccd and efficientnet_lite0.npz")
    add("--results", type=Path, default=records.RESULTS, help="JSON lines, one for each training")
    add("--seeds", type=parse_seeds, default=experiments.CONFIRM, help="such as 0-4; default 5-14")
    add("--jobs", type=int, default=1, help="trainings at a time")
    add("--only", default="", help="beginnings of the keys to run: data/model/regime/arm/seed")
    add("--device", choices=["cpu", "gpu"], default="cpu")
    chosen = parser.parse_args()
    chosen.work = chosen.work.resolve()
    return chosen


def parse_seeds(text: str) -> range:
    """The seeds from the first to the last of what is written as ``0-4``."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def source_of(place: Place) -> str:
    """The digest of the pre-training that fine-tuning begins with."""
    return "" if MODELS[place.model].imagenet else settings.source_digest(place.data, place.model)


def do_group(runs: List[Run], chosen: argparse.Namespace) -> List[str]:
    """Do the missing arms of one place and seed, and write their results; returns a line of each.

    One that fails does not stop the others: it is missing in the results, and is run next time.
    """
    place, seed = runs[0].place, runs[0].seed
    with PREPARING:
        scenes = data.prepare(chosen.work / "data", place.data, chosen.data)
        data.write_few(scenes, place.data, place.regime, REGIMES[place.regime], seed)
        pretrained = pretrain(place, scenes, chosen)
    folder = chosen.work.joinpath("runs", *asdict(place).values(), str(seed))
    shutil.rmtree(folder, ignore_errors=True)
    trunk = folder / "plain"
    trunk.mkdir(parents=True)
    branches = {run: forking.Branch(*_branch(run, folder)) for run in runs if run.arm != "plain"}
    forking.write(folder / "branches.json", list(branches.values()))
    config = settings.trunk_config(place, seed, scenes, pretrained)
    wants_trunk = any(run.arm == "plain" for run in runs)
    config["fork"] = {
        "branches": str(folder / "branches.json"),
        "limit": LIMIT,
        "trunk": wants_trunk,
    }
    failed = ""
    try:
        train(place.toolkit, config, trunk, seed, chosen.device, LIMIT * (len(runs) + 1))
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        failed = str(error)
    said = [_write_result(run, folder / run.arm, pretrained, chosen) for run in runs]
    if not any("FAILED" in line for line in said):
        shutil.rmtree(folder)
    return [f"{line} {failed}" if "FAILED" in line else line for line in said]


def _branch(run: Run, folder: Path) -> Tuple[int, str, Dict[str, Any]]:
    step = run.what.begins(run.place.steps)
    assert step is not None
    return step, str(folder / run.arm), run.blocks()


def _write_result(run: Run, folder: Path, pretrained: Path, chosen: argparse.Namespace) -> str:
    try:
        found = outcome(run.place.toolkit, folder, pretrained, run.place.steps)
        if bool(found["resets"]) != run.what.must_reset:
            raise ValueError(f"resets after iteration {found['resets']}")
    except (ValueError, OSError) as error:
        return f"{run.key} FAILED: {error}"
    about = {"key": run.key, **asdict(run.place), "arm": run.arm, "seed": run.seed}
    digest = settings.digest(run, source_of(run.place))
    about = {**about, "steps": run.place.steps, "digest": digest, **records.environment()}
    append(chosen.results, {**about, **found})
    return f"{run.key}: {found['metric']:.4f}"


def pretrain(place: Place, scenes: Path, chosen: argparse.Namespace) -> Path:
    """The weights of a model trained on the source task, without its output layers.

    Of a backbone from ImageNet, the file that was given.
    """
    if MODELS[place.model].imagenet:
        return (chosen.data / IMAGENET).resolve()
    model = place.model
    digest = source_of(place)
    folder = chosen.work / "sources" / f"{place.data}-{model}-{digest}"
    weights = folder / "pretrained.pdparams"
    if not weights.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "partial.pdparams"
        config = settings.source_config(model, scenes, partial)
        train(MODELS[model].toolkit, config, folder, 0, chosen.device, 7200)
        about = outcome(MODELS[model].toolkit, folder, None, 0)
        key = f"{place.data}/{model}/source"
        line = {"key": key, "digest": digest, **records.environment(), "metric": about["metric"]}
        append(chosen.results, line)
        partial.rename(weights)
    return weights


def train(
    toolkit: str,
    config: Dict[str, Any],
    folder: Path,
    seed: int,
    device: str,
    limit: float,
) -> float:
    """Run a toolkit's train tool in a folder, with its output to ``train.log`` there.

    Returns the seconds it took.

    Raises
    ------
    RuntimeError
        If it ends with an error.
    subprocess.TimeoutExpired
        If it takes longer than `limit` seconds; it is killed with all that it forked.
    """
    path, log = folder / "config.yml", folder / forking.LOG
    if toolkit == "seg":
        flags = ["--config", str(path), "--device", device, "--do_eval", "--save_dir", "out"]
        flags += ["--save_interval", str(config["iters"]), "--log_iters", str(LOG_EVERY["seg"])]
    else:
        config = {
            **config,
            "save_dir": "out",
            "log_iter": LOG_EVERY["det"],
            "use_gpu": device == "gpu",
        }
        flags = ["-c", str(path), "--eval"]
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "benchmarks.transfer.run", toolkit, str(seed), *flags]
    settings_of_ours = {
        "OMP_NUM_THREADS": "1",
        "FLAGS_set_to_1d": "1",
        "GLOG_minloglevel": "2",
        "PYTHONPATH": os.pathsep.join([str(records.ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    log.unlink(missing_ok=True)
    process = Process(command, log, settings_of_ours, folder)
    ended = process.wait(limit)
    if ended:
        raise RuntimeError(f"{log} ends with {ended}:\n{log.read_text()[-2000:]}")
    return round(process.seconds, 1)


if __name__ == "__main__":
    main()
