"""The data sets: what there is to train on and where it comes from.

*digits* and *fashion* are drawn: a source task with many scenes, a target task of other classes.
*camvid* and *bccd* are photographs in a folder of the user's (docs/benefit.md says where they are
from); there the source task is ImageNet.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional

import cv2
import digit_scenes
import numpy as np

from benchmarks.transfer import fashion_scenes
from benchmarks.transfer.regimes import Coco, Regime, imbalanced, relabelled, relabelled_mask

SEEDS = 35
"""Seeds that there are training images for. The first ones' images do not depend on it."""

SOURCE, VAL, SIZE = 4000, 500, 64
"""Scenes of a drawn source task; of its and the target's validation set; side in pixels."""

EVERY = 2
"""Every second one of a list of photographs is validated on: their neighbours look the same."""

VERSION = 1
"""Of the way the training images of a seed are chosen."""


@dataclass(frozen=True)
class DataSet:
    """A data set to fine-tune on.

    Attributes
    ----------
    few, several
        Training images of a seed, in regimes that take few and in the others.
    toolkits
        Those it has labels for.
    val
        Beginning of the name of the list of validation images.
    val_list
        List file of the validation images in the data set's folder, for PaddleSeg.
    disjoint
        Whether no image is given to two seeds; otherwise each draws its own.
    write
        Writes a drawn one; None for one that is there.
    """

    few: int
    several: int
    toolkits: tuple
    val: str = "val"
    val_list: str = "target/val.txt"
    disjoint: bool = True
    write: Optional[Callable[..., Path]] = None


DATA: Dict[str, DataSet] = {
    "digits": DataSet(24, 96, ("seg", "det"), write=digit_scenes.write_task),
    "fashion": DataSet(24, 96, ("seg", "det"), write=fashion_scenes.write_task),
    "camvid": DataSet(24, 96, ("seg",), val="test", val_list="val.txt", disjoint=False),
    "bccd": DataSet(24, 96, ("det",), disjoint=False),
}


def available(name: str, given: Optional[Path]) -> bool:
    """Whether a data set can be had on this machine."""
    if name == "fashion":
        return fashion_scenes.FOLDER.is_dir()
    return DATA[name].write is not None or (given is not None and (given / name).is_dir())


def prepare(root: Path, name: str, given: Optional[Path]) -> Path:
    """Write a drawn data set, or link to the one that is given; returns its folder.

    Parameters
    ----------
    root
        Where the benchmark keeps its data.
    name
        A key of `DATA`.
    given
        The user's folder of data sets.
    """
    folder, data = root / name, DATA[name]
    if data.write is not None:
        data.write(folder, "source", SOURCE, VAL, SIZE, seed=0)
        data.write(folder, "target", data.several * SEEDS, VAL, SIZE, seed=0)
        return folder
    assert given is not None
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "target"
    if not target.exists():
        target.symlink_to((given / name).resolve())
    if "seg" in data.toolkits:
        lines = _lines(target / f"{data.val}.txt")
        (folder / data.val_list).write_text("".join(lines[::EVERY]))
    return folder


def write_few(folder: Path, name: str, regime_name: str, regime: Regime, seed: int) -> None:
    """Write what a seed trains on in a regime: ``few/<regime>_<seed>.txt`` and ``.json``.

    Paths in them are relative to the data set's ``target`` folder; wrong labels have masks of their
    own beside the lists.
    """
    data, target, few = DATA[name], folder / "target", folder / "few"
    few.mkdir(exist_ok=True)
    stem = f"{regime_name}_{seed}"
    rng = np.random.default_rng([seed, round(100 * regime.wrong), round(regime.imbalance)])
    coco = _read_coco(target / "train.json") if "det" in data.toolkits else None
    lines = _lines(target / "train.txt") if "seg" in data.toolkits else []
    chosen = choose(data, regime, seed, len(coco["images"] if coco else lines), coco, rng)
    if coco is not None:
        coco = subset(coco, chosen)
        noisy = relabelled(coco, regime.wrong, rng)
        (few / f"{stem}.json").write_text(json.dumps(noisy))
    lines = [lines[index] for index in chosen] if lines else []
    if lines and coco is not None and regime.wrong:
        lines = _write_masks(target, few / stem, lines, coco, noisy)
    if lines:
        (few / f"{stem}.txt").write_text("".join(lines))


def choose(
    data: DataSet,
    regime: Regime,
    seed: int,
    total: int,
    coco: Optional[Coco],
    rng: np.random.Generator,
) -> List[int]:
    """Positions of the images that a seed trains on."""
    count = data.several if regime.several else data.few
    if data.disjoint:
        block = list(range(seed * data.several, (seed + 1) * data.several))
    else:
        block = np.random.default_rng([seed, 11]).permutation(total)[: data.several].tolist()
    if regime.imbalance == 1:
        return block[:count]
    assert coco is not None
    return [block[i] for i in imbalanced(subset(coco, block), regime.imbalance, count, rng)]


def subset(coco: Coco, positions: List[int]) -> Coco:
    """The images at these positions, with their annotations."""
    images = [coco["images"][position] for position in positions]
    ids = {image["id"] for image in images}
    annotations = [a for a in coco["annotations"] if a["image_id"] in ids]
    return {**coco, "images": images, "annotations": annotations}


def _write_masks(target: Path, masks: Path, lines: List[str], coco: Coco, noisy: Coco) -> List[str]:
    """Write masks with the classes of `noisy`; returns the lines that name them.

    Another model's training may be reading them: each file is replaced by an equal one.
    """
    masks.mkdir(parents=True, exist_ok=True)
    found = []
    for line, image in zip(lines, coco["images"]):
        picture, mask = line.split()
        before, after = (
            [a for a in file["annotations"] if a["image_id"] == image["id"]]
            for file in (coco, noisy)
        )
        pixels = cv2.imread(str(target / mask), cv2.IMREAD_UNCHANGED)
        path, partial = masks / Path(mask).name, masks / "partial.png"
        cv2.imwrite(str(partial), relabelled_mask(pixels, before, after))
        partial.replace(path)
        found.append(f"{picture} ../few/{masks.name}/{path.name}\n")
    return found


def _read_coco(path: Path) -> Coco:
    return json.loads(path.read_text())


def _lines(path: Path) -> List[str]:
    return path.read_text().splitlines(keepends=True)
