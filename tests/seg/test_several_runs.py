"""Several trainings in one process, one inside the other too: each is what it is alone."""

import paddle
import pytest

from rifle_ext.methods.rifle.hook import RifleHook

pytestmark = pytest.mark.timeout(180)

OUTER, INNER = {"re_init_iter": 4, "seed": 1}, {"re_init_iter": 3, "seed": 2}


class Stop(Exception):
    pass


def at_step(monkeypatch, wanted, do):
    """Call `do` before a step of a training whose block is OUTER, after what RIFLE does there."""
    as_ever = RifleHook.on_step_begin

    def on_step_begin(self, run, step):
        as_ever(self, run, step)
        if step == wanted and self.block.seed == OUTER["seed"]:
            do()

    monkeypatch.setattr(RifleHook, "on_step_begin", on_step_begin)


def resets(runs, out):
    return [(e["step"], e["digest"]) for e in runs.events("reset", out=runs.folder / out)]


def test_a_training_inside_a_training(seg, monkeypatch):
    outer, inner = seg.config("o.yml", rifle=OUTER), seg.config("i.yml", rifle=INNER)
    seg.train(outer, out=seg.folder / "outer alone")
    seg.train(inner, out=seg.folder / "inner alone")
    at_step(monkeypatch, 5, lambda: seg.train(inner, out=seg.folder / "inner"))
    _, before, _ = seg.train(outer, out=seg.folder / "outer")
    assert before.steps == list(range(12))
    assert resets(seg, "outer") == resets(seg, "outer alone") != []
    assert resets(seg, "inner") == resets(seg, "inner alone") != []


def test_one_after_the_other_and_after_an_exception(seg, det, monkeypatch):
    path = seg.config("seg.yml", rifle={**OUTER, "head_lr": "cyclic"})
    seg.train(path, out=seg.folder / "first")

    def stop():
        raise Stop

    with monkeypatch.context() as patched:
        at_step(patched, 6, stop)
        with pytest.raises(Stop):
            seg.train(path, out=seg.folder / "stopped")
    assert resets(seg, "stopped") == resets(seg, "first")[:1]
    det.train(det.config(rifle={"re_init_iter": 3, "max_re_num": 1}, epoch=1))
    model, _, _ = seg.train(path, out=seg.folder / "again")
    assert resets(seg, "again") == resets(seg, "first") != []
    assert not model._forward_pre_hooks
    assert all(p.optimize_attr["learning_rate"] == 1.0 for p in model.parameters())
    seg.train(seg.config("plain.yml"), out=seg.folder / "plain")
    assert not (seg.folder / "plain/rifle_events.jsonl").exists()
    assert paddle.device.get_device() == "cpu"
