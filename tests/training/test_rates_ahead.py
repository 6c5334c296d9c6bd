"""What is known of a training's learning rates before it."""

import threading

import numpy as np
import paddle
import pytest
from paddle.optimizer import lr

from rifle_ext.training.learning_rates import foreseen, full_rate_steps_left, peak

STEPS = 5000
SCHEDULES = {
    "number": lambda: 0.01,
    "polynomial": lambda: lr.PolynomialDecay(0.01, STEPS, end_lr=0, power=0.9),
    "cosine": lambda: lr.CosineAnnealingDecay(0.02, STEPS),
    "warm-up": lambda: lr.LinearWarmup(lr.CosineAnnealingDecay(0.02, STEPS), 500, 0, 0.02),
    "piecewise": lambda: lr.PiecewiseDecay([1000, 3000], [0.1, 0.01, 0.001]),
    "one cycle": lambda: lr.OneCycleLR(0.1, STEPS),
    "cyclic": lambda: lr.CyclicLR(0.001, 0.1, 400),
    "noam": lambda: lr.NoamDecay(64, 100, 1.0),
    "plateau": lambda: lr.ReduceOnPlateau(0.3),
    "linear": lambda: lr.LinearLR(0.1, STEPS, 1.0, 0.01),
    "warm-up to linear": lambda: lr.LinearWarmup(lr.LinearLR(0.1, STEPS, 1.0, 0.01), 50, 0, 0.1),
    "warm restarts": lambda: lr.CosineAnnealingWarmRestarts(0.1, 700, 2),
    "a piece for each step": lambda: lr.PiecewiseDecay(
        list(range(1, STEPS)), [0.1 * (1 - i / STEPS) for i in range(STEPS)]
    ),
}


def rates(schedule):
    """The rate of every step, by running the scheduler."""
    if not isinstance(schedule, lr.LRScheduler):
        return np.full(STEPS, schedule)
    if isinstance(schedule, lr.ReduceOnPlateau):
        return np.full(STEPS, 0.3)
    seen = []
    for _ in range(STEPS):
        seen.append(schedule())
        schedule.step()
    return np.array(seen)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_steps_left_at_the_peak_rate(kind):
    run = rates(SCHEDULES[kind]())
    left = full_rate_steps_left(foreseen(SCHEDULES[kind](), STEPS))
    for step in (0, 1, 499, 1000, 2503, 4000, 4999, 5000):
        assert left(step) == pytest.approx(run[step:].sum() / run.max(), rel=1e-9), step
    assert left(STEPS) == 0


class NoEpoch(lr.LRScheduler):
    """A user's own, which can only go on by one step."""

    def get_lr(self):
        """Any."""
        return self.base_lr / (1 + self.last_epoch)

    def step(self):
        """Go on."""
        super().step()


class NoCopy(lr.PolynomialDecay):
    """One that holds what cannot be copied."""

    def __init__(self):
        self.lock = threading.Lock()
        super().__init__(0.1, STEPS)


@pytest.mark.parametrize("kind", [NoCopy, lambda: NoEpoch(0.1)])
def test_what_cannot_be_run_ahead_counts_as_constant(kind):
    left = full_rate_steps_left(foreseen(kind(), STEPS))
    assert [left(step) for step in (0, 1000, STEPS)] == pytest.approx([STEPS, STEPS - 1000, 0])


def test_a_talkative_scheduler_is_silent(capsys):
    foreseen(lr.PolynomialDecay(0.1, STEPS, verbose=True), STEPS)
    assert capsys.readouterr().out.count("\n") <= 1  # its own first line


def test_a_training_without_steps():
    assert full_rate_steps_left(foreseen(0.1, 0))(0) == 0.0


def test_the_scheduler_itself_does_not_move():
    schedule = SCHEDULES["warm-up"]()
    for _ in range(30):
        schedule.step()
    before = schedule.last_epoch, schedule(), schedule.state_dict()
    left = full_rate_steps_left(foreseen(schedule, STEPS))
    assert left(0) == full_rate_steps_left(foreseen(SCHEDULES["warm-up"](), STEPS))(0)
    assert (schedule.last_epoch, schedule(), schedule.state_dict()) == before


def test_no_learning_at_all():
    assert full_rate_steps_left(foreseen(0.0, 10))(3) == 0.0


@pytest.mark.parametrize("kind", SCHEDULES)
def test_peak(kind):
    run = rates(SCHEDULES[kind]())
    highest, step = peak(SCHEDULES[kind](), STEPS)
    assert highest == pytest.approx(run.max())
    assert run[step] == pytest.approx(run.max())
    assert step == int(np.argmax(np.isclose(run, run.max(), rtol=1e-12)))


def test_it_is_asked_of_the_optimizer_as_the_toolkits_set_it_up():
    layer = paddle.nn.Linear(2, 2)
    optimizer = paddle.optimizer.Adam(SCHEDULES["cosine"](), parameters=layer.parameters())
    rates = foreseen(optimizer._learning_rate, STEPS)
    assert full_rate_steps_left(rates)(0) == pytest.approx(2500, rel=0.01)
