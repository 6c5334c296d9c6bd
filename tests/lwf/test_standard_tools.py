"""The toolkits' own tools, unmodified, on what `rifle-ext lwf-export` writes: as the old model."""

import json
import os
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT
from processes import run_all_unmodified
from seg_runs import said_into

from det_hooks import logs
from rifle_ext import cli
from rifle_ext.commands.report.runs import load
from rifle_ext.methods.lwf import old_head_file
from seg_hooks.rebuild import rebuild

pytestmark = pytest.mark.timeout(240)

OLD = 8
"""Classes of the old model; the new one has six in PaddleSeg and five in PaddleDetection."""


def checkout(name):
    """A checkout's folder, by the variable that names it."""
    home = os.environ.get(name)
    if not home:
        pytest.skip(f"{name} is not set: it takes a checkout with the toolkit's tools")
    return Path(home)


def exported(checkpoint, output):
    assert cli.main(["lwf-export", str(checkpoint), str(output)]) == 0


def test_of_paddleseg(seg, capsys):
    home = checkout("PADDLESEG_HOME")
    ready = yaml.safe_load((ROOT / "configs/seg/pp_liteseg.yml").read_text())
    classes = {"num_classes": OLD}
    old_config = seg.config("old.yml", model={**ready["model"], **classes}, loss=ready["loss"])
    content = yaml.safe_load(old_config.read_text())
    for part in ("train_dataset", "val_dataset"):
        content[part].update(classes)
    old_config.write_text(yaml.safe_dump(content))
    before, after = seg.folder / "before.pdparams", seg.folder / "after.pdparams"
    paddle.save(_paddleseg_model(old_config).state_dict(), str(before))
    described = {**ready["model"], "pretrained": str(before)}
    path = seg.config(model=described, lwf=None, loss=ready["loss"], iters=2, batch_size=2)
    seg.out.mkdir()
    with (seg.out / "train.log").open("w") as log, said_into(log):
        seg.train(path, log_iters=1, save_interval=2)
    exported(seg.out / "iter_2/model.pdparams", after)

    image = seg.scenes / (seg.scenes / "val.txt").read_text().split()[0]
    common = ["--config", old_config, "--model_path"]
    served, added = seg.folder / "served", seg.folder / "added"
    evaluated_before, evaluated_after, _, _ = run_all_unmodified(
        home,
        ["tools/val.py", *common, before, "--device", "cpu"],
        ["tools/val.py", *common, after, "--device", "cpu"],
        ["tools/predict.py", *common, after, "--device", "cpu"]
        + ["--image_path", image, "--save_dir", added],
        ["tools/export.py", *common, after, "--save_dir", served, "--output_op", "none"]
        + ["--input_shape", "1", "3", "64", "64"],
    )
    assert (added / "pseudo_color_prediction" / f"{image.stem}.png").is_file()
    network = paddle.jit.load(str(served / "model"))
    network.eval()
    x = paddle.rand([1, 3, 64, 64])
    model = _paddleseg_model(old_config)
    model.set_state_dict(paddle.load(str(after)))
    model.eval()
    answered = network(x)
    answered = answered[0] if isinstance(answered, (list, tuple)) else answered
    assert answered.shape == [1, OLD, 64, 64]
    assert np.allclose(answered.numpy(), model(x)[0].numpy(), atol=1e-4)

    (seg.out / "old_task_before.log").write_text(evaluated_before)
    (seg.out / "old_task.log").write_text(evaluated_after)
    printed = [float(t.split("mIoU: ")[1].split()[0]) for t in (evaluated_before, evaluated_after)]
    old = load(seg.out).old_task
    assert [old.before, old.now] == printed and all(printed)
    capsys.readouterr()
    assert cli.main(["report", str(seg.out)]) == 0
    said = "  old task: mIoU {:.4f} before the training, {:.4f} after it, ".format(*printed)
    assert f"{said}{printed[1] / printed[0]:.0%} of that kept\n" in capsys.readouterr().out


def _paddleseg_model(path):
    from paddleseg.cvlibs import Config

    paddle.seed(1)
    return rebuild(Config(str(path)))


def test_of_paddledetection(det):
    from det_runs import workspace_kept
    from ppdet.core.workspace import create, load_config

    home = checkout("PADDLEDETECTION_HOME")
    truth = json.loads((det.scenes / "val.json").read_text())
    truth["categories"] += [{"id": 90 + i, "name": f"old{i}"} for i in range(OLD - 5)]
    (det.folder / "old.json").write_text(json.dumps(truth))
    old_config = det.config("old.yml", num_classes=OLD)
    content = yaml.safe_load(old_config.read_text())
    for part in ("EvalDataset", "TestDataset"):
        content[part]["anno_path"] = str(det.folder / "old.json")
    old_config.write_text(yaml.safe_dump(content))
    before, after = det.folder / "before.pdparams", det.folder / "after.pdparams"
    with workspace_kept():
        model = create(load_config(str(old_config)).architecture)
    for name, parameter in model.named_parameters():
        if "pred_" in name and name.endswith("weight"):
            parameter.set_value(0.3 * paddle.randn(parameter.shape))
    paddle.save(model.state_dict(), str(before))
    path = det.config(epoch=1, lwf=None, pretrain_weights=str(before))
    det.train(path, prepare=lambda trainer: trainer.load_weights(str(before)))
    exported(det.out(path) / "model_final", after)

    with_weights = ["-c", old_config, "-o", f"weights={after}"]
    image = next((det.scenes / "images").iterdir())
    served, found = det.folder / "served", det.folder / "found"
    tools = [
        ["tools/eval.py", *with_weights],
        ["tools/infer.py", *with_weights, "--infer_img", image, "--output_dir", found]
        + ["--visualize", "False", "--save_results", "True"],
    ]
    export = ["tools/export_model.py", *with_weights, "--output_dir", served]
    exports = True
    try:
        evaluated, *_ = run_all_unmodified(home, *tools, export)
    except AssertionError:
        exports = False
        own = [*export[:4], f"weights={before}", *export[5:]]
        with pytest.raises(AssertionError):  # cannot export the weights it began with, either
            run_all_unmodified(home, own)
        evaluated, *_ = run_all_unmodified(home, *tools)
    assert "Average Precision" in evaluated
    boxes = json.loads((found / "bbox.json").read_text())
    assert {box["category_id"] for box in boxes} <= {c["id"] for c in truth["categories"]}
    assert any(box["category_id"] >= 90 for box in boxes)  # of a class that only the old head has
    (det.out(path) / "old_task.log").write_text(evaluated)
    assert logs.evaluation(evaluated.splitlines()) is not None
    if not exports:
        pytest.skip("PaddleDetection itself cannot export a PP-YOLOE with this paddle")
    described = yaml.safe_load((served / "old/infer_cfg.yml").read_text())
    assert len(described["label_list"]) == OLD
    network = paddle.jit.load(str(served / "old/model"))
    values = [value.numpy() for value in network.state_dict().values()]
    _, head = old_head_file.read(det.out(path) / "model_final.pdparams")
    assert len(head) == 6
    for name, wanted in head.items():
        assert any(np.array_equal(wanted.numpy(), value) for value in values), name
