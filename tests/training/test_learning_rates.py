"""`head_lr: cyclic` over every learning rate schedule that the toolkits' configs can name.

Paddle's LambdaDecay and MultiplicativeDecay take a Python function and ReduceOnPlateau a metric, so
no config can ask for them; see test_parameter_rates.py.
"""

import math

import numpy as np
import paddle
import pytest
from seg_runs import OUTPUTS

pytestmark = pytest.mark.timeout(120)

STEPS, PERIOD = 12, 4
RIFLE = {"re_init_iter": PERIOD, "max_re_num": 2, "keep_last": 0, "head_lr": "cyclic"}
WARM_UP = {"warmup_iters": 5, "warmup_start_lr": 0.001}
POLYNOMIAL = {"type": "PolynomialDecay", "learning_rate": 0.05, "power": 0.9, "end_lr": 0.0}

PADDLESEG = {
    "PolynomialDecay": POLYNOMIAL,
    "PolynomialDecay, warm-up": {**POLYNOMIAL, **WARM_UP},
    "ExponentialDecay": {"learning_rate": 0.05, "gamma": 0.8},
    "NaturalExpDecay": {"learning_rate": 0.05, "gamma": 0.1},
    "InverseTimeDecay": {"learning_rate": 0.05, "gamma": 0.3},
    "StepDecay": {"learning_rate": 0.05, "step_size": 5, "gamma": 0.1},
    "StepDecay, warm-up": {"learning_rate": 0.05, "step_size": 3, **WARM_UP},
    "MultiStepDecay": {"learning_rate": 0.05, "milestones": [3, 9]},
    "PiecewiseDecay": {"boundaries": [3, 9], "values": [0.01, 0.05, 0.002]},
    "CosineAnnealingDecay": {"learning_rate": 0.05, "T_max": STEPS},
    "CosineAnnealingDecay, warm-up": {"learning_rate": 0.05, "T_max": 7, **WARM_UP},
    "CosineAnnealingWarmRestarts": {"learning_rate": 0.05, "T_0": 5},
    "NoamDecay": {"d_model": 256, "warmup_steps": 6, "learning_rate": 0.1},
    "LinearLR": {"learning_rate": 0.05, "total_steps": 6},
    "OneCycleLR": {"max_learning_rate": 0.05, "total_steps": STEPS},
    "CyclicLR": {"base_learning_rate": 0.001, "max_learning_rate": 0.05, "step_size_up": 3},
}


def check(rates, watch, head, backbone):
    """The backbone has the schedule's `rates`; the head the cosine of each period from their peak.

    Before the peak is reached, that is in a warm-up, the schedule's rate stands in for it.
    """
    assert watch.steps == list(range(STEPS))
    peak = max(rates)
    assert peak > 0
    for step, rate in enumerate(rates):
        now = watch.rate[step]
        assert now == pytest.approx(rate, rel=1e-9), step
        assert watch.rates[step][backbone] == 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * (step % PERIOD) / PERIOD))
        wanted = cosine * (rate if step < rates.index(peak) else peak)
        for name in head:
            assert now * watch.rates[step][name] == pytest.approx(wanted, rel=1e-6), step


RECOVERY = {
    "re_init_iter": PERIOD, "max_re_num": 2, "keep_last": 0, "warm_up": 1, "ramp": 1,
    "head_lr": {"scale": 3, "iterations": 2},
}  # fmt: skip


def check_recovery(rates, watch, head, backbone):
    """Head and rest have the schedule's `rates` times the factors of the recovery."""
    assert watch.steps == list(range(STEPS))
    for step, rate in enumerate(rates):
        since = step % PERIOD if step >= PERIOD else STEPS
        assert watch.rate[step] == pytest.approx(rate, rel=1e-9), step
        assert watch.rates[step][backbone] == {0: 0.0, 1: 0.5}.get(since, 1.0), step
        for name in head:
            assert watch.rates[step][name] == (3.0 if since < 2 else 1.0), step


def steps_of(scheduler):
    """What a schedule gives at each step of a training, all by itself."""
    rates = []
    for _ in range(STEPS):
        rates.append(scheduler())
        scheduler.step()
    return rates


@pytest.mark.parametrize("what", sorted(PADDLESEG))
def test_paddleseg(seg, what):
    from paddleseg.cvlibs import Config, SegBuilder

    schedule = {"type": what.split(",")[0], **PADDLESEG[what]}
    for block, checked in ((RIFLE, check), (RECOVERY, check_recovery)):
        path = seg.config(iters=STEPS, rifle=block, lr_scheduler=schedule)
        rates = steps_of(SegBuilder(Config(str(path))).lr_scheduler)
        assert len(set(rates)) > 1
        _, _, after = seg.train(path)
        checked(rates, after, OUTPUTS, "neck.weight")


def test_it_goes_on_after_a_resume(seg):
    path = seg.config(iters=STEPS, rifle=RIFLE, lr_scheduler={**POLYNOMIAL, **WARM_UP})
    _, _, whole = seg.train(path, save_interval=6)
    _, _, resumed = seg.train(path, resume_model=str(seg.out / "iter_6"))
    assert resumed.steps == list(range(6, STEPS))
    for step in resumed.steps:
        assert resumed.rate[step] == pytest.approx(whole.rate[step], rel=1e-9)
        for name, factor in resumed.rates[step].items():
            assert factor == pytest.approx(whole.rates[step][name], rel=1e-9), (step, name)


WARM = {"name": "LinearWarmup", "start_factor": 0.1, "steps": 5}
PADDLEDETECTION = {
    "CosineDecay": [{"name": "CosineDecay", "max_epochs": 3, "use_warmup": False}],
    "CosineDecay, warm-up": [{"name": "CosineDecay", "max_epochs": 3}, WARM],
    "CosineDecay, last plateau": [
        {"name": "CosineDecay", "max_epochs": 3, "min_lr_ratio": 0.1, "last_plateau_epochs": 1},
        WARM,
    ],
    "CosineDecay, exponential warm-up": [
        {"name": "CosineDecay", "max_epochs": 3},
        {"name": "ExpWarmup", "steps": 5, "power": 2},
    ],
    "PiecewiseDecay": [{"name": "PiecewiseDecay", "milestones": [1, 2], "use_warmup": False}],
    "PiecewiseDecay, warm-up": [{"name": "PiecewiseDecay", "gamma": 0.1, "milestones": [2]}, WARM],
    "PiecewiseDecay, values": [
        {"name": "PiecewiseDecay", "milestones": [1, 2], "values": [0.01, 0.05, 0.002],
         "use_warmup": False}
    ],
}  # fmt: skip


BLOCKS = {"cyclic": (RIFLE, check), "recovery": (RECOVERY, check_recovery)}


@pytest.mark.parametrize(
    ("what", "block"),
    [(what, "cyclic") for what in sorted(PADDLEDETECTION)]
    + [(what, "recovery") for what in ("CosineDecay, warm-up", "PiecewiseDecay, values")],
)
def test_paddledetection(det, what, block):
    from ppdet.optimizer import LearningRate

    rifle, checked = BLOCKS[block]
    rule = {"base_lr": 0.01, "schedulers": PADDLEDETECTION[what]}
    path = det.config(epoch=3, snapshot_epoch=9, use_ema=False, rifle=rifle, LearningRate=rule)
    rates = steps_of(LearningRate(**rule)(step_per_epoch=4))
    assert len(set(rates)) > 1
    _, _, after = det.train(path)
    head = [name for name in after.rates[0] if ".pred_" in name]
    assert head
    checked(rates, after, head, "backbone.stem.conv1.conv.weight")


def test_it_is_what_the_optimizer_uses(seg):
    """One step of plain SGD after a reset moves the head by exactly its own rate times gradient."""
    from replay import Recorder

    records = []

    def recorded(builder):
        optimizer = paddle.optimizer.SGD(builder.lr_scheduler, builder.model.parameters())
        records.append(Recorder(builder.model, optimizer))
        return optimizer

    seg.train(seg.config(iters=STEPS, rifle=RIFLE), optimizer=recorded)
    for index in range(PERIOD, STEPS):
        step = records[0].steps[index]
        cosine = 0.5 * (1 + math.cos(math.pi * (index % PERIOD) / PERIOD))
        for name, gradient in step["gradients"].items():
            rate = 0.05 * cosine if name in OUTPUTS else step["rate"]
            moved = step["before"][name] - step["after"][name]
            np.testing.assert_allclose(moved, rate * gradient, rtol=1e-3, atol=1e-7)
