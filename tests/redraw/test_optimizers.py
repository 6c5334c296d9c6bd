"""Every optimizer, in the toolkits' own loops: the head's state restarts, the rest is untouched.

Lamb, which PaddleDetection's builder cannot make, is in test_reset.py.
"""

import numpy as np
import pytest
from seg_runs import START

pytestmark = pytest.mark.timeout(120)

ZERO = {"moment", "moment1", "moment2", "velocity", "inf_norm", "mean_square", "mean_grad",
        "momentum", "_avg_squared_grad", "_avg_squared_update"}  # fmt: skip
BLOCK = {"re_init_iter": 2, "max_re_num": 1, "keep_last": 0}

OPTIMIZERS = {
    "SGD": set(),
    "Momentum": {"velocity"},
    "Adam": {"moment1", "moment2", "beta1_pow_acc", "beta2_pow_acc"},
    "AdamW": {"moment1", "moment2", "beta1_pow_acc", "beta2_pow_acc"},
    "Adamax": {"moment", "inf_norm", "beta1_pow_acc"},
    "RMSProp": {"momentum", "mean_square", "mean_grad"},
    "Adagrad": {"moment"},
    "Adadelta": {"_avg_squared_grad", "_avg_squared_update"},
}


def check(before, after, head, kinds, kept=False):
    """Optimizer state around the reset after step 2: {(kind, parameter): array} each."""
    assert {kind for kind, _ in before} == kinds
    assert before.keys() == after.keys()
    for (kind, name), value in after.items():
        if name not in head or kept:
            assert np.array_equal(value, before[kind, name]), (kind, name)
        else:
            wanted = 0.0 if kind in ZERO else START[kind]
            assert np.allclose(value, wanted, rtol=1e-6, atol=0), (kind, name)
    used = [k for k in before if k[1] in head and k[0] in ZERO and before[k].any()]
    assert used or not kinds


@pytest.mark.parametrize("kind", sorted(OPTIMIZERS))
def test_paddledetection(det, kind):
    path = det.config(
        epoch=1,
        use_ema=False,
        rifle=BLOCK,
        OptimizerBuilder={
            "clip_grad_by_norm": 5.0,
            "regularizer": {"type": "L2", "factor": 0.0005},
            "optimizer": {"type": kind, **({"rho": 0.95} if kind == "RMSProp" else {})},
        },
    )
    _, before, after = det.train(path)
    head = det.events(path, "reset")[0]["parameters"]
    check(before.momenta[2], after.momenta[2], head, OPTIMIZERS[kind])
    assert all(before.ids[2][name] == before.ids[3][name] for name in head)
    assert any((before.values[3][name] != after.values[2][name]).any() for name in head)
    untouched = [n for n in before.values[2] if n not in head]
    assert all((before.values[2][n] == after.values[2][n]).all() for n in untouched)


@pytest.mark.parametrize("kind", ["SGD", "Momentum", "Adam", "AdamW"])
@pytest.mark.parametrize("state", ["reset", "keep"])
def test_paddleseg(seg, kind, state):
    path = seg.config(
        iters=4,
        rifle={**BLOCK, "optimizer_state": state},
        optimizer={"type": kind, "weight_decay": 4.0e-5},
    )
    _, before, after = seg.train(path)
    head = list(before.heads[2])
    check(before.momenta[2], after.momenta[2], head, OPTIMIZERS[kind], kept=state == "keep")
