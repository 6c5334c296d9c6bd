"""The trainers beside the plain one: semi-supervised, co-tuning, distillation."""

import json

import numpy as np
import paddle
import pytest
import yaml
from ppdet.engine import TrainerCot
from ppdet.engine.trainer_ssod import Trainer_DenseTeacher
from seg_runs import same
from test_det_training import OUTPUTS, events, pick, rest

pytestmark = pytest.mark.timeout(180)


class Tagged(str):
    """A dataset with its YAML tag: this trainer wants the object, not its name."""


def tagged_dataset(tag, **fields):
    return Tagged(f"!{tag} " + json.dumps(fields))


def write_tagged(path):
    """Replace quoted tagged values, which a safe dump cannot write, by what they say."""
    lines = []
    content = yaml.safe_load(path.read_text())
    plain = {k: v for k, v in content.items() if not str(v).startswith("!")}
    lines = [yaml.safe_dump(plain)]
    lines += [f"{k}: {v}\n" for k, v in content.items() if str(v).startswith("!")]
    path.write_text("".join(lines))
    return path


def semi_config(det, **fields):
    data = {"dataset_dir": str(det.scenes), "image_dir": "images", "anno_path": "train.json"}
    normalize = {"mean": [0.0] * 3, "std": [1.0] * 3, "norm_type": "none"}
    found = ["image", "gt_bbox", "gt_class", "is_crowd"]
    path = det.config(
        architecture="PPYOLOE",
        PPYOLOE={
            "backbone": "CSPResNet",
            "neck": "CustomCSPPAN",
            "yolo_head": "PPYOLOEHead",
            "post_process": None,
        },
        TrainDataset=str(tagged_dataset("SemiCOCODataSet", data_fields=found, **data)),
        UnsupTrainDataset=str(
            tagged_dataset("SemiCOCODataSet", data_fields=["image"], supervised=False, **data)
        ),
        SemiTrainReader={
            "sample_transforms": [{"Decode": {}}],
            "weak_aug": [{"NormalizeImage": normalize}],
            "strong_aug": [{"NormalizeImage": normalize}],
            "sup_batch_transforms": [{"Permute": {}}, {"PadGT": {}}],
            "unsup_batch_transforms": [{"Permute": {}}],
            "sup_batch_size": 2,
            "unsup_batch_size": 2,
            "shuffle": True,
            "drop_last": True,
            "collate_batch": True,
        },
        ssod_method="DenseTeacher",
        semi_start_iters=1,
        ema_start_iters=0,
        use_ema=False,
        use_simple_ema=True,
        ema_decay=0.9,
        DenseTeacher={
            "train_cfg": {
                "sup_weight": 1.0,
                "unsup_weight": 1.0,
                "loss_weight": {
                    "distill_loss_cls": 1.0,
                    "distill_loss_iou": 2.5,
                    "distill_loss_dfl": 0.0,
                    "distill_loss_contrast": 0.1,
                },
                "contrast_loss": {"temperature": 0.2, "alpha": 0.9, "smooth_iter": 100},
                "concat_sup_data": True,
                "suppress": "linear",
                "ratio": 0.01,
            },
            "test_cfg": {"inference_on": "teacher"},
        },
        epoch=2,
        **fields,
    )
    return write_tagged(path)


def test_semi_supervised_student_and_teacher(det):
    block = {
        "re_init_iter": 5,
        "max_re_num": 1,
        "keep_last": 1,
        "weight_initializer": "XavierNormal",
    }
    path = semi_config(det, rifle=block)
    trainer, before, after = det.train(path, trainer=Trainer_DenseTeacher)
    assert after.steps == list(range(8))
    (reset,) = events(det, path, "reset")
    assert (reset["step"], reset["parameters"]) == (5, OUTPUTS)
    fresh = pick(after.values[5])
    assert not same(pick(before.values[5]), fresh)
    assert same(rest(before.values[5]), rest(after.values[5]))
    # The teacher is the average: its head restarts with the student's, the rest of it does not.
    assert not same(pick(before.averages[5]), fresh)
    assert same(pick(after.averages[5]), fresh)
    assert same(rest(before.averages[5]), rest(after.averages[5]))
    for name in OUTPUTS:
        wanted = 0.9 * fresh[name] + 0.1 * before.values[6][name]
        np.testing.assert_allclose(before.averages[6][name], wanted, rtol=1e-4, atol=1e-6)
    assert trainer.model.yolo_head.pred_cls[0].weight is not None


def test_co_tuning(det):
    loss = {"name": "COTLoss", "cot_lambda": 1, "cot_scale": 1}

    def config(name, **fields):
        return det.config(
            name,
            ready="faster_rcnn",
            use_cot=True,
            BBoxHead={"cot_classes": 7, "loss_cot": loss},
            epoch=1,
            # Co-tuning wants to see every class once: nothing that could crop one away.
            TrainReader={"sample_transforms": [{"Decode": {}}]},
            **fields,
        )

    from det_runs import workspace_kept
    from ppdet.core.workspace import create, load_config

    weights = det.folder / "source.pdparams"
    with workspace_kept(), paddle.utils.unique_name.guard():
        load_config(str(config("source.yml", rifle=False)))
        paddle.save(create("FasterRCNN").state_dict(), str(weights))
    path = config(
        "cot.yml", pretrain_weights=str(weights), rifle={"re_init_iter": 1, "max_re_num": 1}
    )
    _, before, after = det.train(path, trainer=TrainerCot)
    (reset,) = events(det, path, "reset")
    owners = {name.rpartition(".")[0] for name in reset["parameters"]}
    assert {"bbox_head.bbox_score", "bbox_head.cot_bbox_score", "bbox_head.bbox_delta"} <= owners
    changed = {n for n in after.values[1] if (before.values[1][n] != after.values[1][n]).any()}
    assert changed
    assert changed <= set(reset["parameters"])


def test_distillation_resets_the_student_alone(det):
    slim = det.folder / "slim.yml"
    slim.write_text(
        yaml.safe_dump(
            {
                "slim": "Distill",
                "distill_loss": "DistillYOLOv3Loss",
                "DistillYOLOv3Loss": {"weight": 1000},
                # The teacher is wider; its config is merged into the student's.
                "MobileNet": {"scale": 0.5},
                "pretrain_weights": None,
            }
        )
    )
    path = det.config("student.yml", ready="yolov3", rifle={"re_init_iter": 1, "max_re_num": 1})
    built = {}

    def note(trainer):
        built.update((n, p.numpy()) for n, p in trainer.model.named_parameters())

    trainer, before, after = det.train(path, slim=slim, options={"epoch": 1}, prepare=note)
    out = det.folder / "output" / "slim"
    lines = (out / "rifle_events.jsonl").read_text().splitlines()
    (reset,) = [e for e in map(json.loads, lines) if e["event"] == "reset"]
    assert {n.rpartition(".")[0] for n in reset["parameters"]} == {
        f"student_model.yolo_head.yolo_output.{level}" for level in range(3)
    }
    for name, value in after.values[1].items():
        reset_now = name in reset["parameters"]
        assert reset_now == bool((before.values[1][name] != value).any()), name
    teacher = {n: v for n, v in after.values[0].items() if n.startswith("teacher_model.")}
    assert teacher
    assert same(teacher, {n: built[n] for n in teacher})
    assert type(trainer.model).__name__ == "DistillModel"
