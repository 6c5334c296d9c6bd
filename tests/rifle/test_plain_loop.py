"""RIFLE in a loop of one's own, on a classifier of real handwritten digits."""

import re

import numpy as np
import paddle
import pytest
from conftest import ROOT
from digits import HEADS, Classifier, Digits, accuracy
from paddle import nn

from rifle_ext import RIFLE, RifleError

EPOCHS, PERIOD = 14, 4


def fit(head, make_rifle):
    """Train with a plain loop; the accuracy after each epoch and just after each reset."""
    paddle.seed(1)
    np.random.seed(1)
    model = Classifier(head())
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())
    rifle = make_rifle(model, optimizer)
    loader = paddle.io.DataLoader(Digits(held_out=False), batch_size=25, shuffle=True)
    after_epoch, after_reset = [], {}
    for epoch in range(EPOCHS):
        if rifle.apply(current_epoch=epoch) is not None:
            after_reset[epoch] = accuracy(model)
        for images, labels in loader:
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            optimizer.clear_grad()
        after_epoch.append(accuracy(model))
    return after_epoch, after_reset


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_accuracy_recovers_above_the_level_before_the_reset(kind):
    after_epoch, after_reset = fit(
        HEADS[kind],
        lambda model, optimizer: RIFLE(model.head, PERIOD, max_re_num=2, optimizer=optimizer),
    )
    assert sorted(after_reset) == [4, 8]
    assert max(after_reset.values()) < 0.5
    assert after_epoch[PERIOD - 1] > 0.7
    assert after_epoch[-1] > after_epoch[PERIOD - 1]


class Replacing:
    """What the published module does: it assigns new parameters, which nothing trains."""

    def __init__(self, layer):
        self.layer, self.new = layer, None

    def apply(self, current_epoch):
        if current_epoch not in (4, 8):
            return None
        old = self.layer.weight
        self.layer.weight = self.layer.create_parameter(shape=old.shape, dtype=old.dtype)
        self.layer.bias = self.layer.create_parameter(self.layer.bias.shape, is_bias=True)
        self.new = self.layer.weight.numpy()
        return True


def test_replaced_parameters_are_never_trained_again():
    made = []
    after_epoch, _ = fit(
        HEADS["Linear"], lambda model, _: made.append(Replacing(model.head)) or made[0]
    )
    assert np.array_equal(made[0].layer.weight.numpy(), made[0].new)
    assert after_epoch[PERIOD - 1] > 0.7
    assert after_epoch[-1] < after_epoch[PERIOD - 1] - 0.05


def test_several_layers_at_once_and_the_same_parameters():
    layers = [nn.Linear(3, 2), nn.Conv2D(3, 2, 1)]
    before = [(id(p), p.numpy()) for layer in layers for p in layer.parameters()]
    done = RIFLE(layers, re_init_epoch=1).apply(current_epoch=1)
    after = [(id(p), p.numpy()) for layer in layers for p in layer.parameters()]
    assert len(done.parameters) == 4
    assert [i for i, _ in before] == [i for i, _ in after]
    assert not np.array_equal(before[0][1], after[0][1])
    assert not np.array_equal(before[2][1], after[2][1])


def test_when_resets_are_due():
    rifle = RIFLE(nn.Linear(3, 2), re_init_epoch=5, max_re_num=3)
    done = [epoch for epoch in range(40) if rifle.apply(current_epoch=epoch)]
    assert done == [5, 10, 15]


def test_a_second_call_for_an_epoch_does_nothing():
    layer = nn.Linear(3, 2)
    rifle = RIFLE(layer, re_init_epoch=5)
    assert rifle.apply(current_epoch=5).index == 1
    layer.weight.set_value(layer.weight * 0)
    assert rifle.apply(current_epoch=5) is None
    assert (layer.weight.numpy() == 0).all()


def test_a_known_length_leaves_out_a_late_reset():
    rifle = RIFLE(nn.Linear(3, 2), re_init_epoch=5, epochs=14)
    assert [epoch for epoch in range(14) if rifle.apply(current_epoch=epoch)] == [5]


@pytest.mark.parametrize(
    ("epochs", "number", "resets"),
    [(20, 3, [5, 10, 15]), (20, None, [5, 10, 15]), (10, 2, [3, 6]), (2, 3, [1]), (1, 3, [])],
)
def test_without_an_interval_periods_are_equal_as_with_a_block(epochs, number, resets):
    rifle = RIFLE(nn.Linear(3, 2), re_init_epoch=None, max_re_num=number, epochs=epochs)
    assert [epoch for epoch in range(epochs) if rifle.apply(current_epoch=epoch)] == resets


def test_values_depend_on_seed_and_index_alone():
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    assert (
        RIFLE(first, 1).apply(current_epoch=1).digest
        == RIFLE(second, 1).apply(current_epoch=1).digest
        != RIFLE(second, 1, seed=1).apply(current_epoch=1).digest
    )


@pytest.mark.parametrize(
    "initializer",
    [nn.initializer.Constant(0.5), {"type": "Constant", "value": 0.5}],
)
def test_initializer_instance_or_as_in_the_block(initializer):
    layer = nn.Linear(3, 2)
    layer.bias.set_value(layer.bias + 1)
    RIFLE(layer, 1, weight_initializer=initializer).apply(current_epoch=1)
    assert (layer.weight.numpy() == 0.5).all()
    assert (layer.bias.numpy() == 0).all()


def test_the_row_for_padding_stays_zero():
    layer = nn.Embedding(6, 4, padding_idx=2)
    RIFLE(layer, 1, weight_initializer=nn.initializer.Constant(0.5)).apply(current_epoch=1)
    assert layer.weight.numpy()[:, 0].tolist() == [0.5, 0.5, 0.0, 0.5, 0.5, 0.5]


def test_original_values():
    layer = nn.Linear(3, 2)
    start = layer.weight.numpy()
    rifle = RIFLE(layer, 1, weight_initializer="original")
    layer.weight.set_value(layer.weight + 1)
    rifle.apply(current_epoch=1)
    assert np.array_equal(layer.weight.numpy(), start)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"layers": nn.ReLU()}, "the layers have no trainable parameters"),
        ({"layers": ["head"]}, "'head' is not a paddle.nn.Layer"),
        ({"layers": None}, "RIFLE(layers=...): None is not a paddle.nn.Layer"),
        ({"layers": [nn.Linear(1, 1), None]}, "RIFLE(layers=...): None is not a paddle.nn.Layer"),
        ({"layers": nn.Linear(1, 1), "epochs": 0}, "epochs = 0: allowed is a whole number, 1"),
        ({"layers": nn.Linear(1, 1), "epochs": True}, "epochs = True: allowed is a whole number"),
        (
            {"layers": nn.Linear(1, 1), "steps_per_epoch": 0},
            "steps_per_epoch = 0: allowed is a whole number, 1 or more",
        ),
        ({"layers": nn.Linear(1, 1), "steps_per_epoch": 2.5}, "2.5: allowed is a whole number"),
        (
            {"layers": nn.Linear(1, 1), "scale": 2, "weight_initializer": nn.initializer.Normal()},
            "scale is for what the constructor draws: give it or weight_initializer, not both",
        ),
        (
            {"layers": nn.Linear(1, 1), "re_init_epoch": None},
            "RIFLE(re_init_epoch=None) cuts the training into equal periods: give epochs, too",
        ),
        ({"layers": nn.Linear(1, 1), "re_init_epoch": 0}, "rifle.re_init_epoch = 0: allowed is"),
        (
            {"layers": nn.Linear(1, 1), "weight_initializer": "Xavier"},
            "no such initializer; did you mean XavierNormal?",
        ),
    ],
)
def test_wrong_arguments(arguments, said):
    with pytest.raises(RifleError) as caught:
        RIFLE(**arguments)
    assert said in str(caught.value)


@pytest.mark.parametrize("epoch", ["3", -1, 1.5, None])
def test_a_wrong_epoch(epoch):
    with pytest.raises(RifleError, match="current_epoch = .*: allowed is a whole number, 0"):
        RIFLE(nn.Linear(1, 1)).apply(epoch)


def test_numbers_of_numpy_are_numbers():
    rifle = RIFLE(nn.Linear(1, 1), epochs=np.int64(20))
    assert rifle.apply(np.int64(5)).index == 1


WRONG_OPTIMIZERS = {
    "LookAhead": lambda p: paddle.incubate.LookAhead(paddle.optimizer.SGD(0.1, p)),
    "LBFGS": lambda p: paddle.optimizer.LBFGS(0.1, parameters=p),
}


@pytest.mark.parametrize("kind", sorted(WRONG_OPTIMIZERS))
def test_optimizers_whose_state_for_a_layer_cannot_restart_are_refused(kind):
    layer = paddle.nn.Linear(2, 2)
    with pytest.raises(RifleError, match=f"the optimizer is a {kind}: it wraps another"):
        RIFLE(layer, optimizer=WRONG_OPTIMIZERS[kind](layer.parameters()))


def test_an_optimizer_of_ones_own_is_as_good_as_the_one_it_derives_from():
    class Mine(paddle.optimizer.AdamW):
        pass

    layer = paddle.nn.Linear(2, 2)
    RIFLE(layer, optimizer=Mine(0.1, parameters=layer.parameters()))


def test_lsuv_in_a_loop_of_ones_own():
    layer = nn.Linear(8, 5)
    rifle = RIFLE(layer, 1, weight_initializer="LSUV")
    rifle.apply(current_epoch=1)
    output = layer(paddle.rand([32, 8]))
    assert float(output.var(unbiased=True)) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("until", ["the next epoch", "the end"])
def test_lsuv_says_what_it_left_orthonormal(until, caplog):
    layer = nn.Linear(8, 5)
    rifle = RIFLE(layer, 1, max_re_num=1, weight_initializer="LSUV")
    rifle.apply(current_epoch=1)
    layer(paddle.zeros([4, 8]))
    assert not caplog.records
    rifle.apply(current_epoch=2) if until == "the next epoch" else rifle.end()
    (said,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert said.startswith(f"[RIFLE] {layer.full_name()}.weight: no batch came through")
    layer(paddle.rand([32, 8]))
    weight = layer.weight.numpy()
    assert np.allclose(weight.T @ weight, np.eye(5), atol=1e-5)


@pytest.mark.parametrize("page", ["README.md", "docs/migrating.md"])
def test_the_loops_of_the_pages_say_their_resets(page, capsys):
    text = (ROOT / page).read_text(encoding="utf-8")
    (loop,) = re.findall(r"^```python\n(from rifle_ext import RIFLE\n.*?)^```$", text, re.M | re.S)
    model = nn.Layer()
    model.fc = model.output_layer = nn.Linear(4, 3)
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())

    def train(*_):
        model.fc(paddle.ones([2, 4])).sum().backward()
        optimizer.step()
        optimizer.clear_grad()

    ran = {"model": model, "optimizer": optimizer, "paddle": paddle, "loader": [0] * 30}
    exec(loop, {**ran, "train": train, "train_one_epoch": train})
    wanted = [f"reset {number} after {5 * number} epochs" for number in (1, 2, 3)]
    assert capsys.readouterr().out.splitlines() == wanted
