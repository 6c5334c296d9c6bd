"""What optimizers can be told, in the toolkits' own loops: a reset changes the head and no more.

Each training must equal, bit for bit, one whose head is given to a new optimizer at the reset
(replay.py).
"""

import copy

import numpy as np
import paddle
import pytest
from replay import Recorder, check, replay

pytestmark = pytest.mark.timeout(120)

BLOCK = {"re_init_iter": 3, "max_re_num": 1, "keep_last": 0}
CYCLIC = {**BLOCK, "head_lr": "cyclic"}
FUSED = {"type": "Momentum", "momentum": 0.9, "use_multi_tensor": True}
GROUPS = [
    {"params": ["backbone"], "learning_rate": 0.1, "weight_decay": 0.0},
    {"params": ["yolo_head"], "learning_rate": 2.0},
]

DETECTION = {
    "fused Momentum": ({"optimizer": FUSED}, BLOCK),
    "fused Adam": ({"optimizer": {"type": "Adam", "use_multi_tensor": True}}, BLOCK),
    "fused Momentum, head_lr": ({"optimizer": FUSED}, CYCLIC),
    "Nesterov": ({"optimizer": {"type": "Momentum", "use_nesterov": True}}, BLOCK),
    "lazy Adam": ({"optimizer": {"type": "Adam", "lazy_mode": True}}, BLOCK),
    "centered RMSProp": ({"optimizer": {"type": "RMSProp", "centered": True}}, BLOCK),
    "groups": ({"optimizer": {"type": "AdamW", "param_groups": GROUPS}}, BLOCK),
    "groups, head_lr": ({"optimizer": {"type": "Momentum", "param_groups": GROUPS}}, CYCLIC),
    "L1": ({"regularizer": {"type": "L1", "factor": 0.001}}, BLOCK),
    "clipped by norm": ({"clip_grad_by_norm": 0.1}, BLOCK),
    "clipped by value": ({"clip_grad_by_value": 0.01}, BLOCK),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(DETECTION))
def test_paddledetection(det, what):
    from ppdet.optimizer import OptimizerBuilder

    options, block = DETECTION[what]
    options = {"optimizer": {"type": "Momentum", "momentum": 0.9}, **options}
    path = det.config(
        epoch=2, snapshot_epoch=9, use_ema=False, rifle=block, OptimizerBuilder=options
    )
    records = []
    det.train(path, prepare=lambda t: records.append(Recorder(t.model, t.optimizer)))
    head = det.events(path, "reset")[0]["parameters"]
    check(records[0], lambda model: OptimizerBuilder(**copy.deepcopy(options))(0.1, model), head, 3)


@pytest.mark.parametrize("frozen", ["backbone", "everything but the head"])
def test_frozen_parts_of_paddledetection(det, frozen):
    """`freeze_at` and the like: those parameters stop gradients, or are no parameters at all."""
    path = det.config(epoch=2, snapshot_epoch=9, use_ema=False, rifle=BLOCK)
    records = []

    def freeze(trainer):
        for name, parameter in trainer.model.named_parameters():
            if name.startswith("backbone") or (frozen != "backbone" and "pred_" not in name):
                parameter.stop_gradient = True
        records.append(Recorder(trainer.model, trainer.optimizer))

    det.train(path, prepare=freeze)
    head = det.events(path, "reset")[0]["parameters"]
    steps = records[0].steps
    held = [name for name in steps[0]["before"] if name.startswith("backbone")]
    assert held
    for name in held:
        assert all((step["after"][name] == steps[0]["before"][name]).all() for step in steps), name
    assert sorted(head) == sorted(n for n in steps[0]["before"] if "pred_" in n)
    check(records[0], lambda model: build_momentum(model), head, 3)


def build_momentum(model):
    return paddle.optimizer.Momentum(
        0.1, 0.9, model.parameters(), weight_decay=paddle.regularizer.L2Decay(0.0005)
    )


SEGMENTATION = {
    "groups": {
        "type": "Momentum", "weight_decay": 4.0e-5,
        "custom_cfg": [{"name": "backbone", "lr_mult": 0.1},
                       {"name": "head", "lr_mult": 3.0, "weight_decay_mult": 0.0}],
    },
    "groups of AdamW": {
        "type": "AdamW", "weight_decay": 0.01,
        "custom_cfg": [{"name": "backbone", "lr_mult": 0.1}, {"name": "aux", "lr_mult": 2.0}],
    },
    "clipped by norm": {
        "type": "Momentum", "grad_clip_cfg": {"name": "ClipGradByGlobalNorm", "clip_norm": 0.1}
    },
    "clipped one by one": {
        "type": "Momentum", "grad_clip_cfg": {"name": "ClipGradByNorm", "clip_norm": 0.05}
    },
    "clipped by value": {"type": "Adam", "grad_clip_cfg": {"name": "ClipGradByValue", "max": 0.01}},
}  # fmt: skip


def train_recorded(seg, path, optimizer=None, **arguments):
    """Train with PaddleSeg, recorded; returns the record and the last reset's parameters."""
    from paddleseg.cvlibs import SegBuilder

    made = []

    def recorded(builder):
        made.append(Recorder(builder.model, (optimizer or SegBuilder.optimizer.func)(builder)))
        return made[0].optimizer

    seg.train(path, optimizer=recorded, **arguments)
    return made[0], seg.events("reset")[-1]["parameters"]


@pytest.mark.parametrize("what", sorted(SEGMENTATION))
@pytest.mark.parametrize("block", [BLOCK, CYCLIC], ids=["schedule's rate", "head_lr"])
def test_paddleseg(seg, what, block):
    from paddleseg.cvlibs import manager

    arguments = copy.deepcopy(SEGMENTATION[what])
    path = seg.config(iters=6, rifle=block, optimizer=arguments)
    record, head = train_recorded(seg, path)

    def build(model):
        given = copy.deepcopy(SEGMENTATION[what])
        return manager.OPTIMIZERS[given.pop("type")](**given)(model, 0.1)

    check(record, build, head, 3)


def test_the_check_sees_state_that_is_kept(seg):
    path = seg.config(iters=6, rifle={**BLOCK, "optimizer_state": "keep"})
    record, head = train_recorded(seg, path)

    def build(model):
        return paddle.optimizer.Momentum(0.1, 0.9, model.parameters())

    with pytest.raises(AssertionError):
        check(record, build, head, 3)


OTHERS = {
    "Lamb": lambda p: paddle.optimizer.Lamb(0.05, parameters=p),
    "fused Adam": lambda p: paddle.optimizer.Adam(0.01, parameters=p, use_multi_tensor=True),
    "Adamax": lambda p: paddle.optimizer.Adamax(0.01, parameters=p),
    "Adagrad": lambda p: paddle.optimizer.Adagrad(
        0.01, parameters=p, initial_accumulator_value=0.3
    ),
    "Adadelta": lambda p: paddle.optimizer.Adadelta(0.5, parameters=p),
    "RMSProp": lambda p: paddle.optimizer.RMSProp(0.01, parameters=p, momentum=0.9),
}


@pytest.mark.parametrize("kind", sorted(OTHERS))
def test_optimizers_given_to_paddleseg(seg, kind):
    """Those its configs cannot name, Lamb of all things, in its own loop."""

    def build(model):
        return OTHERS[kind](model.parameters())

    path = seg.config(iters=6, rifle=BLOCK)
    record, head = train_recorded(seg, path, optimizer=lambda builder: build(builder.model))
    check(record, build, head, 3)


def test_layers_with_a_learning_rate_of_their_own(seg):
    """`ParamAttr(learning_rate=...)` of a model applies to the fresh head, too, and is kept."""

    def build(model):
        for name, parameter in model.named_parameters():
            parameter.optimize_attr["learning_rate"] = 5.0 if name == "aux.weight" else 0.5
            if name == "aux.bias":
                parameter.regularizer = paddle.regularizer.L2Decay(0.1)
        return paddle.optimizer.Momentum(0.05, parameters=model.parameters())

    path = seg.config(iters=6, rifle=CYCLIC)
    record, head = train_recorded(seg, path, optimizer=lambda builder: build(builder.model))
    check(record, build, head, 3)
    rates = {n: [s["factors"][n] for s in record.steps] for n in ("aux.weight", "head.3.weight")}
    assert all(a == pytest.approx(10 * b) for a, b in zip(*rates.values()))
    attributes = dict(record.model.named_parameters())["aux.weight"].optimize_attr
    assert attributes["learning_rate"] == 5.0


@pytest.mark.parametrize("kind", ["Momentum", "AdamW", "fused Adam", "Lamb", "RMSProp"])
def test_a_resume_right_at_the_reset(seg, kind):
    """The checkpoint's state is loaded, but the optimizer has not taken it up yet.

    The head then goes on as with a new optimizer, the rest as with one that loads the checkpoint.
    """
    makers = {
        "Momentum": lambda p: paddle.optimizer.Momentum(0.05, parameters=p),
        "AdamW": lambda p: paddle.optimizer.AdamW(0.01, parameters=p),
        **OTHERS,
    }

    def build(model):
        return makers[kind](model.parameters())

    path = seg.config(iters=6, rifle=BLOCK)
    arguments = {"optimizer": lambda builder: build(builder.model)}
    train_recorded(seg, path, save_interval=3, **arguments)
    checkpoint = seg.out / "iter_3"
    record, head = train_recorded(seg, path, resume_model=str(checkpoint), **arguments)

    def resumed(model):
        optimizer = build(model)
        optimizer.set_state_dict(paddle.load(str(checkpoint / "model.pdopt")))
        return optimizer

    assert len(record.steps) == 3
    fresh, loaded = replay(record, build), replay(record, resumed)
    for index, step in enumerate(record.steps):
        for name, value in step["after"].items():
            wanted = (fresh if name in head else loaded)[index][name]
            assert np.array_equal(value, wanted), (index, name)
    names = [name for name in record.steps[0]["after"] if name.endswith("weight")]
    assert any((fresh[0][name] != loaded[0][name]).any() for name in names)
