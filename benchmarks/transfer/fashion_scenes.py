"""Scenes of clothes in clutter, from Fashion-MNIST (Debian package `dataset-fashion-mnist`).

Like examples/digit_scenes.py, from 70,000 real images: a darkened piece of a photograph, some
distracting pieces of other items, and one or two items of the task's classes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Tuple

import cv2
import numpy as np
from digit_scenes import (
    SPLITS,
    Box,
    Scene,
    random_background,
    random_cells,
    shuffled_forever,
    split_photographs,
    write_split,
)

FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = {
    "source": ("T-shirt", "Trouser", "Coat", "Sandal", "Bag"),
    "target": ("Pullover", "Dress", "Shirt", "Sneaker", "Ankle boot"),
}
LABELS = {"source": (0, 1, 4, 5, 8), "target": (2, 3, 6, 7, 9)}
FILES = {"train": "train", "val": "t10k"}
INK = 30  # grey value, of 255, from which a pixel belongs to the item
PIECES = 4  # distractors of a scene
VERSION = 1


@lru_cache(maxsize=None)
def items(split: str) -> Tuple[np.ndarray, np.ndarray]:
    """Fashion-MNIST's training set for ``"train"``, its test set for ``"val"``.

    Returns
    -------
    images, labels
        uint8 ``(N, 28, 28)`` and ``(N,)``.
    """
    name = FILES[split]
    images = gzip.decompress((FOLDER / f"{name}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((FOLDER / f"{name}-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return pixels, np.frombuffer(labels, np.uint8, offset=8)


def draw_item(
    scene: Scene, item: np.ndarray, class_id: int, cell: Box, rng: np.random.Generator
) -> None:
    """Draw an item of clothing into a scene, in place: image, mask and boxes."""
    size = scene.mask.shape[0]
    side = int(rng.integers(size * 3 // 8, min(cell.width, cell.height, size * 11 // 16) + 1))
    left = cell.left + int(rng.integers(cell.width - side + 1))
    top = cell.top + int(rng.integers(cell.height - side + 1))
    here = np.s_[top : top + side, left : left + side]
    grey = cv2.resize(item, (side, side), interpolation=cv2.INTER_AREA)
    shape = (grey > INK).astype(np.uint8)
    colour = rng.uniform(0.5, 1.0, size=3)
    scene.image[here] = np.where(shape[..., None], grey[..., None] * colour, scene.image[here])
    scene.mask[here] = np.where(shape, class_id, scene.mask[here])
    x, y, width, height = cv2.boundingRect(shape)
    scene.boxes.append((class_id, Box(left + x, top + y, width, height)))


def scatter_pieces(scene: Scene, images: np.ndarray, rng: np.random.Generator) -> None:
    """Put small squares of items all over a scene, in place: background that looks like cloth."""
    size = scene.mask.shape[0]
    for _ in range(PIECES):
        piece = images[rng.integers(len(images)), 8:20, 8:20]
        side = int(rng.integers(size // 10, size // 5))
        left, top = (int(rng.integers(size - side + 1)) for _ in range(2))
        grey = cv2.resize(piece, (side, side), interpolation=cv2.INTER_AREA)[..., None]
        scene.image[top : top + side, left : left + side] = grey * rng.uniform(0.4, 0.9, size=3)


def make_scenes(task: str, split: str, count: int, size: int, seed: int) -> Iterator[Scene]:
    """Draw the scenes of a split; classes, and within a class the items, take turns."""
    images, labels = items(split)
    key = [seed, sorted(CLASSES).index(task), SPLITS.index(split)]
    rng, photographs = np.random.default_rng(key), split_photographs(split)
    wanted = LABELS[task]
    samples = [shuffled_forever(np.flatnonzero(labels == label), rng) for label in wanted]
    numbers = shuffled_forever(np.arange(len(wanted)), rng)
    for _ in range(count):
        image = random_background(photographs, size, rng)
        scene = Scene(image, np.zeros((size, size), np.uint8), [])
        scatter_pieces(scene, images, rng)
        for cell in random_cells(size, rng):
            number = next(numbers)
            draw_item(scene, images[next(samples[number])], number + 1, cell, rng)
        yield scene


def write_task(root: Path, task: str, n_train: int, n_val: int, size: int, seed: int) -> Path:
    """Write a task's folder, unless it already holds the same set."""
    folder = Path(root) / task
    arguments = {"task": task, "n_train": n_train, "n_val": n_val, "size": size, "seed": seed}
    marker, wanted = folder / "spec.json", json.dumps({**arguments, "version": VERSION}, indent=2)
    if marker.exists() and marker.read_text() == wanted:
        return folder
    marker.unlink(missing_ok=True)
    for split, count in zip(SPLITS, (n_train, n_val)):
        scenes = make_scenes(task, split, count, size, seed)
        write_split(folder, split, scenes, size, CLASSES[task])
    marker.write_text(wanted)
    return folder
