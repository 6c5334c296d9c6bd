"""What the start-up file adds to a Python process: ``python -m benchmarks.cost.startup``.

Two fresh environments, one with this package's wheel, start Python in turns.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Dict, List

from benchmarks.cost.timing import interleaved, ratio

REPEATS = 60
PROJECT = Path(__file__).resolve().parents[2]


def main() -> Dict[str, float]:
    """The ratio of start-up times, and milliseconds of the import by Python's own account."""
    with tempfile.TemporaryDirectory() as folder:
        with_package, without = (_environment(Path(folder) / name) for name in ("with", "without"))
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
        site = next((with_package.parents[1] / "lib").glob("python*/site-packages"))
        _run([*pip, "--target", str(site), str(PROJECT)])
        _run([sys.executable, "-m", "compileall", "-q", str(site)])
        taken = interleaved(
            {
                "with": lambda: _run([str(with_package), "-c", "pass"]),
                "without": lambda: _run([str(without), "-c", "pass"]),
            },
            REPEATS,
        )
        imports = [_import_milliseconds(with_package) for _ in range(15)]
    return {
        "ratio": ratio(taken, "with", "without"),
        "python_seconds": median(taken["without"]),
        "import_milliseconds": median(imports),
    }


def _environment(folder: Path) -> Path:
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    return folder / "bin/python"


def _import_milliseconds(python: Path) -> float:
    done = subprocess.run(
        [str(python), "-X", "importtime", "-c", "pass"], stderr=subprocess.PIPE, check=True
    )
    found = re.search(r"\|\s*(\d+) \|\s*rifle_ext\.autoload", done.stderr.decode())
    assert found is not None, "the start-up file did nothing"
    return int(found[1]) / 1000


def _run(command: List[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)


if __name__ == "__main__":
    print(json.dumps(main()))
