"""Write a small real data set for segmentation and detection, without a download.

scikit-learn ships 1,797 handwritten digits of 8x8 pixels and two photographs. Each scene is a
darkened piece of a photograph with one or two bright digits on it. There are two tasks, so that
a model can be pre-trained on one and fine-tuned on the other:

* ``source``: digits 0 to 4, many training scenes;
* ``target``: digits 5 to 9, few training scenes.

PaddleSeg's ``Dataset`` and PaddleDetection's ``COCODataSet`` read the folders as they are::

    python examples/digit_scenes.py --out data/digit_scenes

    data/digit_scenes/{source,target}/
        images/*.jpg   masks/*.png             the scenes, and their class ids (0: background)
        train.txt      val.txt                 "image mask" per line, for PaddleSeg
        train.json     val.json                COCO boxes, for PaddleDetection
        spec.json                              the arguments the folder was made with
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from sklearn.datasets import load_digits, load_sample_images

DIGITS = {"source": (0, 1, 2, 3, 4), "target": (5, 6, 7, 8, 9)}
SPLITS = ("train", "val")
VAL_SHARE = 0.4  # of the digit samples of each class, and of the width of each photograph
STROKE = 0.35  # the ink, from 0 to 1, from which a pixel belongs to the digit


@dataclass(frozen=True)
class TaskSpec:
    """Everything that decides what a task's files hold.

    Parameters
    ----------
    task : str
        ``"source"`` or ``"target"``.
    n_train, n_val : int
        Numbers of scenes.
    size : int
        Height and width of a scene, in pixels.
    seed : int
        Seed of every random choice.
    version : int
        Version of the way scenes are drawn.
    """

    task: str
    n_train: int
    n_val: int
    size: int
    seed: int
    version: int = 2

    def __post_init__(self) -> None:
        if self.task not in DIGITS:
            raise ValueError(f"task must be one of {sorted(DIGITS)}, got {self.task!r}")
        if self.size < 32 or self.seed < 0 or min(self.n_train, self.n_val) < 1:
            raise ValueError(f"size must be at least 32, seed 0, n_train and n_val 1: {self}")

    @property
    def digits(self) -> tuple[int, ...]:
        """The digits of the task; class ``i + 1`` is ``digits[i]``, class 0 the background."""
        return DIGITS[self.task]

    def rng(self, *stream: int) -> np.random.Generator:
        """Return a random generator of its own for each ``stream`` of numbers."""
        return np.random.default_rng([self.seed, sorted(DIGITS).index(self.task), *stream])


class Box(NamedTuple):
    """An upright rectangle of pixels, in the order of COCO's boxes."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Scene:
    """One scene.

    Parameters
    ----------
    image : np.ndarray
        uint8 ``(size, size, 3)``, in OpenCV's order blue, green, red.
    mask : np.ndarray
        uint8 ``(size, size)`` of class ids.
    boxes : list of (int, Box)
        Class id of each digit, and the smallest box that holds all its pixels in the mask.
    """

    image: np.ndarray
    mask: np.ndarray
    boxes: list[tuple[int, Box]]


def split_digits(spec: TaskSpec) -> dict[str, list[np.ndarray]]:
    """Share the digit samples out between training and validation.

    Returns
    -------
    dict of str to list of np.ndarray
        For ``"train"`` and ``"val"``, and for each digit of the task, the indices (int64) of
        its samples in ``load_digits()``. No index appears twice. The numbers of scenes of the
        task make no difference.
    """
    target = load_digits().target
    rng = spec.rng()
    shares: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for digit in spec.digits:
        samples = rng.permutation(np.flatnonzero(target == digit))
        n_val = round(VAL_SHARE * len(samples))
        shares["val"].append(samples[:n_val])
        shares["train"].append(samples[n_val:])
    return shares


def split_photographs(split: str) -> np.ndarray:
    """Return the part of each photograph that a split may show, darkened.

    Returns
    -------
    np.ndarray
        uint8 ``(2, height, width, 3)``, blue, green, red, with values from 10 to 99.
    """
    photographs = np.stack(load_sample_images().images)[..., ::-1] * 0.35 + 10
    cut = round((1 - VAL_SHARE) * photographs.shape[2])
    part = photographs[:, :, :cut] if split == "train" else photographs[:, :, cut:]
    return part.astype(np.uint8)


def shuffled_forever(items: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    """Yield all the items in a random order, then again in another one, without end."""
    while True:
        yield from rng.permutation(items).tolist()


def random_background(photographs: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a random square out of one of the photographs, scaled to uint8 ``(size, size, 3)``."""
    photograph = rng.choice(photographs)
    height, width = photograph.shape[:2]
    side = rng.integers(64, min(height, width) + 1)
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    square = photograph[top : top + side, left : left + side]
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)


def random_cells(size: int, rng: np.random.Generator) -> list[Box]:
    """Choose the cells, in pixels, to hold one digit each: the whole scene, or its halves."""
    half, rest = size // 2, size - size // 2
    layouts = (
        [Box(0, 0, size, size)],
        [Box(0, 0, half, size), Box(half, 0, rest, size)],
        [Box(0, 0, size, half), Box(0, half, size, rest)],
    )
    return layouts[rng.choice(3, p=(0.5, 0.25, 0.25))]


def draw_digit(
    scene: Scene, glyph: np.ndarray, class_id: int, cell: Box, rng: np.random.Generator
) -> None:
    """Draw a digit into a scene, in place: its image, its mask and its list of boxes.

    Parameters
    ----------
    scene : Scene
        The scene to change.
    glyph : np.ndarray
        float64 ``(8, 8)``, the ink of the digit from 0 to 16.
    class_id : int
        Class of the digit, from 1.
    cell : Box
        The part of the scene to draw in.
    rng : np.random.Generator
        Source of the size, the place and the colour.
    """
    size = scene.mask.shape[0]
    side = int(rng.integers(size * 3 // 8, min(cell.width, cell.height, size * 11 // 16) + 1))
    left = cell.left + int(rng.integers(cell.width - side + 1))
    top = cell.top + int(rng.integers(cell.height - side + 1))
    here = np.s_[top : top + side, left : left + side]

    ink = cv2.resize(glyph / 16.0, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    stroke = cv2.dilate((ink > STROKE).astype(np.uint8), np.ones((3, 3), np.uint8))
    colour = rng.uniform(170, 255, size=3)
    blend = np.minimum(ink / STROKE, 1.0)[..., None]
    scene.image[here] = np.rint(blend * colour + (1 - blend) * scene.image[here])
    scene.mask[here] = stroke * class_id
    x, y, width, height = cv2.boundingRect(stroke)
    scene.boxes.append((class_id, Box(left + x, top + y, width, height)))


def make_scenes(spec: TaskSpec, split: str) -> Iterator[Scene]:
    """Draw the scenes of a split, one after the other.

    Classes, and within a class the samples, take turns in a shuffled order; so the numbers of
    digits of any two classes differ by one at most.
    """
    stream = SPLITS.index(split)
    rng = spec.rng(stream, 0)
    glyphs, photographs = load_digits().images, split_photographs(split)
    samples = [
        shuffled_forever(indices, spec.rng(stream, 1, number))
        for number, indices in enumerate(split_digits(spec)[split])
    ]
    numbers = shuffled_forever(np.arange(len(spec.digits)), spec.rng(stream, 2))
    for _ in range(spec.n_train if split == "train" else spec.n_val):
        image = random_background(photographs, spec.size, rng)
        scene = Scene(image, np.zeros((spec.size, spec.size), np.uint8), [])
        for cell in random_cells(spec.size, rng):
            number = next(numbers)
            draw_digit(scene, glyphs[next(samples[number])], number + 1, cell, rng)
        yield scene


def polygons(mask: np.ndarray, class_id: int, box: Box) -> list[list[int]]:
    """Outlines of a digit as COCO polygons ``[x1, y1, x2, y2, ...]``, in pixels of the scene."""
    here = np.s_[box.top : box.top + box.height, box.left : box.left + box.width]
    digit = (mask[here] == class_id).astype(np.uint8)
    found = cv2.findContours(digit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[-2]
    outlines = [(contour.reshape(-1, 2) + (box.left, box.top)) for contour in found]
    return [outline.flatten().tolist() for outline in outlines if len(outline) >= 3]


def rotated_box(outlines: list[list[int]]) -> list[float]:
    """Corners of the smallest rotated rectangle around polygons, ``[x1, y1, ..., x4, y4]``."""
    points = np.array([point for outline in outlines for point in outline], np.float32)
    return cv2.boxPoints(cv2.minAreaRect(points.reshape(-1, 2))).flatten().tolist()


def write_split(
    folder: Path, split: str, scenes: Iterable[Scene], size: int, classes: Sequence[str]
) -> None:
    """Write the images, the masks, the list file and the COCO files of a split.

    Parameters
    ----------
    folder, split
        Where to, and the name that the files begin with.
    scenes
        What to write.
    size
        Side of every scene, in pixels.
    classes
        Names of the classes from 1.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = []
    categories = [{"id": i, "name": name} for i, name in enumerate(classes, start=1)]
    coco: dict[str, list[dict]] = {"images": [], "annotations": [], "categories": categories}
    for number, scene in enumerate(scenes, start=1):
        name = f"{split}_{number:05d}"
        image, mask = f"images/{name}.jpg", f"masks/{name}.png"
        for file, array in ((image, scene.image), (mask, scene.mask)):
            if not cv2.imwrite(str(folder / file), array):
                raise OSError(f"could not write {folder / file}")
        lines.append(f"{image} {mask}\n")
        extent = {"width": size, "height": size}
        coco["images"].append({"id": number, "file_name": f"{name}.jpg", **extent})
        for class_id, box in scene.boxes:
            ids = {"id": len(coco["annotations"]) + 1, "image_id": number, "category_id": class_id}
            found = {"bbox": box, "area": box.width * box.height, "iscrowd": 0}
            outlines = polygons(scene.mask, class_id, box)
            coco["annotations"].append({**ids, **found, "segmentation": outlines})
    (folder / f"{split}.txt").write_text("".join(lines))
    (folder / f"{split}.json").write_text(json.dumps(coco))
    for annotation in coco["annotations"]:
        annotation["segmentation"] = [rotated_box(annotation["segmentation"])]
    (folder / f"{split}_rotated.json").write_text(json.dumps(coco))


def write_task(root: Path, task: str, n_train: int, n_val: int, size: int, seed: int) -> Path:
    """Write a task's folder, unless it already holds the same set.

    ``spec.json`` is written last, so a run that was interrupted is done again.

    Parameters
    ----------
    root : Path
        The folder of the data set; the task is written to ``root / task``, which is returned.
    task, n_train, n_val, size, seed
        See :class:`TaskSpec`.
    """
    spec = TaskSpec(task, n_train, n_val, size, seed)
    folder = Path(root) / task
    marker, wanted = folder / "spec.json", json.dumps(asdict(spec), indent=2)
    if marker.exists() and marker.read_text() == wanted:
        print(f"{folder}: already there, nothing to do")
        return folder
    marker.unlink(missing_ok=True)
    for split in SPLITS:
        for stale in [*folder.glob(f"images/{split}_*.jpg"), *folder.glob(f"masks/{split}_*.png")]:
            stale.unlink()
        classes = [str(digit) for digit in spec.digits]
        write_split(folder, split, make_scenes(spec, split), size, classes)
    marker.write_text(wanted)
    print(f"{folder}: {n_train} training and {n_val} validation scenes")
    return folder


def main() -> None:
    """Write both tasks, as the command line says."""
    parser = argparse.ArgumentParser(description="Write the digit scenes.")
    add = parser.add_argument
    add("--out", type=Path, default=Path("data/digit_scenes"), help="folder to write to")
    add("--size", type=int, default=64, help="side of a scene, in pixels")
    add("--seed", type=int, default=0, help="seed of every random choice")
    add("--source-train", type=int, default=1500, help="number of scenes")
    add("--source-val", type=int, default=100)
    add("--target-train", type=int, default=24)
    add("--target-val", type=int, default=100)
    args = parser.parse_args()
    write_task(args.out, "source", args.source_train, args.source_val, args.size, args.seed)
    write_task(args.out, "target", args.target_train, args.target_val, args.size, args.seed)


if __name__ == "__main__":
    main()
