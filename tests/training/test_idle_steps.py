"""At steps without anything due nothing is read from the device: that would wait for it.

Nor is a tensor made or written there: tests/training/test_places.py.
"""

import numpy as np
import paddle
import pytest
from old_and_new import Tasks

from rifle_ext.methods.freeze_out.hook import FreezeOutHook
from rifle_ext.methods.lwf.hook import LwfHook
from rifle_ext.methods.rifle.hook import RifleHook

pytestmark = pytest.mark.timeout(120)

READS = ("numpy", "item", "tolist", "__float__", "__int__", "__bool__", "__array__", "__index__")


def is_due(hook, step):
    """Whether a method has something to do after `step` steps, or this process begins with it."""
    if isinstance(hook, RifleHook):
        return not hook._started or step in hook._due
    if isinstance(hook, FreezeOutHook):
        first = hook._frozen is None
        return first or step in map(hook._plan.timetable.freezes_at, range(len(hook._plan.layers)))
    return not hook._begun


@pytest.fixture
def reads(monkeypatch):
    """Makes reading a tensor's value fail at idle steps; the steps that were idle, by method."""
    idle = {kind: [] for kind in (RifleHook, FreezeOutHook, LwfHook)}

    def refuse(tensor, *args, **kwargs):
        raise AssertionError("a value was read")

    def watched(kind, theirs):
        def refusing(self, run, step):
            if is_due(self, step):
                return theirs(self, run, step)
            idle[kind].append(step)
            with monkeypatch.context() as patched:
                for name in READS:
                    patched.setattr(paddle.Tensor, name, refuse, raising=False)
                return theirs(self, run, step)

        return refusing

    for kind in idle:
        monkeypatch.setattr(kind, "on_step_begin", watched(kind, kind.on_step_begin))
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
    assert reads[RifleHook] == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    assert [e["step"] for e in seg.events("reset")] == [4, 8]


@pytest.mark.parametrize("head_lr", ["none", "cyclic"])
def test_paddledetection(det, reads, head_lr):
    path = det.config(epoch=2, rifle={"re_init_iter": 4, "keep_last": 0, "head_lr": head_lr})
    det.train(path)
    assert reads[RifleHook] == [1, 2, 3, 5, 6, 7]
    assert [e["step"] for e in det.events(path, "reset")] == [4]


def test_freeze_out(seg, reads):
    seg.train(seg.config(freeze_out={"layers": "all", "t_0": 0.25, "lr": "own"}))
    assert [event["step"] for event in seg.events("freeze")] == [3, 6, 9]
    assert reads[FreezeOutHook] == [1, 2, 4, 5, 7, 8, 10, 11]


def test_learning_without_forgetting(seg, reads, monkeypatch):
    """Its loss is read when it is recorded: twenty times in a training."""
    recorded, looked = [], []
    record = LwfHook._record

    def noting(self, found):
        float_of = paddle.Tensor.__float__
        with monkeypatch.context() as patched:
            patched.setattr(
                paddle.Tensor, "__float__", lambda t: (looked.append(self._step), float_of(t))[1]
            )
            record(self, found)
        recorded.append(self._step)

    monkeypatch.setattr(LwfHook, "_record", noting)
    Tasks(seg).new({"warm_up": 2}, iters=40, save_interval=40, fields={"iters": 40})
    assert reads[LwfHook] == list(range(1, 40))
    assert recorded == list(range(40))
    assert looked == list(range(0, 40, 2))
