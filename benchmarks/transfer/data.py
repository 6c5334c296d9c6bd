"""The data of the two transfer tasks: digits, and Fashion-MNIST items where they are installed.

Each has a source task with many scenes and a target task of other classes; every seed fine-tunes on
few scenes of its own, and all are evaluated on the same ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable, Dict

import digit_scenes

from benchmarks.transfer import fashion_scenes

SEEDS = 10
SHOTS = 24
"""Scenes to fine-tune on; `SEEDS` disjoint sets of them are drawn."""

SOURCE, VAL, SIZE = 4000, 200, 64
"""Scenes of the source task; of a validation set; side of a scene in pixels."""


def _digits(root: Path) -> None:
    digit_scenes.write_task(root, "source", SOURCE, VAL, SIZE, seed=0)
    digit_scenes.write_task(root, "target", SHOTS * SEEDS, VAL, SIZE, seed=0)


def _fashion(root: Path) -> None:
    fashion_scenes.write_task(root, "source", SOURCE, VAL, SIZE, seed=0)
    fashion_scenes.write_task(root, "target", SHOTS * SEEDS, VAL, SIZE, seed=0)


TASKS: Dict[str, Callable[[Path], None]] = {"digits": _digits, "fashion": _fashion}
"""What writes the scenes of a task to a folder, unless they are there."""


def available(task: str) -> bool:
    """Whether a task's items are on this machine."""
    return task != "fashion" or fashion_scenes.FOLDER.is_dir()


def write(root: Path, task: str) -> Path:
    """Write a task's scenes and the lists of few scenes; returns the task's folder."""
    folder = root / task
    TASKS[task](folder)
    for seed in range(SEEDS):
        _write_few(folder / "target", seed)
    return folder


def _write_few(folder: Path, seed: int) -> None:
    """Write ``few_<seed>.txt`` and ``few_<seed>.json``: the scenes that one seed trains on."""
    lines = (folder / "train.txt").read_text().splitlines(keepends=True)
    (folder / f"few_{seed}.txt").write_text("".join(lines[SHOTS * seed : SHOTS * (seed + 1)]))
    coco = json.loads((folder / "train.json").read_text())
    coco["images"] = coco["images"][SHOTS * seed : SHOTS * (seed + 1)]
    ids = {image["id"] for image in coco["images"]}
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] in ids]
    (folder / f"few_{seed}.json").write_text(json.dumps(coco))
