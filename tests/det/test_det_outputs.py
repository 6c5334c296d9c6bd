"""Outputs of PaddleDetection's models: found, redrawn, as the ready configs say."""

import json

import numpy as np
import pytest
import yaml
from conftest import ROOT

from det_hooks.plan import set_up
from rifle_ext.heads.selection import select
from rifle_ext.training.setup import Request

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
    "solov2": (
        "solov2_head.bbox_head.solo_kernel",
        "solov2_head.bbox_head.solo_cate",
        "mask_head.mask_feat_head.conv_pred.",
    ),
    "mask_rcnn": (
        "rpn_head.rpn_rois_score",
        "rpn_head.rpn_rois_delta",
        "bbox_head.bbox_score",
        "bbox_head.bbox_delta",
        "mask_head.mask_fcn_logits",
    ),
    "fcosr": (
        "yolo_head.pred_cls",
        "yolo_head.pred_xy",
        "yolo_head.pred_wh",
        "yolo_head.pred_angle",
        "yolo_head.scales.",
    ),
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
    (reset,) = det.events(path, "reset")
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
    (reset,) = det.events(path, "reset")
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


def test_keypoint_model():
    """Its data is not in the example scenes: found and redrawn with made-up heat maps."""
    import paddle
    from det_runs import workspace_kept
    from ppdet.core.workspace import create, load_config

    from det_hooks.rebuild import rebuild
    from det_hooks.workspace import Snapshot
    from rifle_ext.redraw import fresh

    with workspace_kept():
        load_config(str(ROOT / "configs/det/keypoint_tinypose.yml"))
        before = Snapshot()
        model = create("TopDownHRNet")
        batch = {
            "image": paddle.rand([2, 3, 128, 96]),
            "target": paddle.rand([2, 17, 32, 24]),
            "target_weight": paddle.ones([2, 17, 1]),
        }
        found = select(model, "auto", lambda: model(batch))
        assert list(found.parameters) == ["final_conv.weight", "final_conv.bias"]
        values = fresh.from_rebuild(lambda: rebuild(before, False), found.tensors, 0, 1).values
        built = [create("TopDownHRNet").final_conv for _ in range(5)]
    stds = [layer.weight.numpy().std() for layer in built]
    assert values["final_conv.weight"].numpy().std() == pytest.approx(np.mean(stds), rel=0.2)
    assert np.array_equal(values["final_conv.bias"].numpy(), built[0].bias.numpy())


@pytest.mark.parametrize("family", ["faster_rcnn", "gfl", "mask_rcnn", "ssd", "yolov3"])
def test_images_without_any_box_show_the_same_outputs(det, family):
    """No loss of boxes, then: layers whose results nothing else uses are outputs all the same."""
    truth = json.loads((det.scenes / "train.json").read_text())
    (det.scenes / "no_boxes.json").write_text(json.dumps({**truth, "annotations": []}))
    found = {}
    for annotations in ("train.json", "no_boxes.json"):
        path = det.config(ready=family, rifle=None)
        content = yaml.safe_load(path.read_text())
        content["TrainDataset"].update(anno_path=annotations, allow_empty=True)
        path.write_text(yaml.safe_dump(content))
        with set_up(Request(str(path))) as (_, run):
            chosen = select(run.model, "auto", run.forward, run.gives_losses)
            found[annotations] = list(chosen.parameters)
    assert found["no_boxes.json"] == found["train.json"] != []
