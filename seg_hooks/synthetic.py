"""A made-up data set with the transforms of a PaddleSeg config, for plans without data."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np
from paddle.io import Dataset
from paddleseg.transforms import Compose

HEIGHT, WIDTH = 256, 320


class MadeUpDataset(Dataset):
    """Images of random values; labels of class 0 with a corner of class 1.

    Parameters
    ----------
    builder
        A `paddleseg.cvlibs.SegBuilder`: its config says what transforms the training uses, and how
        many channels an image has.
    images
        How many images the data set seems to hold.
    """

    def __init__(self, builder: Any, images: int) -> None:
        super().__init__()
        described = builder.config.train_dataset_cfg
        known = builder.train_dataset_class
        self._images = images
        self._channels = described.get("img_channels") or getattr(known, "IMG_CHANNELS", None) or 3
        operations = [builder.build_component(item) for item in described.get("transforms") or []]
        self._transforms = Compose(operations, img_channels=self._channels)

    def __len__(self) -> int:
        return self._images

    def __getitem__(self, index: int) -> Dict[str, Any]:
        """One sample: `img` (float32, [channels, height, width]) and `label` (uint8)."""
        draw = np.random.RandomState(index)
        label = np.zeros([HEIGHT, WIDTH], "uint8")
        label[: HEIGHT // 4, : WIDTH // 4] = 1
        return self._transforms(
            {
                "img": draw.uniform(0, 255, [HEIGHT, WIDTH, self._channels]).astype("float32"),
                "label": label,
                "gt_fields": ["label"],
                "trans_info": [],
            }
        )
