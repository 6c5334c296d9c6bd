"""All of it: ``python -m benchmarks.transfer``, about two hours on two cores; resumable.

Writes the data, pre-trains each model once, and fine-tunes it in every arm with every seed, each
training a process of its own with one thread. What is in benchmarks/transfer/results/runs.jsonl is
not run again, so take out what a change of settings or of the package concerns.
`python -m benchmarks.transfer.table` writes docs/benefit.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List

import yaml

from benchmarks.transfer import data, settings
from benchmarks.transfer.outcome import outcome
from benchmarks.transfer.settings import TOOLKITS, Run

RESULTS = Path(__file__).parent / "results/runs.jsonl"
LIMIT = 1800
"""Seconds a fine-tuning may take: Paddle's DataLoader can hang."""

_writing = threading.Lock()


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--work", type=Path, default=Path("output/transfer"), help="folder for data and outputs")
    add("--results", type=Path, default=RESULTS, help="JSON lines, one for each training")
    add("--seeds", type=int, default=5, choices=range(1, data.SEEDS + 1), help="how many")
    add("--jobs", type=int, default=2, help="trainings at a time")
    add("--only", default="", help="beginning of the keys to run: task/model/steps/arm/seed")
    add("--device", choices=["cpu", "gpu"], default="cpu")
    chosen = parser.parse_args()
    done = {line["key"] for line in read(chosen.results)}
    wanted = [run for run in settings.experiments(chosen.seeds) if run.key.startswith(chosen.only)]
    missing = [run for run in wanted if run.key not in done]
    print(f"{len(wanted)} fine-tunings, {len(wanted) - len(missing)} of them done", flush=True)
    work = chosen.work.resolve()
    sources = list(dict.fromkeys(run.source for run in missing))
    for task in dict.fromkeys(task for task, _ in sources):
        data.write(work / "data", task)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        found = pool.map(lambda s: pretrain(s[0], s[1], work, chosen), sources)
        pretrained = dict(zip(sources, found))
        futures = [
            pool.submit(fine_tune, run, pretrained[run.source], work, chosen) for run in missing
        ]
        for number, future in enumerate(as_completed(futures), start=1):
            print(f"{number}/{len(futures)} {future.result()}", flush=True)


def read(results: Path) -> List[Dict[str, Any]]:
    """The lines of a results file but those cut off by a kill; none if there is no file."""
    found = []
    for line in results.read_text().splitlines() if results.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def pretrain(task: str, model: str, work: Path, chosen: argparse.Namespace) -> Path:
    """The weights of a model trained on the source task, without its output layers."""
    folder = work / task / model / "source"
    weights = folder / "pretrained.pdparams"
    if not weights.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "partial.pdparams"
        config = settings.source_config(task, model, work / "data" / task, partial)
        seconds = train(TOOLKITS[model], config, folder, 0, chosen.device, log_every=50, limit=7200)
        about = outcome(TOOLKITS[model], folder, None)
        key = f"{task}/{model}/source"
        _append(chosen.results, {"key": key, "seconds": seconds, "metric": about["metric"]})
        partial.rename(weights)
    return weights


def fine_tune(run: Run, pretrained: Path, work: Path, chosen: argparse.Namespace) -> str:
    """Do one fine-tuning and write its result; returns a line about it.

    One that fails does not stop the others: it is missing in the results, and is run next time.
    """
    folder = work / run.key
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = settings.target_config(run, work / "data" / run.task, pretrained)
    toolkit = TOOLKITS[run.model]
    try:
        seconds = train(toolkit, config, folder, run.seed, chosen.device, log_every=6, limit=LIMIT)
        found = outcome(toolkit, folder, pretrained)
    except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
        return f"{run.key} FAILED: {error}"
    shutil.rmtree(folder)
    _append(chosen.results, {"key": run.key, **asdict(run), "seconds": seconds, **found})
    return f"{run.key}: {found['metric']:.3f} in {seconds:.0f} s"


def train(
    toolkit: str,
    config: Dict[str, Any],
    folder: Path,
    seed: int,
    device: str,
    log_every: int,
    limit: float,
) -> float:
    """Run a toolkit's train tool with its output to ``train.log``; returns the seconds it took."""
    path, log = folder / "config.yml", folder / "train.log"
    if toolkit == "seg":
        total = str(config["iters"])
        flags = ["--config", str(path), "--device", device, "--do_eval"]
        flags += ["--save_dir", str(folder), "--save_interval", total]
        flags += ["--log_iters", str(log_every)]
    else:
        config = {**config, "save_dir": str(folder), "output_eval": str(folder)}
        config.update(log_iter=log_every, use_gpu=device == "gpu")
        flags = ["-c", str(path), "--eval"]
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "benchmarks.transfer.run", toolkit, str(seed), *flags]
    one_thread = {"OMP_NUM_THREADS": "1", "FLAGS_set_to_1d": "1", "GLOG_minloglevel": "2"}
    begin = time.time()
    with log.open("w") as output:
        ended = subprocess.run(
            command, stdout=output, stderr=output, env={**os.environ, **one_thread}, timeout=limit
        )
    if ended.returncode:
        raise RuntimeError(f"{log} ends with {ended.returncode}:\n{log.read_text()[-2000:]}")
    return round(time.time() - begin, 1)


def _append(results: Path, line: Dict[str, Any]) -> None:
    with _writing, results.open("a+") as file:
        file.seek(max(0, file.tell() - 1))
        begun = file.read() not in ("", "\n")  # by one that was killed
        file.write(("\n" if begun else "") + json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
