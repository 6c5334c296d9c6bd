"""A data set and a transform of the user's own for PaddleDetection."""

import zipfile
from random import random

import numpy as np
from ppdet.core.workspace import register, serializable
from ppdet.data import source, transform
from ppdet.data.source import COCODataSet
from ppdet.data.transform.operators import BaseOperator

STREAM = np.random.default_rng(7)


@register
@serializable
class ZippedCOCO(COCODataSet):
    """Images in a zip file that is opened at first use."""

    opened, files = None, None

    def __getitem__(self, index):
        if self.opened is None:
            self.opened = zipfile.ZipFile(f"{self.dataset_dir}/images.zip")
        record = self.roidbs[index]
        name = record["im_file"].rpartition("/")[2]
        record = {**record, "image": self.opened.read(name), "curr_iter": 0}
        return self.transform(record)


class OwnShade(BaseOperator):
    """Draws from a generator of its own, one of its module, and Python's by another name."""

    def __init__(self):
        super().__init__()
        self.stream, self.calls = np.random.default_rng(7), 0

    def apply(self, sample, context=None):
        self.calls += 1
        shade = self.stream.random() + STREAM.random() + random()
        sample["image"] = np.clip(sample["image"] + 10 * shade, 0, 255).astype("uint8")
        return sample


transform.OwnShade = OwnShade
source.ZippedCOCO = ZippedCOCO


def write_archive(folder):
    """`images.zip` of a data set's images."""
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for path in sorted((folder / "images").iterdir()):
            archive.write(path, path.name)


def begin_anew():
    STREAM.bit_generator.state = np.random.default_rng(7).bit_generator.state
