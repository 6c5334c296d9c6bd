"""All of it: ``python -m benchmarks.cost [cpu|gpu]``, 3 to 5 minutes on a CPU.

Writes benchmarks/cost/results/<device>.json; `python -m benchmarks.cost.table` writes docs/cost.md.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import paddle

from benchmarks.cost import growth, processes, startup

CONFIGS = [
    ("seg", "configs/seg/pp_liteseg.yml"),
    ("seg", "configs/seg/deeplabv3p.yml"),
    ("seg", "configs/seg/segformer.yml"),
    ("det", "configs/det/picodet.yml"),
    ("det", "configs/det/ppyoloe_plus.yml"),
    ("det", "configs/det/faster_rcnn.yml"),
]
RESULTS = Path(__file__).parent / "results"


def main(device: str) -> Dict[str, Any]:
    """Measure everything on a device; each model in a process of its own."""
    paddle.device.set_device(device)
    about = {
        "device": device,
        "gpu": paddle.device.cuda.get_device_name() if device == "gpu" else None,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "paddle": paddle.__version__,
    }
    return {
        **about,
        "models": [_in_a_process(*config, device) for config in CONFIGS],
        "growth": growth.heads(),
        "growth_models": growth.whole_models(),
        "processes": processes.main(device),
        "startup": startup.main(),
    }


def _in_a_process(toolkit: str, config: str, device: str) -> Dict[str, Any]:
    print(f"{config} ...", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks.cost.models", toolkit, config, device]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=1200)
    return json.loads(done.stdout.decode().splitlines()[-1])


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(main(name), indent=1) + "\n")
