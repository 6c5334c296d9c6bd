"""The demonstration's two halves fit together; the whole of it is `make demo`."""

import json

import demo
import yaml
from conftest import ROOT


def target(kind):
    return yaml.safe_load((ROOT / f"configs/{kind}/demo/target.yml").read_text())


def test_fine_tuning_starts_from_what_pre_training_leaves():
    seg = demo.OUTPUT / "seg/source/best_model/model.pdparams"
    assert target("seg")["model"]["pretrained"] == str(seg)
    assert target("det")["pretrain_weights"] == str(demo.OUTPUT / "det/source/best_model")


def test_what_is_read_from_the_logs():
    line = "2026-01-01 00:00:00 [INFO]\t[TRAIN] epoch: 1, iter: 2/12, loss: 6.1044, lr: 0.0009"
    assert demo.SEG.step(demo.SEG.progress.search(line)) == 2
    line = "[INFO]\t[EVAL] #Images: 100 mIoU: 0.1387 Acc: 0.8322 Kappa: 0.0000"
    assert demo.SEG.measured.search(line).group(1) == "0.1387"
    line = "[01/01 00:00:00] ppdet.engine INFO: Epoch: [2] [4/6] learning_rate: 0.001 loss: 1.5"
    assert demo.DET.step(demo.DET.progress.search(line)) == 18
    line = " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.373"
    assert demo.DET.measured.search(line).group(1) == "0.373"


def test_a_reset_between_evaluations_is_told(tmp_path, capsys):
    events = tmp_path / "rifle_events.jsonl"
    reset = {"event": "reset", "step": 91, "index": 1, "of": 1, "values": 6}
    events.write_text(json.dumps({**reset, "parameters": ["head.weight", "head.bias"]}) + "\n")
    demo.tell(demo.SEG, {50: 0.41, 100: 0.2, 150: 0.45}, events)
    said = capsys.readouterr().out
    assert "reset 1 of 1 after iteration 91: 6 values of head\n" in said
    assert "mIoU before it 0.410; 0.200 after 9 more, 0.450 after 59 more\n" in said
    demo.tell(demo.SEG, {100: 0.2}, events)
    assert "mIoU before it not evaluated; 0.200 after 9 more\n" in capsys.readouterr().out
