"""How far each stage of a model moves, and where that is recorded."""

import sys

import numpy as np
import paddle
import pytest

from rifle_ext.training.weight_change import WeightChange, relative_change, stages

pytestmark = pytest.mark.timeout(120)

RIFLE = {"re_init_iter": 4, "max_re_num": 2, "keep_last": 0}


def test_stages_are_modules_and_the_large_ones_are_seen_in_parts():
    sizes = {
        "backbone.stem.weight": 10, "backbone.layers.0.weight": 40, "backbone.layers.1.weight": 50,
        "neck.conv.weight": 45, "neck.conv.bias": 5, "head.weight": 5,
    }  # fmt: skip
    names = list(sizes)
    assert stages(sizes) == {"backbone": names[:3], "neck": names[3:5], "head": names[5:]}
    sizes["backbone.stem.weight"] = 100
    assert list(stages(sizes)) == ["backbone.stem", "backbone.layers", "neck", "head"]
    sizes["backbone.layers.1.weight"] = 900
    wanted = ["backbone.stem", "backbone.layers.0", "backbone.layers.1", "neck", "head"]
    assert list(stages(sizes)) == wanted
    assert sum(stages(sizes).values(), []) == names
    assert stages({"weight": 4}) == {"weight": ["weight"]}
    assert stages({}) == {}
    assert sorted(sum(stages(sizes).values(), [])) == sorted(names)


def test_relative_change_by_hand():
    before = {"a.w": np.array([3.0, 4.0]), "b.w": np.zeros(2), "c.w": np.ones(9, "float16")}
    after = {"a.w": np.array([3.0, 6.0]), "b.w": np.zeros(2), "c.w": np.full(9, 2.0, "float16")}
    assert relative_change(before, after) == {"a": pytest.approx(0.4), "c": 1.0}  # b was zero


def test_weights_are_compared_with_a_copy_of_theirs():
    layer = paddle.nn.Linear(2, 2)
    layer.weight.set_value(paddle.full([2, 2], 2.0))
    change = WeightChange({"fc.weight": layer.weight}, step=0)
    layer.weight.set_value(paddle.full([2, 2], 3.0))
    assert change.stages() == {"fc": pytest.approx(0.5)} and change.since == 0
    change.restart(7)
    assert change.stages() == {"fc": 0.0} and change.since == 7


def by_hand(before, after, stage, head):
    """The relative change of a stage between two records of parameters."""
    left_out = (*head, "_mean", "_variance")
    names = [n for n in before if n.startswith(f"{stage}.") and not n.endswith(left_out)]
    assert names
    old, new = (np.concatenate([r[n].ravel() for n in names]) for r in (before, after))
    return np.linalg.norm((new - old).astype("float64")) / np.linalg.norm(old.astype("float64"))


def test_each_period_of_a_training_is_recorded(seg):
    path = seg.config(rifle={**RIFLE, "track": True})
    _, before, _ = seg.train(path)
    looks = {e["step"]: e for e in seg.events("weights")}
    assert list(looks) == list(range(1, 13))
    assert [looks[step]["since"] for step in (1, 4, 5, 8, 9, 12)] == [0, 0, 4, 4, 8, 8]
    head = ["head.3.weight", "head.3.bias"]
    for step, since in ((4, 0), (8, 4), (11, 8)):
        assert set(looks[step]["change"]) == {"backbone", "neck", "head"}
        for stage, change in looks[step]["change"].items():
            wanted = by_hand(before.others[since], before.others[step], stage, head)
            assert change == pytest.approx(wanted, rel=1e-5) and change > 0


def test_nothing_is_copied_or_recorded_without_being_asked(seg, monkeypatch):
    monkeypatch.setattr("rifle_ext.methods.rifle.hook.WeightChange", None)
    seg.train(seg.config(rifle=RIFLE))
    seg.train(seg.config(rifle={**RIFLE, "track": False}), use_vdl=True)
    assert seg.events("weights") == []


def test_the_weights_are_read_twenty_times_a_training(seg, monkeypatch):
    read = []
    now = WeightChange._now
    monkeypatch.setattr(WeightChange, "_now", lambda self: read.append(1) or now(self))
    seg.train(seg.config(iters=80, rifle={"max_re_num": 1, "track": True}), save_interval=80)
    assert [e["step"] for e in seg.events("weights")] == [*range(4, 80, 4), 80]
    assert len(read) == 20 + 2  # to compare with, at the start and after the reset


def test_a_training_whose_folder_is_gone_ends_all_the_same(seg, monkeypatch, said):
    import shutil

    from rifle_ext.methods.rifle.hook import RifleHook

    on_train_end = RifleHook.on_train_end

    def folder_gone(self, run):
        shutil.rmtree(run.save_dir)
        on_train_end(self, run)

    monkeypatch.setattr(RifleHook, "on_train_end", folder_gone)
    model, _, _ = seg.train(seg.config(rifle={**RIFLE, "head_lr": "cyclic"}))
    assert "[RIFLE] the events file cannot be written, from event end on: " in said()
    assert not model._forward_pre_hooks


def scalars(folder):
    """{tag: {step: value}} of the one VisualDL file of a folder."""
    from visualdl import LogReader

    (file,) = folder.glob("vdlrecords.*.log")
    reader = LogReader(file_path=str(file))
    return {
        tag: {record.id: record.value for record in reader.get_data("scalar", tag)}
        for tag in reader.get_tags()["scalar"]
    }


def test_paddleseg_shows_it_in_visualdl_beside_its_own(seg):
    path = seg.config(rifle={**RIFLE, "head_lr": "cyclic"})
    _, _, after = seg.train(path, use_vdl=True)
    shown = scalars(seg.out)
    assert "Train/loss" in shown  # the toolkit's own
    assert shown["RIFLE/reset"] == {4: 1.0, 8: 2.0}
    looks = {e["step"]: e["change"] for e in seg.events("weights") if e["step"] < 12}
    for stage in ("backbone", "neck", "head"):
        found = shown[f"RIFLE/weight_change/{stage}"]
        assert found == pytest.approx({s: change[stage] for s, change in looks.items()}, rel=1e-6)
    rates = {s: after.rate[s] * after.rates[s]["aux.bias"] for s in range(12)}
    assert shown["RIFLE/head_lr"] == pytest.approx(rates, rel=1e-6)
    assert sys.modules["visualdl"].LogWriter.__name__ == "LogWriter"


def test_visualdl_shows_the_rest_without_the_tracking(seg):
    seg.train(seg.config(rifle={**RIFLE, "track": False}), use_vdl=True)
    shown = scalars(seg.out)
    assert shown["RIFLE/reset"] == {4: 1.0, 8: 2.0} and len(shown["RIFLE/head_lr"]) == 12
    assert not any("weight_change" in tag for tag in shown)


def test_paddledetection_shows_it_in_visualdl_beside_its_own(det):
    folder = det.folder / "vdl"
    path = det.config(epoch=3, rifle=RIFLE, use_vdl=True, vdl_log_dir=str(folder))
    det.train(path)
    shown = scalars(folder)
    assert "loss" in shown
    assert shown["RIFLE/reset"] == {4: 1.0, 8: 2.0}
    looks = {e["step"]: e["change"] for e in det.events(path, "weights") if e["step"] < 12}
    stages_seen = {tag.split("/")[2] for tag in shown if "weight_change" in tag}
    assert any(stage.startswith("backbone") for stage in stages_seen)
    for stage in stages_seen:
        wanted = {step: change[stage] for step, change in looks.items()}
        assert shown[f"RIFLE/weight_change/{stage}"] == pytest.approx(wanted, rel=1e-6)
