"""RIFLECallback in paddle.Model.fit, on a classifier of real handwritten digits."""

import numpy as np
import paddle
import pytest
from digits import HEADS, Classifier, Digits, accuracy
from paddle import nn

from rifle_ext import RIFLECallback, RifleError

EPOCHS, PERIOD = 14, 4


class Progress(paddle.callbacks.Callback):
    """Accuracy at the end of each epoch and at the start of the next one, after RIFLE's turn."""

    def __init__(self):
        super().__init__()
        self.end, self.begin = {}, {}

    def on_epoch_begin(self, epoch, logs=None):
        self.begin[epoch] = accuracy(self.model.network)

    def on_epoch_end(self, epoch, logs=None):
        self.end[epoch] = accuracy(self.model.network)


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_callback_of_hapi(kind):
    paddle.seed(1)
    np.random.seed(1)
    network = Classifier(HEADS[kind]())
    model = paddle.Model(network)
    optimizer = paddle.optimizer.Adam(1e-3, parameters=network.parameters())
    model.prepare(optimizer, nn.CrossEntropyLoss())
    progress = Progress()
    callback = RIFLECallback(network.head, re_init_epoch=PERIOD, max_re_num=3)
    model.fit(
        Digits(held_out=False),
        batch_size=25,
        epochs=EPOCHS,
        verbose=0,
        callbacks=[callback, progress],
    )
    assert callback.rifle.optimizer is optimizer
    for epoch in (4, 8):
        assert progress.begin[epoch] < 0.5 < progress.end[epoch - 1]
    assert all(progress.begin[e] == progress.end[e - 1] for e in range(1, EPOCHS) if e % PERIOD)
    assert progress.end[EPOCHS - 1] > progress.end[PERIOD - 1] > 0.7


def test_callback_leaves_out_a_late_reset():
    network = Classifier(HEADS["Linear"]())
    model = paddle.Model(network)
    model.prepare(
        paddle.optimizer.Adam(1e-3, parameters=network.parameters()), nn.CrossEntropyLoss()
    )
    progress = Progress()
    model.fit(
        Digits(held_out=False),
        batch_size=300,
        epochs=7,
        verbose=0,
        callbacks=[RIFLECallback(network.head, re_init_epoch=4), progress],
    )
    assert all(progress.begin[epoch] == progress.end[epoch - 1] for epoch in range(1, 7))


def test_the_callback_cuts_the_epochs_of_the_fit_into_equal_periods():
    network, model = prepared()
    callback, heads = RIFLECallback(network.head, re_init_epoch=None, max_re_num=2), []

    class Watch(paddle.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            heads.append(network.head.weight.numpy())

        def on_epoch_begin(self, epoch, logs=None):
            heads.append(network.head.weight.numpy())

    model.fit(Digits(held_out=False), epochs=6, batch_size=300, verbose=0,
              callbacks=[callback, Watch()])  # fmt: skip
    changed = [not np.array_equal(heads[2 * e - 1], heads[2 * e]) for e in range(1, 6)]
    assert changed == [False, True, False, True, False]


def test_the_callback_recovers_too():
    network, model = prepared()
    callback = RIFLECallback(network.head, re_init_epoch=2, max_re_num=1, warm_up=3, ramp=1)
    seen = []

    class Watch(paddle.callbacks.Callback):
        def on_train_batch_begin(self, step, logs=None):
            layers = network.head, network.backbone[0]
            rates = [layer.weight.optimize_attr["learning_rate"] for layer in layers]
            seen.append((*rates, network.backbone[1]._momentum))

    model.fit(Digits(held_out=False), epochs=5, batch_size=60, verbose=0,
              callbacks=[callback, Watch()])  # fmt: skip
    assert set(seen[:40]) == {(1.0, 1.0, 0.9)}
    assert seen[40:43] == [(10.0, 0.0, 1.0)] * 3
    assert seen[43] == (10.0, 0.5, 0.9)
    assert seen[44] == (10.0, 1.0, 0.9)
    assert seen[-1] == (1.0, 1.0, 0.9)


def prepared():
    paddle.seed(0)
    network = Classifier(nn.Linear(16, 10))
    model = paddle.Model(network)
    optimizer = paddle.optimizer.Adam(1e-3, parameters=network.parameters())
    model.prepare(optimizer, nn.CrossEntropyLoss())
    return network, model


def rates(network):
    layers = network.head, network.backbone[0]
    return [layer.weight.optimize_attr["learning_rate"] for layer in layers]


class Interrupt(paddle.callbacks.Callback):
    """Stops in the middle of a warm-up, as one who stops a notebook's cell does."""

    def on_train_batch_begin(self, step, logs=None):
        if self.model.network.backbone[1]._momentum == 1.0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("again", ["the same callback", "another one"])
def test_an_interrupted_fit_leaves_nothing_to_the_next_one(again):
    network, model = prepared()
    options = {"re_init_epoch": 1, "max_re_num": 1, "warm_up": 3}
    callback = RIFLECallback(network.head, **options)
    fit = {"epochs": 3, "batch_size": 300, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        model.fit(Digits(held_out=False), callbacks=[callback, Interrupt()], **fit)
    assert rates(network) == [10.0, 0.0]
    if again == "another one":
        callback = RIFLECallback(network.head, **options)
    model.fit(Digits(held_out=False), callbacks=[callback], **fit)
    assert rates(network) == [1.0, 1.0]
    assert network.backbone[1]._momentum == 0.9


def test_the_callback_counts_the_optimizers_steps():
    network, model = prepared()
    callback = RIFLECallback(network.head, re_init_epoch=1, max_re_num=1)
    fit = {"epochs": 1, "batch_size": 100, "verbose": 0, "accumulate_grad_batches": 5}
    model.fit(Digits(held_out=False), callbacks=[callback], **fit)
    assert callback.rifle._recovery._steps == 3  # of 12 batches


def test_a_callback_with_wrong_arguments_is_refused_at_once():
    with pytest.raises(RifleError, match=r"RIFLECallback\(...\): the rifle block cannot be used"):
        RIFLECallback(nn.Linear(3, 2), warm_up=-3)
