"""Outputs of PaddleDetection's models: found, redrawn, as the ready configs say."""

import json

import numpy as np
import pytest
import yaml
from conftest import ROOT
from test_det_training import events

pytestmark = pytest.mark.timeout(180)

EXPECTED = {
    "picodet": ("head.head_cls_list.", "head.head_reg_list.", "head.cls_align."),
    "ppyoloe_plus": ("yolo_head.pred_cls.", "yolo_head.pred_reg."),
    "yolov3": ("yolo_head.yolo_output.",),
    "ssd": ("ssd_head.boxes", "ssd_head.scores"),
    "fcos": (
        "fcos_head.fcos_head_cls",
        "fcos_head.fcos_head_reg",
        "fcos_head.fcos_head_centerness",
        "fcos_head.p",
    ),
    "gfl": ("head.gfl_head_cls", "head.gfl_head_reg", "head.p"),
    "faster_rcnn": (
        "rpn_head.rpn_rois_score",
        "rpn_head.rpn_rois_delta",
        "bbox_head.bbox_score",
        "bbox_head.bbox_delta",
    ),
    "detr": ("detr_head.score_head", "detr_head.bbox_head."),
}


@pytest.mark.parametrize("family", sorted(EXPECTED))
def test_outputs_are_found_and_train_again(det, family):
    path = det.config(
        f"{family}.yml",
        ready=family,
        epoch=2,
        snapshot_epoch=9,
        rifle={"re_init_iter": 2, "max_re_num": 1, "keep_last": 1, "seed": 5},
    )
    _, before, after = det.train(path)
    (reset,) = events(det, path, "reset")
    found = reset["parameters"]
    for prefix in EXPECTED[family]:
        assert any(name.startswith(prefix) for name in found), (prefix, found)
    assert all(name.startswith(EXPECTED[family]) for name in found), found
    changed = {n for n in after.values[2] if (before.values[2][n] != after.values[2][n]).any()}
    assert changed <= set(found)
    moved = {n for n in found if (before.values[3][n] != after.values[2][n]).any()}
    assert len(moved) > len(found) / 2
    assert all(np.isfinite(before.values[3][name]).all() for name in found)


@pytest.mark.parametrize("family", ["faster_rcnn", "ppyoloe_plus"])
def test_whole_heads(det, family):
    path = det.config(
        f"{family}.yml",
        ready=family,
        epoch=1,
        snapshot_epoch=9,
        rifle={"re_init_iter": 1, "max_re_num": 1, "layers": "head"},
    )
    _, before, after = det.train(path)
    (reset,) = events(det, path, "reset")
    heads = {"faster_rcnn": ("rpn_head.", "bbox_head."), "ppyoloe_plus": ("yolo_head.",)}[family]
    assert all(name.startswith(heads) for name in reset["parameters"])
    changed = {n for n in after.values[1] if (before.values[1][n] != after.values[1][n]).any()}
    assert changed <= set(reset["parameters"])
    hidden = {"faster_rcnn": "bbox_head.head.fc6.weight", "ppyoloe_plus": "yolo_head.stem_cls.0"}
    assert any(name.startswith(hidden[family]) for name in changed)


def test_every_ready_config_has_a_block_and_says_what_its_outputs_are():
    paths = sorted((ROOT / "configs/det").glob("*.yml"))
    assert len(paths) >= 11
    for path in paths:
        text = path.read_text()
        assert "rifle" in yaml.safe_load(text), path
        assert text.startswith("# "), path
        json.dumps(yaml.safe_load(text)["rifle"])
