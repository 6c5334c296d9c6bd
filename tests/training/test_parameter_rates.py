"""The peak of a learning rate schedule, whatever the scheduler."""

import numpy as np
import paddle
import pytest
from paddle.optimizer import lr

from rifle_ext.training.learning_rates import peak
from rifle_ext.training.parameter_rates import CyclicRate, ParameterRates

STEPS = 40
SCHEDULERS = {
    "number": (lambda: 0.1, 0.1, 0),
    "polynomial": (lambda: lr.PolynomialDecay(0.1, STEPS, 0.0), 0.1, 0),
    "cosine": (lambda: lr.CosineAnnealingDecay(0.1, STEPS), 0.1, 0),
    "warm-up": (lambda: lr.LinearWarmup(lr.CosineAnnealingDecay(0.1, 30), 10, 0.0, 0.1), 0.1, 10),
    "piecewise": (lambda: lr.PiecewiseDecay([2, 4, 30], [0.01, 0.05, 0.1, 0.01]), 0.1, 4),
    "noam": (lambda: lr.NoamDecay(256, 10, 1.0), 256**-0.5 * 10**-0.5, 10),
    "one cycle": (lambda: lr.OneCycleLR(0.1, STEPS), 0.1, 11),
    "cyclic": (lambda: lr.CyclicLR(0.001, 0.1, 8, 8), 0.1, 8),
    "exponential": (lambda: lr.ExponentialDecay(0.1, 0.9), 0.1, 0),
    "multiplicative": (lambda: lr.MultiplicativeDecay(0.1, lambda epoch: 0.9), 0.1, 0),
    "plateau": (lambda: lr.ReduceOnPlateau(0.1), 0.1, 0),
}


@pytest.mark.parametrize("kind", sorted(SCHEDULERS))
@pytest.mark.parametrize("done", [0, 7])
def test_peak(kind, done):
    make, highest, reached = SCHEDULERS[kind]
    rate = make()
    if isinstance(rate, lr.LRScheduler) and kind != "plateau":
        for _ in range(done):
            rate.step()
        now = rate()
        found = peak(rate, STEPS)
        assert rate() == now
    else:
        found = peak(rate, STEPS)
    assert found[0] == pytest.approx(highest, rel=1e-3)
    assert found[1] == reached


def test_the_rate_is_a_fraction_of_the_peak_and_of_a_warm_up():
    layer = paddle.nn.Linear(2, 2)
    scheduler = lr.LinearWarmup(lr.PolynomialDecay(0.1, 30, 0.0), 10, 0.0, 0.1)
    optimizer = paddle.optimizer.SGD(scheduler, parameters=layer.parameters())
    layer.weight.optimize_attr["learning_rate"] = 2.0
    head, cycle = ParameterRates([layer.weight]), CyclicRate(optimizer, *peak(scheduler, STEPS))
    for step in range(STEPS):
        head.multiply(cycle.factor(step, 0.5))
        rate = optimizer.get_lr() * layer.weight.optimize_attr["learning_rate"]
        wanted = 2.0 * 0.5 * (scheduler() if step < 10 else 0.1)
        assert rate == pytest.approx(wanted, abs=1e-9), step
        scheduler.step()
    head.restore()
    assert layer.weight.optimize_attr["learning_rate"] == 2.0
    assert np.isclose(layer.bias.optimize_attr["learning_rate"], 1.0)
