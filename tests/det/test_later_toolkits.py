"""What the toolkits' newest releases have and the package registry's lack."""

import inspect
import sys
from argparse import Namespace

import paddle
import pytest
from conftest import needs_development_branch, needs_later_release
from seg_runs import OUTPUTS, same

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def loop():
    import paddleseg.core  # noqa: F401

    loop = sys.modules["paddleseg.core.train"]
    known = inspect.signature(loop.train).parameters
    needs_later_release("early_stop_intervals" in known, "PaddleSeg's early stopping")
    return loop


def saved(folder):
    state = paddle.load(str(folder / "model.pdparams"))
    return {name: state[name].numpy() for name in OUTPUTS}


def test_a_training_that_stops_early(seg, loop, monkeypatch, said):
    """After iteration 8, where a reset is due: nothing is left behind, no fresh head is saved."""
    measured = iter([0.5, 0.4])
    monkeypatch.setattr(loop, "evaluate", lambda *args, **kwargs: (next(measured), 0, 0, 0, 0))
    names = (loop.resume, loop.init_ema_params, paddle.load)
    path = seg.config(rifle={"re_init_iter": 4, "max_re_num": 2, "head_lr": "cyclic"})
    model, before, after = seg.train(path, evaluate=True, early_stop_intervals=1)
    assert after.steps == list(range(8))
    assert [event["step"] for event in seg.events("reset")] == [4]
    before_training, _, rest = said().partition("[TRAIN]")
    assert "early_stop_intervals = 1" in before_training
    assert "Early stopping at iter 8" in rest
    assert same(saved(seg.out / "iter_4"), before.heads[4])
    assert not same(before.heads[4], after.heads[4])
    assert same(saved(seg.out / "best_model"), before.heads[4])
    last = saved(seg.out / "iter_8")
    assert same(last, {n: p.numpy() for n, p in model.named_parameters() if n in OUTPUTS})
    assert not any(same(last, head) for head in after.heads.values())
    assert (loop.resume, loop.init_ema_params, paddle.load) == names
    assert not model._forward_pre_hooks
    assert {p.optimize_attr["learning_rate"] for p in model.parameters()} == {1.0}


def test_paddleseg_exports_beside_its_checkpoints(seg, loop, monkeypatch):
    there = "uniform_output_enabled" in inspect.signature(loop.train).parameters
    needs_development_branch(there, "PaddleSeg's exports while it trains")
    monkeypatch.setenv("PADDLESEG_EXPORT_STAGE", "")  # set by each export: to be given back
    path = seg.config(rifle={"re_init_iter": 4, "max_re_num": 2}, uniform_output_enabled=True)
    _, _, alone = seg.train(path, out=seg.folder / "alone")
    chosen = {"config": str(path), "save_dir": str(seg.out), "output_op": "argmax"}
    _, _, after = seg.train(
        path,
        uniform_output_enabled=True,
        cli_args=Namespace(input_shape=None, for_fd=False, **chosen),
    )
    assert (seg.out / "iter_8/inference/inference.yml").exists()
    assert [event["step"] for event in seg.events("reset")] == [4, 8]
    assert after.steps == alone.steps
    assert all(same(after.heads[step], alone.heads[step]) for step in alone.steps)
    assert all(same(after.others[step], alone.others[step]) for step in alone.steps)


def test_paddledetection_exports_beside_its_checkpoints(det):
    from ppdet.engine.callbacks import Checkpointer

    there = "uniform_output_enabled" in inspect.getsource(Checkpointer)
    needs_development_branch(there, "PaddleDetection's exports while it trains")
    fields = {"rifle": {"re_init_iter": 4, "max_re_num": 1}, "epoch": 2}
    _, _, alone = det.train(det.config("alone.yml", **fields), evaluate=True)
    path = det.config(uniform_output_enabled=True, pdx_model_name="tiny", **fields)
    _, _, after = det.train(path, evaluate=True)
    assert (det.out(path) / "0/inference/inference.yml").exists()
    assert [event["step"] for event in det.events(path, "reset")] == [4]
    assert after.steps == alone.steps == list(range(8))
    assert all(same(after.values[step], alone.values[step]) for step in alone.steps)
