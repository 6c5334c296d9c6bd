"""Mixed precision's gradient scaler skips steps whose gradients overflow: resets stay in place.

Paddle scales on a GPU only, so here a scaler skips the updates of chosen steps by itself, in the
toolkits' own mixed-precision loops.
"""

import numpy as np
import paddle
import pytest
from seg_runs import START

pytestmark = [
    pytest.mark.timeout(120),
    # Mixed precision and its scaler switch themselves off on the CPU, and say so.
    pytest.mark.filterwarnings("ignore:.*can only be enabled"),
]

RIFLE = {"re_init_iter": 4, "max_re_num": 1, "keep_last": 0, "weight_initializer": "XavierNormal"}


@pytest.fixture(params=[[3], [0, 1, 2, 3], [4], [3, 4, 5]], ids=lambda steps: f"skips {steps}")
def skipped(request, monkeypatch):
    class Skipping(paddle.amp.GradScaler):
        done = 0

        def step(self, optimizer):
            if self.done not in request.param:
                optimizer.step()
            self.done += 1

        def minimize(self, optimizer, *args, **kwargs):  # what older loops call
            self.step(optimizer)

    monkeypatch.setattr(paddle.amp, "GradScaler", Skipping)
    return request.param


def check(skipped, head, before, after):
    """`before` and `after`: {step: values of the head} around where a reset may be."""
    for step in range(7):
        same = {name: np.array_equal(before[step][name], after[step][name]) for name in head}
        assert all(same.values()) == (step != 4), step
        moved = any((after[step][name] != before[step + 1][name]).any() for name in head)
        assert moved == (step not in skipped), step


def test_paddleseg(seg, skipped):
    path = seg.config(iters=8, rifle=RIFLE, optimizer={"type": "AdamW"})
    _, before, after = seg.train(path, precision="fp16")
    assert [e["step"] for e in seg.events("reset")] == [4]
    head = list(after.heads[4])
    check(skipped, head, before.heads, after.heads)
    updates = {s: len(set(range(s)) - set(skipped)) for s in (4, 7)}
    for (kind, name), value in after.momenta[4].items():
        if kind in START:
            done = 0 if name in head else updates[4]
            assert np.allclose(value, START[kind] ** (done + 1), rtol=1e-5), (kind, name)
        elif name in head:
            assert not value.any(), (kind, name)
    for (kind, name), value in after.momenta[7].items():
        if kind in START:
            done = updates[7] - updates[4] if name in head else updates[7]
            assert np.allclose(value, START[kind] ** (done + 1), rtol=1e-5), (kind, name)


def test_paddledetection(det, skipped):
    path = det.config(epoch=2, snapshot_epoch=9, amp=True, amp_level="O1", rifle=RIFLE)
    _, before, after = det.train(path)
    (reset,) = det.events(path, "reset")
    assert reset["step"] == 4
    weights = [name for name in reset["parameters"] if name.endswith("pred_cls.0.weight")]
    # The first step of PaddleDetection's warm-up has a learning rate of 0.
    check(sorted({0, *skipped}), weights, before.values, after.values)
