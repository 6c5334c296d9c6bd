"""Run one check on many configs, each in its own process, and keep what it found.

``python -m benchmarks.zoo.sweep examine --toolkit seg --checkout ../PaddleSeg`` runs
`benchmarks.zoo.examine` on every trainable config of a checkout: `rifle-ext plan --synthetic
--json`, then the same model with one class more.

``python -m benchmarks.zoo.sweep fidelity --toolkit seg`` runs `benchmarks.zoo.fidelity` on the
small configs of tests/data/zoo, one or more for each architecture: redraws against constructions.

Results go to ``results/<check>_<toolkit>.jsonl``, a line a config; a sweep that is started again
goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List

from benchmarks.zoo.configs import trainable

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
ROOT = HERE.parents[1]


def main() -> None:
    """Sweep what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("check", choices=["examine", "fidelity"])
    add("--toolkit", required=True, choices=["seg", "det"])
    add("--checkout", type=Path, default=ROOT, help="examine: root of a checkout of the toolkit")
    add("--jobs", type=int, default=2, help="processes at a time")
    add("--seconds", type=float, default=600, help="time limit of a process")
    add("--gigabytes", type=float, default=10, help="memory limit of a process")
    add("--only", help="configs whose path holds this")
    add("--again", action="store_true", help="try those again that failed")
    chosen = parser.parse_args()
    file = RESULTS / f"{chosen.check}_{chosen.toolkit}.jsonl"
    configs = _ahead(chosen, file)
    print(f"{len(configs)} configs", flush=True)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for done in pool.map(lambda config: _run(chosen, config), configs):
            with file.open("a") as results:
                results.write(json.dumps(done) + "\n")
            print(f"{done['config']}: {done['verdict']}, {done['seconds']} s", flush=True)


def read(check: str, toolkit: str) -> List[Dict[str, Any]]:
    """The latest result for each config, in order of their paths."""
    file = RESULTS / f"{check}_{toolkit}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    latest = {result["config"]: result for result in map(json.loads, lines)}
    return [latest[config] for config in sorted(latest)]


def _ahead(chosen: argparse.Namespace, file: Path) -> List[str]:
    file.parent.mkdir(exist_ok=True)
    kept = [r for r in read(chosen.check, chosen.toolkit) if not chosen.again or r["ok"]]
    done = {result["config"] for result in kept}
    if chosen.check == "examine":
        configs = trainable(chosen.toolkit, chosen.checkout)
    else:
        small = sorted((ROOT / "tests/data/zoo" / chosen.toolkit).glob("*.yml"))
        configs = [str(path.relative_to(ROOT)) for path in small]
    return [c for c in configs if c not in done and (chosen.only or "") in c]


def _run(chosen: argparse.Namespace, config: str) -> Dict[str, Any]:
    """Run the check in a process of its own; its last line of output is its result."""
    command = [sys.executable, "-m", f"benchmarks.zoo.{chosen.check}", chosen.toolkit, config]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(chosen.checkout.resolve()), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
        "GLOG_minloglevel": "2",
    }
    begin = time.monotonic()
    process = subprocess.Popen(
        command, cwd=chosen.checkout, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: _limit_memory(chosen.gigabytes),
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=chosen.seconds)
        limit = ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        limit = f"more than {chosen.seconds:g} s"
    about = {"config": config, "seconds": round(time.monotonic() - begin, 1)}
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if lines and not limit:
        return {**about, **json.loads(lines[-1])}
    return {**about, "ok": False, "verdict": limit or _last_words(err, process.returncode)}


def _limit_memory(gigabytes: float) -> None:
    size = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _last_words(stderr: str, code: int) -> str:
    """The last line of a process's standard error that says anything."""
    said = [line.strip() for line in stderr.splitlines() if len(line.strip()) > 12]
    return f"exit code {code}: {said[-1][:300] if said else 'no message'}"


if __name__ == "__main__":
    main()
