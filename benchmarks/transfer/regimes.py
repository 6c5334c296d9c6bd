"""Circumstances that a fine-tuning takes place in, and what they make of labels and configs.

Pure functions: whatever is drawn at random is drawn from a generator that is given.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence

import numpy as np

SEG_AUGMENTATIONS = ("ResizeStepScaling", "RandomDistort", "RandomHorizontalFlip")
DET_AUGMENTATIONS = ("RandomDistort", "RandomExpand", "RandomFlip", "RandomCrop")
"""Transforms that *overfit* does without. A crop of a size stays: batches need one size."""

Coco = Dict[str, Any]


@dataclass(frozen=True)
class Regime:
    """How much data there is, how good it is, and what helps against overfitting.

    Attributes
    ----------
    words
        What a user's data are like then.
    several
        Whether it takes the data set's larger number of training images.
    augmented, decay
        Whether there are the toolkit's usual augmentation and weight decay.
    wrong
        Fraction of the training objects that have a wrong class.
    imbalance
        How many times as frequent the first class is as the last one; 1: as they come.
    length
        How long a training is, in multiples of the model's usual length.
    """

    words: str
    several: bool = False
    augmented: bool = True
    decay: bool = True
    wrong: float = 0.0
    imbalance: float = 1.0
    length: float = 1.0


REGIMES: Dict[str, Regime] = {
    "clean": Regime("few images, right labels, the usual augmentation and weight decay"),
    "overfit": Regime("few images, no augmentation, no weight decay", augmented=False, decay=False),
    "long": Regime(
        "few images, no augmentation, no weight decay, long training",
        augmented=False,
        decay=False,
        length=2.0,
    ),
    "noisy20": Regime("every fifth object has a wrong class", several=True, wrong=0.2),
    "noisy40": Regime("two of five objects have a wrong class", several=True, wrong=0.4),
    "imbalanced": Regime("few images, some classes 20 times as frequent", imbalance=20.0),
}


def without(transforms: List[Any], names: Sequence[str]) -> List[Any]:
    """Transforms but those of these names, in the form of either toolkit's config."""
    return [t for t in transforms if (t.get("type") or next(iter(t))) not in names]


def wrong_classes(
    classes: Sequence[int], share: float, choices: Sequence[int], rng: np.random.Generator
) -> List[int]:
    """Classes of which exactly this share (rounded) is another one of the choices.

    Parameters
    ----------
    classes
        Of the objects.
    share
        From 0 to 1.
    choices
        The classes there are.
    rng
        Decides which objects, and which class instead.
    """
    found = list(classes)
    for index in rng.permutation(len(found))[: round(share * len(found))]:
        found[index] = int(rng.choice([c for c in choices if c != found[index]]))
    return found


def relabelled(coco: Coco, share: float, rng: np.random.Generator) -> Coco:
    """A COCO file's content with wrong classes; the given one stays as it is."""
    coco = copy.deepcopy(coco)
    choices = [category["id"] for category in coco["categories"]]
    classes = [annotation["category_id"] for annotation in coco["annotations"]]
    for annotation, class_id in zip(
        coco["annotations"], wrong_classes(classes, share, choices, rng)
    ):
        annotation["category_id"] = class_id
    return coco


def relabelled_mask(mask: np.ndarray, before: List[Dict], after: List[Dict]) -> np.ndarray:
    """A mask whose objects have the classes of `after`, found by their boxes and classes `before`.

    Parameters
    ----------
    mask
        ``(height, width)`` of class ids.
    before, after
        COCO annotations of this image in the same order, boxes that do not overlap.
    """
    found = mask.copy()
    for old, new in zip(before, after):
        left, top, width, height = (int(x) for x in old["bbox"])
        here = np.s_[top : top + height, left : left + width]
        found[here] = np.where(mask[here] == old["category_id"], new["category_id"], found[here])
    return found


def frequencies(classes: Sequence[int], imbalance: float) -> Dict[int, float]:
    """How often each class is to be kept: 1 for the first to ``1 / imbalance`` for the last."""
    steps = max(1, len(classes) - 1)
    return {c: float(imbalance ** (-i / steps)) for i, c in enumerate(classes)}


def imbalanced(coco: Coco, imbalance: float, count: int, rng: np.random.Generator) -> List[int]:
    """Positions of the `count` images that are kept, each with the rarity of its rarest object.

    Raises
    ------
    ValueError
        If so many cannot be kept.
    """
    kept = frequencies([category["id"] for category in coco["categories"]], imbalance)
    chances = {image["id"]: 1.0 for image in coco["images"]}
    for annotation in coco["annotations"]:
        image = annotation["image_id"]
        chances[image] = min(chances[image], kept[annotation["category_id"]])
    drawn = rng.random(len(chances))
    found = [i for i, image in enumerate(coco["images"]) if drawn[i] < chances[image["id"]]]
    if len(found) < count:
        raise ValueError(f"only {len(found)} of {len(chances)} images are left, {count} are wanted")
    return found[:count]
