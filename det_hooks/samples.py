"""One made-up training sample in each format that PaddleDetection's data sets hand out.

The formats are those of ppdet/data/source. A detection sample holds boxes of many sizes, so that
every level of a feature pyramid has something to find, whatever a random crop leaves.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Type

import cv2
import numpy as np
from ppdet.data.source.keypoint_coco import (
    KeypointBottomUpBaseDataset,
    KeypointTopDownBaseDataset,
)
from ppdet.data.source.mot import MCMOTDataSet, MOTDataSet
from ppdet.data.source.pose3d_cmb import Keypoint3DMultiFramesDataset, Pose3DDataset

HEIGHT, WIDTH = 512, 512
SQUARES = (400, 300, 260, 200, 150, 130, 110, 70, 40, 25, 14, 10)
UPRIGHT = (384, 300, 192, 135, 96, 68, 48, 24)
SIZES = [(side, side) for side in SQUARES] + [(height // 3, height) for height in UPRIGHT]
"""Widths and heights of the boxes in pixels: squares, and upright ones such as persons have."""

IDENTITIES = len(SIZES)
FRAME = (1080, 1920)

Sample = Dict[str, Any]


def record(dataset: Any, classes: int) -> Sample:
    """A sample in the format of a data set, before its transforms.

    Parameters
    ----------
    dataset
        An instance of one of PaddleDetection's data set classes.
    classes
        How many classes there are.
    """
    made = next((make for kind, make in FORMATS.items() if isinstance(dataset, kind)), None)
    if made is not None:
        return made(dataset)
    tracked = isinstance(dataset, (MOTDataSet, MCMOTDataSet))
    truth = _tracks(classes) if tracked else _boxes(classes)
    wanted = getattr(dataset, "data_fields", None) or list(truth)
    return {
        "image": cv2.imencode(".png", _pixels(HEIGHT, WIDTH))[1].tobytes(),
        "im_id": np.array([0]),
        "h": float(HEIGHT),
        "w": float(WIDTH),
        "chip": [0, 0, WIDTH, HEIGHT],
        **{name: value for name, value in truth.items() if name in wanted},
        **(_landmarks() if getattr(dataset, "with_lmk", False) else {}),
    }


def has_images(kind: Type) -> bool:
    """Whether the samples of a class hold the decoded image already."""
    return issubclass(kind, tuple(FORMATS))


def _pixels(height: int, width: int) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, [height, width, 3]).astype("uint8")


def _corners() -> np.ndarray:
    """Boxes as corners x1, y1, x2, y2 in pixels: [number of boxes, 4], float32."""
    draw = np.random.RandomState(1)
    places = [(int(draw.randint(0, WIDTH - w)), int(draw.randint(0, HEIGHT - h))) for w, h in SIZES]
    boxes = [[x, y, x + w, y + h] for (x, y), (w, h) in zip(places, SIZES)]
    return np.array(boxes, "float32")


def _classes(classes: int) -> np.ndarray:
    return np.array([[i % classes] for i in range(len(SIZES))], "int32")


def _boxes(classes: int) -> Sample:
    corners = _corners()
    ones = np.ones([len(corners), 1])
    return {
        "gt_bbox": corners,
        "gt_class": _classes(classes),
        "gt_score": ones.astype("float32"),
        "gt_poly": [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in corners.tolist()],
        "is_crowd": (0 * ones).astype("int32"),
        "difficult": (0 * ones).astype("int32"),
        "gt_track_id": np.arange(len(corners)).reshape([-1, 1]).astype("int32"),
    }


def _tracks(classes: int) -> Sample:
    """Boxes as fractions of the image: centre x, centre y, width, height; with identities."""
    x1, y1, x2, y2 = _corners().T / np.array([[WIDTH], [HEIGHT], [WIDTH], [HEIGHT]], "float32")
    return {
        "gt_bbox": np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], 1).astype("float32"),
        "gt_class": _classes(classes),
        "gt_score": np.ones([len(SIZES), 1], "float32"),
        "gt_ide": np.arange(len(SIZES)).reshape([-1, 1]).astype("int32"),
    }


def _landmarks() -> Sample:
    x1, y1, x2, y2 = _corners().T
    points = [[x1, y1], [x2, y1], [(x1 + x2) / 2, (y1 + y2) / 2], [x1, y2], [x2, y2]]
    return {
        "gt_keypoint": np.stack([value for point in points for value in point], 1).astype(
            "float32"
        ),
        "keypoint_ignore": np.zeros([len(SIZES), 1], "int32"),
    }


def _joints(dataset: Any) -> np.ndarray:
    """Visible joints in pixels: [number of joints, 3], float32."""
    count = dataset.ann_info.get("num_joints") or dataset.num_joints
    draw = np.random.RandomState(2)
    points = draw.uniform(0.2, 0.8, [count, 2]) * [WIDTH, HEIGHT]
    return np.concatenate([points, np.ones([count, 1])], 1).astype("float32")


def _person(dataset: Any) -> Sample:
    """Joints in pixels (`joints`: releases up to 2.6.0)."""
    joints = _joints(dataset)
    visible = np.ones_like(joints)
    joints[:, 2] = visible[:, 2] = 0
    return {
        "image": _pixels(HEIGHT, WIDTH),
        "image_file": "made-up.png",
        "center": np.array([WIDTH / 2, HEIGHT / 2], "float32"),
        "scale": np.array([WIDTH / 200, HEIGHT / 200], "float32"),
        "joints": joints,
        "gt_joints": joints,
        "joints_vis": visible,
        "im_id": 0,
        "score": 1,
    }


def _people(dataset: Any) -> Sample:
    """Joints as fractions of the image (`joints`: releases up to 2.6.0) and in pixels."""
    joints = _joints(dataset)
    people = np.stack([joints, joints * np.array([0.9, 0.9, 1], "float32")])
    masked = getattr(dataset, "return_mask", True)
    return {
        "image": _pixels(HEIGHT, WIDTH),
        "image_file": "made-up.png",
        **({"mask": np.ones([HEIGHT, WIDTH], "uint8")} if masked else {}),
        "joints": people / np.array([WIDTH, HEIGHT, 1], "float32"),
        "gt_joints": people,
        "gt_bbox": _corners()[:2],
        "gt_class": np.zeros([2, 1], "float32"),
        "gt_areas": np.array([SQUARES[0] ** 2, SQUARES[1] ** 2], "float32"),
        "im_shape": np.array([HEIGHT, WIDTH, 1]),
        "im_id": 0,
    }


def _pose(dataset: Any) -> Sample:
    flat = _joints(dataset)
    return {
        "image": _pixels(HEIGHT, WIDTH),
        "imageName": "made-up.png",
        "im_id": 0,
        "bbox_center": [WIDTH / 2, HEIGHT / 2],
        "bbox_scale": HEIGHT / 200,
        "joints_2d": flat,
        "joints_3d": flat / np.array([WIDTH, HEIGHT, 1], "float32"),
        "mjm_mask": dataset.get_mask().astype("float32"),
        "has_3d_joints": 1,
        "has_2d_joints": 1,
    }


def _frames(dataset: Any) -> Sample:
    joints = np.random.RandomState(2).randn(dataset.num_frames, 24, 3)
    return {
        "image": np.stack([_pixels(*FRAME)] * dataset.num_frames).astype("float32"),
        "kps3d": joints,
        "kps3d_vis": np.ones_like(joints, "float32"),
        "act": "made-up",
        "names": ["made-up.png"] * dataset.num_frames,
        "im_id": 0,
    }


FORMATS: Dict[Type, Callable[[Any], Sample]] = {
    KeypointTopDownBaseDataset: _person,
    KeypointBottomUpBaseDataset: _people,
    Pose3DDataset: _pose,
    Keypoint3DMultiFramesDataset: _frames,
}
"""For data sets that decode images themselves: what makes a sample."""
