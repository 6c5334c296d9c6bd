"""Data sets and transforms of the user's own for PaddleSeg."""

import io
import zipfile
from random import random

import cv2
import numpy as np
from paddleseg.cvlibs import manager
from paddleseg.datasets import Dataset

STREAM = np.random.default_rng(7)


@manager.DATASETS.add_component
class Zipped(Dataset):
    """Images in a zip file that is opened at first use and kept open; reading checks CRCs."""

    NUM_CLASSES, IMG_CHANNELS, IGNORE_INDEX = 6, 3, 255

    def __init__(self, archive, dataset_root, train_path, transforms, mode="train", **others):
        super().__init__(
            mode=mode, dataset_root=dataset_root, transforms=transforms, num_classes=6,
            train_path=train_path,
        )  # fmt: skip
        self.archive, self.opened, self.read = archive, None, 0

    def __getitem__(self, index):
        if self.opened is None:
            self.opened = zipfile.ZipFile(self.archive)
        self.read += 1
        arrays = np.load(io.BytesIO(self.opened.read(f"{index}.npz")))
        sample = {"img": arrays["img"], "label": arrays["label"], "gt_fields": ["label"]}
        return self.transforms({**sample, "trans_info": []})

    def __len__(self):
        return len(self.file_list)


def write_archive(path, scenes, padding=0):
    """The training scenes as a zip file of arrays; `padding` bytes make the records large."""
    lines = (scenes / "train.txt").read_text().splitlines()
    with zipfile.ZipFile(path, "w") as archive:
        for index, line in enumerate(lines):
            image, label = (str(scenes / name) for name in line.split())
            buffer = io.BytesIO()
            noise = np.random.RandomState(index).bytes(padding)
            arrays = {"img": cv2.imread(image).astype("float32"), "label": cv2.imread(label, 0)}
            np.savez(buffer, noise=np.frombuffer(noise, "uint8"), **arrays)
            archive.writestr(f"{index}.npz", buffer.getvalue())
    return path


@manager.TRANSFORMS.add_component
class OwnNoise:
    """Draws from a generator of its own, one of its module, and Python's by another name."""

    def __init__(self):
        self.stream, self.calls, self.log = np.random.default_rng(7), 0, []

    def __call__(self, data):
        self.calls += 1
        self.log.append(random() + STREAM.random())
        data["img"] = data["img"] + self.stream.normal() + self.log[-1]
        return data


def begin_anew():
    STREAM.bit_generator.state = np.random.default_rng(7).bit_generator.state
