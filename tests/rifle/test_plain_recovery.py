"""The way back from a reset in a loop of one's own: `RIFLE.step`."""

import numpy as np
import paddle
import pytest
from digits import HEADS, Classifier, Digits, accuracy
from paddle import nn

from rifle_ext import RIFLE, RifleError


def step_by_step(kind, **options):
    """Accuracy before a reset after 6 epochs, after the announced steps, and what was announced."""
    paddle.seed(0)
    np.random.seed(0)
    model = Classifier(HEADS[kind]())
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())
    rifle = RIFLE(model.head, 6, max_re_num=1, optimizer=optimizer, **options)
    loader = paddle.io.DataLoader(Digits(held_out=False), batch_size=32, shuffle=True)
    before, done, since = 0.0, None, 0
    for epoch in range(9):
        before = accuracy(model) if epoch == 6 else before
        done = rifle.apply(current_epoch=epoch) or done
        for images, labels in loader:
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            optimizer.clear_grad()
            rifle.step()
            since += done is not None
            if done is not None and since == (done.expected or 38):
                return before, accuracy(model), done
    raise AssertionError("never back")


@pytest.mark.parametrize("kind", ["Linear", "Conv2D", "Conv2DTranspose"])
def test_accuracy_is_back_within_the_steps_that_were_announced(kind):
    before, after, done = step_by_step(kind)
    assert before > 0.8 and done.expected < 60
    assert after > before - 0.01
    # The control: at the rate and the size of before, the head is far from back by then.
    before, after, done = step_by_step(kind, scale=1, head_lr="none")
    assert done.expected is None
    assert after < before - 0.2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head_lr": "auto"}, "give the optimizer, too"),
        ({"head_lr": {"scale": 3}}, "give the optimizer, too"),
        ({"warm_up": 3}, "give the optimizer, too"),
        ({"head_lr": "cyclic"}, "a cycle of its own is for the toolkits' trainers"),
        ({"scale": 0}, "rifle.scale = 0: allowed is auto or a number above 0"),
    ],
)
def test_a_recovery_says_what_it_needs(options, said):
    with pytest.raises(RifleError) as error:
        RIFLE(nn.Linear(3, 2), **options)
    assert said in str(error.value)


def test_a_warm_up_needs_the_model():
    layer = nn.Linear(3, 2)
    optimizer = paddle.optimizer.Adam(parameters=layer.parameters())
    with pytest.raises(RifleError, match="give the model, too"):
        RIFLE(layer, optimizer=optimizer, warm_up=3)


def test_without_an_optimizer_nothing_is_said_of_the_way_back():
    assert RIFLE(nn.Linear(3, 2), re_init_epoch=1).apply(current_epoch=1).expected is None


def in_a_loop(epochs, steps_per_epoch=None, schedule=None, length=None):
    """The head's factor at each step of some epochs of 10 steps; resets after 5 and 10.

    The learning rate is constant, or falls at each step or epoch, as `schedule` says.
    """
    paddle.seed(0)
    layer = nn.Linear(64, 5)
    rate = 1e-3
    if schedule is not None:
        each = {"step": 10, "epoch": 1}[schedule]
        rate = paddle.optimizer.lr.PolynomialDecay(3e-3, 15 * each, end_lr=1e-3)
        rate.step(epoch=epochs[0] * each)  # as a checkpoint brings it there
    optimizer = paddle.optimizer.Adam(rate, parameters=layer.parameters())
    options = {"steps_per_epoch": steps_per_epoch, "epochs": length}
    rifle = RIFLE(layer, 5, 2, optimizer=optimizer, **options)
    seen = {}
    for epoch in epochs:
        rifle.apply(current_epoch=epoch)
        for step in range(10):
            seen[epoch, step] = layer.weight.optimize_attr["learning_rate"]
            rifle.step()
            if schedule == "step" or (schedule == "epoch" and step == 9):
                rate.step()
    rifle.end()
    return seen


@pytest.mark.parametrize("start", [5, 6, 9, 10, 13])
def test_a_loop_of_ones_own_goes_on_as_it_would_have(start):
    whole = in_a_loop(range(15))
    assert set(whole.values()) > {1.0}
    resumed = in_a_loop(range(start, 15), steps_per_epoch=10)
    assert resumed == {key: whole[key] for key in resumed}


@pytest.mark.parametrize("start", [10, 11])
def test_a_reset_that_was_left_out_has_no_way_back(start):
    whole = in_a_loop(range(13), length=13)
    assert {whole[epoch, step] for epoch in (10, 11, 12) for step in range(10)} == {1.0}
    resumed = in_a_loop(range(start, 13), steps_per_epoch=10, length=13)
    assert resumed == {key: whole[key] for key in resumed}


def test_a_loop_that_counts_no_steps_gets_its_rates_back(caplog):
    paddle.seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1D(64), nn.Linear(64, 5))
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())
    options = {"warm_up": 2, "ramp": 2, "model": model, "steps_per_epoch": 10}
    rifle = RIFLE(model[2], 2, 3, optimizer=optimizer, **options)
    seen = []
    for epoch in range(6):
        rifle.apply(current_epoch=epoch)
        rates = [model[n].weight.optimize_attr["learning_rate"] for n in (2, 0)]
        seen.append((rates[0] > 1, rates[1], model[1]._momentum))
    assert seen == [(False, 1, 0.9)] * 2 + [(True, 0, 1)] + [(False, 1, 0.9)] * 3
    (said,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert said.startswith("[RIFLE] no step was counted in the last epoch")


@pytest.mark.parametrize("schedule", ["step", "epoch"])
def test_it_goes_on_so_where_the_rate_falls(schedule):
    """The way back follows from the rate at the reset."""
    whole = in_a_loop(range(15), schedule=schedule)
    assert len(set(whole.values())) == 3  # 1, and those of both resets
    for start in (6, 11):
        resumed = in_a_loop(range(start, 15), steps_per_epoch=10, schedule=schedule)
        assert set(resumed.values()) > {1.0}
        assert resumed == {key: pytest.approx(whole[key], rel=1e-6) for key in resumed}


class TwoHeads(nn.Layer):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1D(8))
        self.first, self.second = nn.Linear(8, 3), nn.Linear(8, 2)


def test_two_heads_of_one_model_recover_at_the_same_time():
    model = TwoHeads()
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())
    options = {"optimizer": optimizer, "model": model, "warm_up": 2, "steps_per_epoch": 5}
    both = [RIFLE(head, 1, 1, **options) for head in (model.first, model.second)]
    seen = []
    for epoch in range(2):
        for rifle in both:
            rifle.apply(current_epoch=epoch)
        for _ in range(5):
            seen.append(model.backbone[1]._momentum)
            for rifle in both:
                rifle.step()
    assert seen == [0.9] * 5 + [1.0] * 2 + [0.9] * 3


def test_an_interrupted_loop_of_two_heads_leaves_nothing_to_the_next_one():
    model = TwoHeads()
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())
    options = {"optimizer": optimizer, "model": model, "warm_up": 2, "steps_per_epoch": 5}
    both = [RIFLE(head, 1, 1, **options) for head in (model.first, model.second)]
    for rifle in both:
        rifle.apply(current_epoch=1)
    RIFLE(model.first, 1, 1, **options)
    assert model.backbone[1]._momentum == 0.9
    assert {p.optimize_attr["learning_rate"] for p in model.parameters()} == {1.0}
