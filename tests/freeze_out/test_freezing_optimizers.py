"""Every optimizer of the toolkits' configs, and what else acts on weights, beside FreezeOut.

A training is recorded (replay.py): its gradients, given to plain optimizers that hear of no
freezing but of its rates, must make the same weights, bit for bit, and no gradient may be there for
what is frozen.
"""

import copy
from functools import partial

import numpy as np
import paddle
import pytest
from replay import Recorder, replay

pytestmark = pytest.mark.timeout(120)

BLOCK = {"layers": "all", "t_0": 0.25, "lr": "own"}
FIRST = "backbone.0.weight"  # of the tiny model for PaddleSeg: still after 3 of 12 steps

SEGMENTATION = {
    "SGD": {"type": "SGD", "weight_decay": 0.01},
    "Momentum": {"type": "Momentum", "momentum": 0.9, "weight_decay": 0.01},
    "Adam": {"type": "Adam", "weight_decay": 0.01},
    "AdamW": {"type": "AdamW", "weight_decay": 0.1},
    "groups": {
        "type": "AdamW", "weight_decay": 0.1,
        "custom_cfg": [{"name": "backbone", "lr_mult": 0.1},
                       {"name": "head", "lr_mult": 3.0, "weight_decay_mult": 0.0}],
    },
    "clipped by the norm of all": {
        "type": "Momentum", "grad_clip_cfg": {"name": "ClipGradByGlobalNorm", "clip_norm": 0.1}
    },
    "clipped by value": {"type": "Adam", "grad_clip_cfg": {"name": "ClipGradByValue", "max": 0.01}},
}  # fmt: skip

OTHERS = {
    "Adamax": lambda p: paddle.optimizer.Adamax(0.01, parameters=p, weight_decay=0.01),
    "RMSProp": lambda p: paddle.optimizer.RMSProp(0.01, momentum=0.9, parameters=p),
    "Adagrad": lambda p: paddle.optimizer.Adagrad(0.01, parameters=p, weight_decay=0.01),
    "Adadelta": lambda p: paddle.optimizer.Adadelta(0.1, parameters=p, weight_decay=0.01),
    "Lamb": lambda p: paddle.optimizer.Lamb(0.01, parameters=p),
    "fused Momentum": lambda p: paddle.optimizer.Momentum(
        0.01, 0.9, p, weight_decay=0.01, use_multi_tensor=True
    ),
    "fused Adam": lambda p: paddle.optimizer.Adam(
        0.01, parameters=p, weight_decay=0.01, use_multi_tensor=True
    ),
}
PLAIN = {
    "fused Momentum": lambda p: paddle.optimizer.Momentum(0.01, 0.9, p, weight_decay=0.01),
    "fused Adam": lambda p: paddle.optimizer.Adam(0.01, parameters=p, weight_decay=0.01),
}
"""What the fused ones must equal: they would not go on where gradients are gone. The kernel of Adam
rounds otherwise."""


def check(record, build, equal=np.array_equal):
    """The training is that of a plain optimizer with those gradients, which end where one froze."""
    steps = record.steps
    assert FIRST in steps[2]["gradients"] and FIRST not in steps[3]["gradients"]
    for index, after in enumerate(replay(record, build)):
        for name, value in after.items():
            assert equal(value, steps[index]["after"][name]), (index, name)
    still = steps[2]["after"]
    assert all(np.array_equal(step["after"][FIRST], still[FIRST]) for step in steps[3:])
    head = "head.3.weight"
    assert all((step["before"][head] != step["after"][head]).any() for step in steps)


def trained(seg, path, optimizer):
    made = []

    def recorded(builder):
        made.append(Recorder(builder.model, optimizer(builder)))
        return made[0].optimizer

    seg.train(path, optimizer=recorded)
    return made[0]


@pytest.mark.parametrize("what", sorted(SEGMENTATION))
def test_of_paddleseg(seg, what):
    from paddleseg.cvlibs import SegBuilder, manager

    path = seg.config(freeze_out=BLOCK, optimizer=SEGMENTATION[what])
    record = trained(seg, path, SegBuilder.optimizer.func)

    def build(model):
        given = copy.deepcopy(SEGMENTATION[what])
        return manager.OPTIMIZERS[given.pop("type")](**given)(model, 0.1)

    check(record, build)


@pytest.mark.parametrize("what", sorted(OTHERS))
def test_of_paddle(seg, what):
    path = seg.config(freeze_out=BLOCK)
    record = trained(seg, path, lambda builder: OTHERS[what](builder.model.parameters()))
    equal = partial(np.allclose, rtol=1e-4, atol=1e-6) if what == "fused Adam" else np.array_equal
    check(record, lambda model: PLAIN.get(what, OTHERS[what])(model.parameters()), equal)


def test_groups_of_paddledetection_of_which_one_freezes_as_a_whole(det):
    from ppdet.optimizer import OptimizerBuilder

    groups = [
        {"params": ["backbone.stem"], "learning_rate": 0.1, "weight_decay": 0.0},
        {"params": ["backbone.stages", "neck", "yolo_head"], "learning_rate": 2.0},
    ]
    options = {"optimizer": {"type": "Momentum", "param_groups": groups}, "clip_grad_by_norm": 0.5}
    block = {"t_0": 0.1, "lr": "follow", "layers": ["backbone"], "how_scale": "cubic"}
    path = det.config(
        epoch=2, snapshot_epoch=9, use_ema=False, freeze_out=block, OptimizerBuilder=options
    )
    records = []
    det.train(path, prepare=lambda t: records.append(Recorder(t.model, t.optimizer)))
    (record,) = records
    gradients = [step["gradients"] for step in (record.steps[0], record.steps[-1])]
    first, last = ({n for n in found if n.startswith("backbone.stem")} for found in gradients)
    assert first and not last
    with paddle.utils.unique_name.guard():
        made = replay(record, lambda m: OptimizerBuilder(**copy.deepcopy(options))(0.1, m))
    for index, after in enumerate(made):
        for name, value in after.items():
            assert np.array_equal(value, record.steps[index]["after"][name]), (index, name)
