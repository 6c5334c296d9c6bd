"""The trainers beside the plain one: semi-supervised, co-tuning, distillation."""

import json

import numpy as np
import paddle
import pytest
import yaml
from conftest import needs_later_release
from det_runs import OUTPUTS, OWN_FOLDER, pick, rest
from ppdet.engine import TrainerCot, trainer_ssod
from ppdet.engine.trainer_ssod import Trainer_DenseTeacher
from seg_runs import same

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


NORMALIZE = {"NormalizeImage": {"mean": [0.0] * 3, "std": [1.0] * 3, "norm_type": "none"}}


def semi_data(det, *labelled, unlabelled=(), **reader):
    """The part of a config about the scenes with labels and without; batch transforms given."""
    data = {"dataset_dir": str(det.scenes), "image_dir": "images", "anno_path": "train.json"}
    found = ["image", "gt_bbox", "gt_class", "is_crowd"]
    return {
        "TrainDataset": str(tagged_dataset("SemiCOCODataSet", data_fields=found, **data)),
        "UnsupTrainDataset": str(
            tagged_dataset("SemiCOCODataSet", data_fields=["image"], supervised=False, **data)
        ),
        "SemiTrainReader": {
            "sample_transforms": [{"Decode": {}}],
            "weak_aug": [NORMALIZE],
            "strong_aug": [NORMALIZE],
            "sup_batch_transforms": [{"Permute": {}}, *labelled],
            "unsup_batch_transforms": [{"Permute": {}}, *unlabelled],
            "sup_batch_size": 2,
            "unsup_batch_size": 2,
            "shuffle": True,
            "drop_last": True,
            **reader,
        },
    }


def semi_config(det, **fields):
    path = det.config(
        architecture="PPYOLOE",
        PPYOLOE={
            "backbone": "CSPResNet",
            "neck": "CustomCSPPAN",
            "yolo_head": "PPYOLOEHead",
            "post_process": None,
        },
        **semi_data(det, {"PadGT": {}}, collate_batch=True),
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


def later_trainer(name):
    """A trainer that came after PaddleDetection 2.6."""
    needs_later_release(hasattr(trainer_ssod, name), name)
    return getattr(trainer_ssod, name)


def check_student_and_teacher(det, path, watches, step, teacher_follows):
    """The student alone is probed and drawn again; the teacher restarts with it, and follows it."""
    before, after = watches
    (reset,) = det.events(path, "reset")
    names = reset["parameters"]
    assert reset["step"] == step
    assert set(names) <= set(after.values[step])
    fresh = {name: after.values[step][name] for name in names}
    changed = {n for n, v in after.values[step].items() if (before.values[step][n] != v).any()}
    assert changed
    assert changed <= set(names)
    teacher = {n: before.averages[step][n] != v for n, v in after.averages[step].items()}
    assert {n for n, differs in teacher.items() if differs.any()} <= set(names)
    assert same({name: after.averages[step][name] for name in names}, fresh)
    moved = before.values[step + 1]
    assert any((moved[name] != fresh[name]).any() for name in names)
    assert teacher_follows == any(
        (before.averages[step + 2][name] != fresh[name]).any() for name in names
    )


@pytest.mark.parametrize("burn_in", [2, 100])
def test_arsl(det, burn_in):
    """Its epochs have a length of their own; its teacher starts as the student after a while."""
    trainer = later_trainer("Trainer_ARSL")
    strides = [8, 16, 32, 64, 128]
    target = {
        "object_sizes_boundary": [16, 32, 64, 128],
        "center_sampling_radius": 1.5,
        "downsample_ratios": strides,
        "num_shift": 0.0,
        "multiply_strides_reg_targets": False,
        "norm_reg_targets": True,
    }
    pad = {"PadBatch": {"pad_to_stride": 128}}
    path = det.config(
        ready="fcos",
        rifle={"re_init_iter": 5, "max_re_num": 1, "keep_last": 1},
        architecture="ARSL_FCOS",
        ARSL_FCOS={
            "backbone": "ResNet",
            "neck": "FPN",
            "fcos_head": "FCOSHead_ARSL",
            "fcos_cr_loss": "FCOSLossCR",
        },
        FPN={
            "out_channel": 64,
            "spatial_scales": [0.125, 0.0625, 0.03125],
            "extra_stage": 2,
            "has_extra_convs": True,
            "use_c5": False,
        },
        FCOSHead_ARSL={
            "fcos_feat": {
                "name": "FCOSFeat",
                "feat_in": 64,
                "feat_out": 256,
                "num_convs": 1,
                "norm_type": "gn",
            },
            "fpn_stride": strides,
            "prior_prob": 0.01,
            "norm_reg_targets": True,
            "centerness_on_reg": True,
            "fcos_loss": {"name": "FCOSLossMILC"},
            "nms": {"name": "MultiClassNMS", "nms_top_k": 100, "keep_top_k": 10},
        },
        **semi_data(det, pad, {"Gt2FCOSTarget": target}, unlabelled=[pad]),
        ssod_method="ARSL",
        SEMISUPNET={
            "BURN_UP_STEP": burn_in,
            "EMA_KEEP_RATE": 0.9,
            "UNSUP_LOSS_WEIGHT": 1.0,
            "PSEUDO_WARM_UP_STEPS": 4,
        },
        max_iter=8,
        epoch_iter=3,
        optimize_rate=1,
        weights=str(det.folder / "output" / "burnt" / "model_final"),
        pretrain_weights=None,
        use_ema=False,
    )
    made, *watches = det.train(write_tagged(path), trainer=trainer)
    assert [len(watch.steps) for watch in watches] == [9, 9]  # the third epoch is gone through
    (plan,) = det.events(path, "plan")
    assert (plan["total_steps"], plan["steps_per_epoch"]) == (9, 3)
    check_student_and_teacher(det, path, watches, 5, teacher_follows=burn_in == 2)
    names = det.events(path, "reset")[0]["parameters"]
    owners = {name.rpartition(".")[0] for name in names}
    assert {f"fcos_head.fcos_head_{kind}" for kind in ("cls", "reg", "centerness")} <= owners


def test_semi_rtdetr(det):
    trainer = later_trainer("Trainer_Semi_RTDETR")
    boxes = [{"NormalizeBox": {}}, {"BboxXYXY2XYWH": {}}]
    path = det.config(
        rifle={"re_init_iter": 5, "max_re_num": 1, "keep_last": 1},
        architecture="DETR",
        DETR={
            "backbone": "ResNet",
            "neck": "HybridEncoder",
            "transformer": "RTDETRTransformer",
            "detr_head": "DINOHead",
            "post_process": "DETRPostProcess",
            "post_process_semi": "DETRBBoxSemiPostProcess",
        },
        ResNet={"depth": 18, "variant": "d", "norm_type": "bn", "return_idx": [1, 2, 3]},
        hidden_dim=32,
        use_focal_loss=True,
        HybridEncoder={
            "hidden_dim": 32,
            "use_encoder_idx": [2],
            "num_encoder_layers": 1,
            "encoder_layer": {
                "name": "TransformerLayer",
                "d_model": 32,
                "nhead": 4,
                "dim_feedforward": 64,
                "dropout": 0.0,
                "activation": "gelu",
            },
        },
        RTDETRTransformer={
            "num_queries": 300,  # the number that the teacher's post-processing is written for
            "feat_strides": [8, 16, 32],
            "num_levels": 3,
            "nhead": 4,
            "num_decoder_layers": 2,
            "dim_feedforward": 64,
            "num_denoising": 10,
        },
        DINOHead={
            "loss": {
                "name": "DINOLoss",
                "loss_coeff": {"class": 1, "bbox": 5, "giou": 2},
                "aux_loss": True,
                "use_vfl": True,
                "matcher": {
                    "name": "HungarianMatcher",
                    "matcher_coeff": {"class": 2, "bbox": 5, "giou": 2},
                },
            }
        },
        DETRPostProcess={"num_top_queries": 10},
        SSOD="DETR_SSOD",
        DETR_SSOD={
            "teacher": "DETR",
            "student": "DETR",
            "train_cfg": {
                "sup_weight": 1.0,
                "unsup_weight": 1.0,
                "ema_start_iters": -1,  # the log fails where it starts later
                "pseudo_label_initial_score_thr": 2.0,  # none: their loss fails for a few
                "min_pseduo_box_size": 0,
                "concat_sup_data": True,
            },
            "test_cfg": {"inference_on": "teacher"},
        },
        **semi_data(
            det,
            *boxes,
            unlabelled=boxes,
            sample_transforms=[
                {"Decode": {}},
                {"Resize": {"target_size": [160, 160], "keep_ratio": False}},
            ],
            collate_batch=False,
        ),
        ssod_method="Semi_RTDETR",
        use_ema=False,
        use_simple_ema=True,
        epoch=2,
        save_dir=str(det.folder / "output"),  # its checkpoints have a folder of their own there
        eval_interval=100,
        save_interval=4,
    )
    made, *watches = det.train(write_tagged(path), trainer=trainer)
    assert [watch.steps for watch in watches] == [list(range(8))] * 2
    check_student_and_teacher(det, path, watches, 5, teacher_follows=True)


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
    (reset,) = det.events(path, "reset")
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
    rifle = {"re_init_iter": 1, "max_re_num": 1, "layers": "outputs"}
    path = config("cot.yml", pretrain_weights=str(weights), rifle=rifle)
    _, before, after = det.train(path, trainer=TrainerCot)
    (reset,) = det.events(path, "reset")
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
    out = det.folder / "output" / ("slim" if OWN_FOLDER else "student")
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
