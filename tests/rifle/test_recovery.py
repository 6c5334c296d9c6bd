"""The way back from a reset: its formula, and what trainings make of it at every step."""

import math

import numpy as np
import pytest
from seg_runs import same

from rifle_ext import cli
from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.recovery import (
    AMPLY,
    FASTEST,
    QUICK,
    Factors,
    Pace,
    Recovery,
    at,
    factors,
    recoveries,
)
from rifle_ext.methods.rifle.schedule import make_schedule

pytestmark = pytest.mark.timeout(120)


def test_an_adaptive_optimizer_moves_by_the_rate():
    pace = Pace(0.25)
    assert pace.steps(1e-3) == pytest.approx(250)
    assert pace.scale(1e-3) == FASTEST == 10
    assert pace.need(1e-3) == pytest.approx(AMPLY * 25)
    assert pace.scale(0.25 / QUICK / 3) == pytest.approx(3)
    assert pace.steps(1.0) == QUICK


def test_a_small_or_a_zero_head_needs_no_higher_rate():
    for distance in (0.0, 0.01):
        assert Pace(distance).scale(4e-3) == 1
        assert Pace(distance).steps(4e-3) == QUICK


def test_momentum_follows_the_gradient():
    pace = Pace(0.25, momentum=0.9)
    assert pace.scale(1e-4) == 1
    assert pace.steps(0.01) == pytest.approx(50)  # the paper's rate
    assert Pace(0.25, momentum=0.0).steps(0.01) == pytest.approx(500)


def test_no_learning_no_way_back():
    assert Pace(0.25).steps(0.0) == math.inf
    assert Pace(0.25).scale(0.0) == 1


def ways(block, rates, pace, total=400):
    parsed = parse_block(block)
    return recoveries(parsed, make_schedule(parsed, total, 10), rates, pace)


def test_of_a_training():
    (way,) = ways({"re_init_iter": 200, "max_re_num": 1}, [1e-3] * 400, Pace(0.25))
    assert way == Recovery(200, 400, scale=10, iterations=50, expected=25, enough=True)
    (way,) = ways({"re_init_iter": 200, "max_re_num": 1}, [1e-2] * 400, Pace(0.01))
    assert way == Recovery(200, 400, scale=1, iterations=0, expected=20, enough=True)
    own = {"head_lr": {"scale": 5, "iterations": 30}}
    (way,) = ways({"re_init_iter": 200, "max_re_num": 1, **own}, [1e-3] * 400, Pace(0.25))
    assert (way.scale, way.iterations) == (5, 30)
    assert way.expected == 30 + (250 - 5 * 30)  # the rest at the rate itself
    assert not way.enough


def test_a_falling_rate_raises_the_scale_and_the_way():
    rates = [2e-3 * (1 - step / 400) for step in range(400)]
    first, second = ways({"max_re_num": 2}, rates, Pace(0.02))
    assert 1 == first.scale < second.scale < 10
    assert second.scale == pytest.approx(0.02 / (rates[266] * QUICK))
    assert first.enough and second.enough
    (late,) = ways({"re_init_iter": 395, "max_re_num": 1, "keep_last": 0}, rates, Pace(0.02))
    assert late.expected is None and not late.enough


WAY = Recovery(100, 200, scale=4.0, iterations=30, expected=25, enough=True)


def test_factors():
    assert factors(99, None) == Factors(1.0, 1.0, still=False)
    assert factors(100, WAY) == factors(129, WAY) == Factors(4.0)
    assert factors(130, WAY) == Factors()
    warm = [factors(step, WAY, warm_up=3, ramp=4) for step in range(100, 109)]
    assert [f.rest for f in warm] == pytest.approx([0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1])
    assert [f.still for f in warm] == [True] * 3 + [False] * 6
    assert {f.head for f in warm} == {4.0}


def test_the_last_reset_counts():
    later = Recovery(200, 300, scale=2.0, iterations=5, expected=5, enough=True)
    assert at(99, [WAY, later]) is None
    assert at(100, [WAY, later]) is at(199, [WAY, later]) is WAY
    assert at(200, [WAY, later]) is at(900, [WAY, later]) is later


BLOCK = {
    "re_init_iter": 4, "max_re_num": 2, "keep_last": 0, "warm_up": 2, "ramp": 1,
    "head_lr": {"scale": 3, "iterations": 3},
}  # fmt: skip
HEAD = {step: 3.0 if step in (4, 5, 6, 8, 9, 10) else 1.0 for step in range(12)}
LESS = {4: 0.0, 5: 0.0, 6: 0.5, 8: 0.0, 9: 0.0, 10: 0.5}
REST = {step: LESS.get(step, 1.0) for step in range(12)}
STATISTICS = "backbone.1._mean"


def check(watch, head, rest, steps, own=1.0):
    for step in steps:
        assert watch.rates[step][head] == pytest.approx(own * HEAD[step]), step
        assert watch.rates[step][rest] == pytest.approx(REST[step]), step


# The mixed-precision loops: on a CPU Paddle's casts and its scaler are off, and warn of it.
MIXED = pytest.mark.filterwarnings("ignore:.*can only be enabled")


@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [("SGD", "fp32"), ("AdamW", "fp32"), pytest.param("AdamW", "fp16", marks=MIXED)],
)
def test_paddleseg(seg, optimizer, precision):
    path = seg.config(rifle=BLOCK, optimizer={"type": optimizer, "weight_decay": 0.05})
    model, _, after = seg.train(path, precision=precision)
    check(after, "head.3.weight", "neck.weight", range(12))
    others = after.others
    for step in (4, 5, 8, 9):  # nothing but the head moves, running statistics included
        moved = {n for n, v in others[step].items() if not np.array_equal(v, others[step + 1][n])}
        assert moved == set(), step
        heads = after.heads
        assert not same(heads[step], heads[step + 1])
    for step in (3, 6, 7, 10):
        assert not np.array_equal(others[step][STATISTICS], others[step + 1][STATISTICS])
        assert not np.array_equal(others[step]["neck.weight"], others[step + 1]["neck.weight"])
    assert all(p.optimize_attr["learning_rate"] == 1.0 for p in model.parameters())
    assert model.backbone[1]._momentum == 0.9


def test_paddleseg_resumed_in_the_middle_of_a_recovery(seg):
    path = seg.config(rifle=BLOCK)
    _, _, uninterrupted = seg.train(path, save_interval=1, keep_checkpoint_max=12)
    for resumed_at in (5, 6, 10):
        folder = str(seg.out / f"iter_{resumed_at}")
        _, _, after = seg.train(path, resume_model=folder, out=seg.folder / f"r{resumed_at}")
        assert after.steps[0] == resumed_at
        check(after, "head.3.weight", "neck.weight", range(resumed_at, 12))
        first = resumed_at
        assert same(after.others[first], uninterrupted.others[first])
        if REST[first] == 0:
            assert same(after.others[first + 1], after.others[first])


@pytest.mark.parametrize(
    ("ema", "mixed"), [(False, False), (True, False), pytest.param(True, True, marks=MIXED)]
)
def test_paddledetection(det, ema, mixed):
    path = det.config(epoch=3, rifle=BLOCK, use_ema=ema, amp=mixed, amp_level="O1")
    trainer, _, after = det.train(path)
    assert after.steps == list(range(12))
    head, rest = "yolo_head.pred_cls.0.weight", "neck.fpn_stages.0.0.conv1.conv.weight"
    rest = rest if rest in after.rates[0] else next(n for n in after.rates[0] if "neck" in n)
    check(after, head, rest, range(12))
    reset = set(det.events(path, "reset")[0]["parameters"])
    values = after.values
    for step in (4, 5, 8, 9):
        moved = {n for n, v in values[step].items() if not np.array_equal(v, values[step + 1][n])}
        assert moved and moved <= reset
    statistics = [n for n in values[0] if n.endswith("._mean") and n.startswith("backbone")]
    assert any(not np.array_equal(values[6][n], values[7][n]) for n in statistics)


def test_factors_of_the_users_own_still_multiply(seg):
    import paddle

    def optimizer(builder):
        weight = builder.model.head[3].weight
        weight.optimize_attr["learning_rate"] = 0.5
        return paddle.optimizer.SGD(0.01, parameters=builder.model.parameters())

    _, _, after = seg.train(seg.config(rifle=BLOCK), optimizer=optimizer)
    check(after, "head.3.weight", "neck.weight", range(12), own=0.5)


def test_the_plan_and_the_log_say_the_way_back(seg, said):
    path = seg.config(
        iters=60, rifle={"re_init_iter": 30, "max_re_num": 1},
        optimizer={"type": "AdamW"}, lr_scheduler={"type": "StepDecay", "learning_rate": 0.001,
                                                   "step_size": 100},
    )  # fmt: skip
    seg.train(path)
    (plan,) = seg.events("plan")
    (way,) = plan["recovery"]
    # TinySeg draws its head with a standard deviation of 0.3: 300 steps at 0.001.
    assert way["step"] == 30 and way["scale"] == 10
    assert way["iterations"] == 8  # a quarter of the period
    assert way["expected"] is None or way["expected"] > 8
    assert "the reset leaves too little time: after iteration 30 a fresh head" in said()


@pytest.mark.parametrize(
    ("warm_up", "ramp", "warned"),
    [
        (8, 0, "rifle.warm_up = 8: after iteration 4 nothing but the output layers learns in the 8 "
               "iterations that follow"),
        (5, 3, "rifle.warm_up = 5, rifle.ramp = 3: after iteration 4 the learning rate of "
               "everything else is not back within the 8 iterations that follow"),
        (5, 2, ""),
    ],
)  # fmt: skip
def test_what_stands_still_until_the_end_is_warned_of(seg, said, capsys, warm_up, ramp, warned):
    block = {"re_init_iter": 4, "max_re_num": 1, "keep_last": 0, "warm_up": warm_up, "ramp": ramp}
    _, _, after = seg.train(seg.config(rifle=block))
    full = after.rates[11]["neck.weight"] == 1
    assert full == (not warned)
    (planned,) = seg.events("plan")
    assert [w for w in planned["warnings"] if "rifle.warm_up" in w] == (
        [f"{warned}; set less"] if warned else []
    )
    alone = f"the head learns alone for {warm_up} iterations"
    back = f", the rest is back after {ramp} more" if ramp else ""
    assert f"[RIFLE] after each reset {alone}{back}\n" in said()
    assert cli.main(["plan", "--toolkit", "seg", "-c", str(seg.folder / "config.yml")]) == 0
    assert f"; {alone}{back}" in " ".join(capsys.readouterr().out.split())


def test_a_ramp_alone_is_said(seg, said):
    seg.train(seg.config(rifle={"re_init_iter": 4, "max_re_num": 1, "keep_last": 0, "ramp": 3}))
    assert "[RIFLE] after each reset the rest is back after 3 iterations\n" in said()


def test_the_time_that_a_head_should_have_is_said(seg, capsys):
    """Back in 80 iterations, where four times as many are wanted: 320."""
    momentum = {"type": "SGD", "momentum": 0.0}
    rate = {"type": "StepDecay", "learning_rate": 1 / 16, "step_size": 1000}
    for iters, short in ((300, True), (520, False)):
        path = seg.config(
            iters=iters, optimizer=momentum, lr_scheduler=rate,
            rifle={"re_init_iter": 200, "max_re_num": 1, "keep_last": 0},
        )  # fmt: skip
        assert cli.main(["plan", "--toolkit", "seg", "-c", str(path)]) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert "expected back after 80" in out
        said = (
            "the reset leaves too little time: after iteration 200 a fresh head is expected back "
            "after 80 iterations, and should have 4 times as many, 320, where 100 follow; train "
        )
        assert (said in out) == ("too little time" in out) == short


def test_a_static_graph_cannot_be_held_still(seg):
    path = seg.config(rifle={"re_init_iter": 4, "warm_up": 2})
    with pytest.raises(RifleError, match="rifle.warm_up = 2: running statistics cannot be held"):
        seg.train(path, to_static_training=True)


def noting(seen):
    def note(layer, inputs, made):
        if layer.training:
            seen.append(made.numpy())

    return note


class Outputs:
    """What the output layers of a model give in training mode, step by step."""

    def __init__(self):
        self.of = {"head.3": [], "aux": []}

    def watch(self, builder):
        for name, seen in self.of.items():
            layer = dict(builder.model.named_sublayers())[name]
            layer.register_forward_post_hook(noting(seen))
        return builder.optimizer


def test_lsuv_scales_the_fresh_weights_on_the_batch_that_follows(seg):
    """Mishkin and Matas: orthonormal, then unit (or `variance`) output variance."""
    for variance in (1.0, 0.25):
        block = {"re_init_iter": 4, "max_re_num": 1, "keep_last": 0,
                 "weight_initializer": {"type": "LSUV", "variance": variance}}  # fmt: skip
        seen = Outputs()
        out = seg.folder / str(variance)
        _, _, after = seg.train(seg.config(rifle=block), optimizer=seen.watch, out=out)
        made = {name: outs[-8] for name, outs in seen.of.items()}  # of the 5th of 12 steps
        for name, output in made.items():
            assert output.var() == pytest.approx(variance, rel=1e-3), name
        scaled = {e["parameter"]: e for e in seg.events("calibrated", out=out)}
        assert set(scaled) == {"head.3.weight", "aux.weight"}
        weight = after.heads[4]["head.3.weight"].reshape(6, 8)
        factor = scaled["head.3.weight"]["factor"]
        assert np.allclose(weight @ weight.T, np.eye(6), atol=1e-5)  # as it was written
        assert factor > 0 and factor != 1
        biases = after.heads[4]["head.3.bias"]
        assert np.allclose(biases, -4.6)


def test_lsuv_of_a_batch_that_is_all_alike_is_left_out_and_said(seg, said):
    block = {"re_init_iter": 4, "max_re_num": 1, "keep_last": 0, "weight_initializer": "LSUV"}

    def empty(builder):
        def nothing(layer, inputs):  # into the auxiliary head
            return tuple(0.0 * tensor for tensor in inputs)

        builder.model.aux.register_forward_pre_hook(nothing)
        return builder.optimizer

    seg.train(seg.config(rifle=block), optimizer=empty)
    (scaled,) = seg.events("calibrated")
    assert scaled["parameter"] == "head.3.weight"
    assert "aux.weight: no batch came through" in said()


def test_lsuv_in_paddledetection_reaches_the_average(det):
    block = {"re_init_iter": 4, "max_re_num": 1, "weight_initializer": "LSUV"}
    path = det.config(epoch=2, rifle=block, use_ema=True)
    det.train(path)
    scaled = det.events(path, "calibrated")
    assert {e["parameter"] for e in scaled} >= {f"yolo_head.pred_cls.{n}.weight" for n in range(3)}
    assert {e["step"] for e in scaled} == {4}


def test_moments_that_contain_the_rate_cannot_be_held_still(seg):
    import paddle

    def optimizer(builder):
        parameters = builder.model.parameters()
        return paddle.optimizer.RMSProp(0.01, momentum=0.9, parameters=parameters)

    with pytest.raises(RifleError, match="rifle.warm_up = 2: with this RMSProp what is"):
        seg.train(seg.config(rifle=BLOCK), optimizer=optimizer)


def test_a_head_whose_learning_rate_is_zero_is_refused(seg):
    import paddle

    def optimizer(builder):
        builder.model.head[3].weight.optimize_attr["learning_rate"] = 0.0
        return paddle.optimizer.SGD(0.01, parameters=builder.model.parameters())

    with pytest.raises(RifleError, match="the learning rate of head.3.weight is 0"):
        seg.train(seg.config(rifle={"re_init_iter": 4}), optimizer=optimizer)
