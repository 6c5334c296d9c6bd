"""Runs of the matrix: an environment, a train tool three times, a suite."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from matrix_cells import (  # noqa: E402
    BROKEN,
    CANNOT,
    CHECKOUTS,
    NEWEST,
    WORKS,
    Cell,
    Corner,
    Result,
)  # fmt: skip

ROOT = Path(__file__).resolve().parents[1]
MATRIX = ROOT / ".matrix"
VARIABLES = {"PaddleSeg": "PADDLESEG_HOME", "PaddleDetection": "PADDLEDETECTION_HOME"}
MODULES = {"PaddleSeg": "paddleseg", "PaddleDetection": "ppdet"}
MAKING = threading.Lock()
SECONDS = 600
"""How long one training of a few iterations may take."""

# zlib first: paddle has one of its own, which OpenCV cannot read PNG files with.
TOOL = (
    "import zlib, runpy, sys; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
BLOCK = {"rifle": {"re_init_iter": 2, "max_re_num": 1, "keep_last": 0}}
ITERATIONS = 4


def install(paddle: str, python: str, interpreter: str) -> Path:
    """The Python of an environment with a paddle, what both toolkits import, and this package."""
    folder = MATRIX / f"paddle{paddle}-python{python}"
    if (folder / "ready").exists():
        return folder / "bin/python"
    subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
    old = paddle < "3" or python == "3.8"
    packages = paddle < "3" and python != "3.12"  # the registry's toolkits ask for numpy<1.24
    pins = folder / "pins.txt"
    pins.write_text(pinned(paddle, old and python != "3.12"))
    extras = "seg,det,test" if packages else "seg-checkout,det-checkout,test"
    more = ["imgaug", "scikit-image"] if packages else []  # later PaddleDetections import them
    pip = [folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    pip += ["-c", pins]
    subprocess.run([*pip, "pip", "setuptools", "wheel"], check=True)
    protobuf = ["protobuf==3.20.3"] * (paddle < "3")  # newer ones break paddle.distributed.fleet
    subprocess.run(
        [*pip, "--editable", f"{ROOT}[{extras}]", f"paddlepaddle=={paddle}", *protobuf, *more],
        check=True,
    )
    (folder / "ready").touch()
    return folder / "bin/python"


def pinned(paddle: str, old: bool) -> str:
    """The pins of a world with another paddle."""
    text = (ROOT / ("constraints.txt" if old else "constraints-paddle3.txt")).read_text()
    own = ("paddlepaddle==", *(["protobuf=="] if paddle < "3" else []))
    return "\n".join(line for line in text.splitlines() if not line.startswith(own)) + "\n"


def run_cell(cell: Cell, python: Path, checkout: Path) -> Result:
    """Train with a checkout's unmodified tool: alone, beside this package, with a block."""
    folder = MATRIX / "runs" / "-".join(cell)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scenes = make_scenes(python)
    runs: Dict[str, Tuple[str, Any]] = {}
    for name, autoload, block in (("alone", "0", {}), ("beside", "1", {}), ("block", "1", BLOCK)):
        out = folder / name
        out.mkdir()
        path = out / "config.yml"
        path.write_text(json.dumps({**config(cell.toolkit, scenes, out), **block}))
        runs[name] = train(cell, python, checkout, path, out, autoload)
        if name == "alone" and runs[name][0]:
            return {"outcome": CANNOT, "said": runs[name][0]}
        if runs[name][0]:
            return {"outcome": BROKEN, "said": f"{name}: {runs[name][0]}"}
    if runs["alone"] != runs["beside"]:
        return {"outcome": BROKEN, "said": "a config without a block trains otherwise"}
    resets = [event["step"] for event in events(folder / "block") if event["event"] == "reset"]
    if resets != [2]:
        return {"outcome": BROKEN, "said": f"resets after {resets}, and [2] is right"}
    shutil.rmtree(folder)
    return {"outcome": WORKS, "said": ""}


def make_scenes(python: Path) -> Path:
    """Eight scenes of 64x64 to train on, made once."""
    scenes = MATRIX / "scenes"
    with MAKING:
        if (scenes / "target/spec.json").exists():
            return scenes / "target"
        code = (
            "import sys, pathlib; sys.path.insert(0, 'examples'); import digit_scenes; "
            f"digit_scenes.write_task(pathlib.Path({str(scenes)!r}), 'target', n_train=8, n_val=3, "
            "size=64, seed=0)"
        )
        subprocess.run([python, "-c", code], cwd=ROOT, check=True)
    return scenes / "target"


def config(toolkit: str, scenes: Path, out: Path) -> Dict[str, Any]:
    """A training of a few iterations of a small model that the toolkit itself has."""
    if toolkit == "PaddleDetection":
        data: Dict[str, Any] = {"_BASE_": [str(ROOT / "tests/data/tiny_ppyoloe.yml")], "epoch": 1}
        data.update({"save_dir": str(out), "output_eval": str(out), "log_iter": 1})
        for kind, split in (("Train", "train"), ("Eval", "val"), ("Test", "val")):
            place = {"dataset_dir": str(scenes), "anno_path": f"{split}.json"}
            data[f"{kind}Dataset"] = place
        return data
    dataset = {
        "type": "Dataset", "dataset_root": str(scenes), "train_path": str(scenes / "train.txt"),
        "num_classes": 6, "mode": "train", "transforms": [{"type": "Normalize"}],
    }  # fmt: skip
    model = {
        "type": "PPLiteSeg", "num_classes": 6, "backbone": {"type": "STDC1"},
        "backbone_indices": [1, 2, 3], "arm_out_chs": [32, 64, 128],
        "seg_head_inter_chs": [32, 64, 64],
    }  # fmt: skip
    return {
        "batch_size": 2,
        "iters": ITERATIONS,
        "train_dataset": dataset,
        "optimizer": {"type": "SGD", "momentum": 0.9},
        "lr_scheduler": {"type": "PolynomialDecay", "learning_rate": 0.01, "end_lr": 0},
        "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1, 1, 1]},
        "model": model,
    }


def train(
    cell: Cell, python: Path, checkout: Path, path: Path, out: Path, autoload: str
) -> Tuple[str, Any]:
    """Why a training failed, or nothing; its losses and a digest of what it saved."""
    flags = ["--config", path, "--device", "cpu", "--save_dir", out, "--log_iters", "1"]
    flags += ["--seed", "1", "--save_interval", str(ITERATIONS)]
    if cell.toolkit == "PaddleDetection":
        flags = ["-c", path, "--enable_ce", "True"]
    command = [python, "-c", TOOL, checkout / "tools/train.py", *flags]
    variables = {"PYTHONPATH": str(checkout), "RIFLE_EXT_AUTOLOAD": autoload}
    if cell.paddle < "3":
        variables["FLAGS_set_to_1d"] = "1"
    try:
        done = subprocess.run(
            list(map(str, command)), cwd=out, env=environment(python, **variables),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no end within {SECONDS} s", None
    said = done.stdout.decode("utf-8", "replace")
    (out / "log").write_text(said)
    saved = sorted(out.rglob("model.pdparams")) + sorted(out.rglob("model_final.pdparams"))
    if done.returncode or not saved:
        return last_words(said), None
    digest = hashlib.sha256(saved[-1].read_bytes()).hexdigest()
    return "", (re.findall(r"\bloss: ([\d.]+)", said), digest)


def last_words(said: str) -> str:
    """The error of a log: its last line that names one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    words = (named or lines or ["it said nothing"])[-1].replace("|", "\\|")
    return words if len(words) <= 100 else words[:100].rpartition(" ")[0] + " ..."


def run_corner(corner: Corner, python: Path, checkouts: Dict[str, Path]) -> Result:
    """Lint, then run the whole suite."""
    variables: Dict[str, str] = {}
    named = "paddleseg 2.8.0, paddledet 2.6.0"
    if corner.toolkits == CHECKOUTS:
        there = {name: path for name, path in checkouts.items()
                 if name == "PaddleSeg" or corner.python != "3.13"}  # fmt: skip
        variables = {VARIABLES[name]: str(path) for name, path in there.items()}
        variables["PYTHONPATH"] = os.pathsep.join(map(str, there.values()))
        named = ", ".join(f"{name} {NEWEST[name]}" for name in there)
    where = environment(python, **variables)
    linters = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]]
    wrong = [
        command[0]
        for command in linters
        if subprocess.run([python, "-m", *command], cwd=ROOT, env=where).returncode
    ]
    begin = time.time()
    suite = ["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
    log = MATRIX / f"suite-{'-'.join(corner)}.log"
    with log.open("w") as file:
        done = subprocess.run([python, *suite], cwd=ROOT, env=where, stdout=file)
    last = (log.read_text().splitlines() or [""])[-1]
    found = re.findall(r"(\d+) (passed|failed|skipped|error)", last)
    counts = {word: int(number) for number, word in found}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    return {
        "outcome": BROKEN if failed or done.returncode or wrong else WORKS,
        "said": last,
        "with": named,
        "passed": counts.get("passed", 0),
        "failed": failed,
        "skipped": counts.get("skipped", 0),
        "minutes": round((time.time() - begin) / 60),
        "linters": "clean" if not wrong else f"{' and '.join(sorted(set(wrong)))} complain",
    }


def environment(python: Path, **variables: str) -> Dict[str, str]:
    """Environment variables in which nothing of this shell's toolkits is left."""
    kept = {key: value for key, value in os.environ.items()
            if key not in (*VARIABLES.values(), "PYTHONPATH", "WORLD")}  # fmt: skip
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "OMP_NUM_THREADS": "1", **variables}


def events(folder: Path) -> List[Dict[str, Any]]:
    """What a training recorded."""
    (path,) = folder.rglob("rifle_events.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]
