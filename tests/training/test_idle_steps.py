"""At steps without a reset nothing is read from the device: that would wait for it."""

import numpy as np
import paddle
import pytest

from rifle_ext.methods.rifle.hook import RifleHook

pytestmark = pytest.mark.timeout(120)

READS = ("numpy", "item", "tolist", "__float__", "__int__", "__bool__", "__array__", "__index__")


@pytest.fixture
def reads(monkeypatch):
    """Makes reading a tensor's value fail at idle steps; the steps that were idle."""
    on_step_begin = RifleHook.on_step_begin
    idle = []

    def refuse(tensor, *args, **kwargs):
        raise AssertionError("a value was read")

    def refusing(self, run, step):
        if not self._started or step in self._due:
            return on_step_begin(self, run, step)
        idle.append(step)
        with monkeypatch.context() as patched:
            for name in READS:
                patched.setattr(paddle.Tensor, name, refuse, raising=False)
            return on_step_begin(self, run, step)

    monkeypatch.setattr(RifleHook, "on_step_begin", refusing)
    return idle


def test_the_test_would_see_it(seg, reads, monkeypatch):
    from rifle_ext.methods.rifle import hook as rifle_hook

    class Reading:
        def __init__(self, *args, **kwargs):
            pass

        def check(self):
            pass

        def set(self, *args):
            np.asarray(paddle.ones([1]))

        def end(self):
            pass

    monkeypatch.setattr(rifle_hook, "Recovering", Reading)
    with pytest.raises(AssertionError, match="a value was read"):
        seg.train(seg.config(rifle={"re_init_iter": 4, "head_lr": "cyclic"}))


@pytest.mark.parametrize("head_lr", ["none", "cyclic"])
def test_paddleseg(seg, reads, head_lr):
    seg.train(seg.config(rifle={"re_init_iter": 4, "keep_last": 0, "head_lr": head_lr}))
    assert reads == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    assert [e["step"] for e in seg.events("reset")] == [4, 8]


@pytest.mark.parametrize("head_lr", ["none", "cyclic"])
def test_paddledetection(det, reads, head_lr):
    path = det.config(epoch=2, rifle={"re_init_iter": 4, "keep_last": 0, "head_lr": head_lr})
    det.train(path)
    assert reads == [1, 2, 3, 5, 6, 7]
    assert [e["step"] for e in det.events(path, "reset")] == [4]
