"""FreezeOut and Learning without Forgetting on an NVIDIA GPU. Skipped where there is none."""

import numpy as np
import paddle
import pytest
from det_runs import OUTPUTS as DET_OUTPUTS
from old_and_new import Tasks

NO_GPU = not paddle.is_compiled_with_cuda() or paddle.device.cuda.device_count() == 0

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(240),
    pytest.mark.skipif(NO_GPU, reason="needs an NVIDIA GPU and paddlepaddle-gpu"),
]

PRECISIONS = [
    {},
    {"precision": "fp16", "amp_level": "O1"},
    {"precision": "fp16", "amp_level": "O2"},
]
"""Arguments of PaddleSeg's `train`."""

LEVELS = [{}, {"amp": True, "amp_level": "O1"}, {"amp": True, "amp_level": "O2"}]
"""Keys of PaddleDetection's configs."""


@pytest.fixture(autouse=True)
def on_gpu():
    device = paddle.device.get_device()
    paddle.set_device("gpu")
    yield
    paddle.set_device(device)


@pytest.mark.parametrize("precision", PRECISIONS, ids=["fp32", "O1", "O2"])
def test_what_is_frozen_stands_still(seg, precision):
    freeze_out = {"layers": "all", "t_0": 0.25, "lr": "own"}
    _, _, after = seg.train(seg.config(freeze_out=freeze_out), **precision)
    freezes = {e["layers"][0]: e["step"] for e in seg.events("freeze")}
    assert freezes == {"backbone.0": 3, "neck": 6, "head.0": 9}
    for layer, step in freezes.items():
        name = f"{layer}.weight"
        assert not np.array_equal(after.others[step - 1][name], after.others[step][name]), name
        for later in range(step, 12):
            assert np.array_equal(after.others[step][name], after.others[later][name]), (
                name,
                later,
            )


@pytest.mark.parametrize("precision", PRECISIONS, ids=["fp32", "O1", "O2"])
def test_an_old_head_learns_on_the_gpu(seg, precision):
    tasks = Tasks(seg)
    tasks.new({"warm_up": 1}, iters=4, save_interval=1, **precision)
    first, last = tasks.head(step=1), tasks.head(step=4)
    assert not np.array_equal(first["head.3.weight"], last["head.3.weight"])
    assert all(np.isfinite(value).all() for value in last.values())


@pytest.mark.parametrize("level", LEVELS, ids=["fp32", "O1", "O2"])
def test_what_is_frozen_stands_still_in_paddledetection(det, level):
    freeze_out = {"layers": "all", "t_0": 0.3, "lr": "own"}
    path = det.config(epoch=3, use_gpu=True, use_ema=False, freeze_out=freeze_out, **level)
    _, _, after = det.train(path)
    freezes = det.events(path, "freeze")
    assert freezes and {event["step"] for event in freezes} <= set(after.steps)
    for event in freezes:
        still = {f"{layer}.{key}" for layer in event["layers"] for key in ("weight", "bias")}
        still &= set(after.values[0])
        assert still
        for later in range(event["step"], 12):
            for name in still:
                now = after.values[later][name]
                assert np.array_equal(after.values[event["step"]][name], now), (name, later)


@pytest.mark.parametrize("level", LEVELS, ids=["fp32", "O1", "O2"])
def test_an_old_head_learns_on_the_gpu_in_paddledetection(det, level):
    path = det.config("old.yml", num_classes=7, epoch=1, use_gpu=True, use_ema=False)
    det.train(path)
    old = det.out(path) / "model_final"
    path = det.config(
        epoch=2, use_gpu=True, use_ema=False, pretrain_weights=str(old), lwf={"weight": 1}, **level
    )
    det.train(path, prepare=lambda trainer: trainer.load_weights(str(old)))
    first, last = (
        paddle.load(str(det.out(path) / f"{name}.pdlwf"), return_numpy=True)
        for name in ("0", "model_final")
    )
    assert set(first) == set(last) <= set(DET_OUTPUTS)
    assert any(not np.array_equal(first[name], last[name]) for name in first)
    assert all(np.isfinite(value).all() for value in last.values())
