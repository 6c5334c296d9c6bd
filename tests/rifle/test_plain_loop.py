"""RIFLE and RIFLECallback on a classifier of real handwritten digits."""

import numpy as np
import paddle
import pytest
from paddle import nn
from sklearn.datasets import load_digits

from rifle_ext import RIFLE, RIFLECallback, RifleError

EPOCHS, PERIOD = 14, 4


class Digits(paddle.io.Dataset):
    """The 1,797 digits of scikit-learn, 8x8; the last 300 are held out."""

    def __init__(self, held_out):
        digits = load_digits()
        chosen = slice(-300, None) if held_out else slice(0, 1200)
        self.images = (digits.images[chosen, None] / 16).astype("float32")
        self.labels = digits.target[chosen].astype("int64")

    def __getitem__(self, index):
        return self.images[index], self.labels[index]

    def __len__(self):
        return len(self.labels)


class Classifier(nn.Layer):
    """A small backbone and an output layer of a kind."""

    def __init__(self, head):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2D(1, 16, 3, padding=1),
            nn.BatchNorm2D(16),
            nn.ReLU(),
            nn.MaxPool2D(2),
            nn.Conv2D(16, 16, 4),
            nn.BatchNorm2D(16),
            nn.ReLU(),
        )
        self.head = head

    def forward(self, x):
        features = self.backbone(x)
        if isinstance(self.head, nn.Linear):
            features = features.flatten(1)
        return self.head(features).flatten(1)


HEADS = {
    "Linear": lambda: nn.Linear(16, 10),
    "Conv2D": lambda: nn.Conv2D(16, 10, 1),
    "Conv2DTranspose": lambda: nn.Conv2DTranspose(16, 10, 1),
    "container": lambda: nn.Sequential(nn.Conv2D(16, 16, 1), nn.ReLU(), nn.Conv2D(16, 10, 1)),
}


def accuracy(model):
    model.eval()
    held_out = Digits(held_out=True)
    predicted = model(paddle.to_tensor(held_out.images)).numpy().argmax(1)
    model.train()
    return float((predicted == held_out.labels).mean())


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


def test_the_callback_recovers_too():
    paddle.seed(0)
    network = Classifier(nn.Linear(16, 10))
    model = paddle.Model(network)
    optimizer = paddle.optimizer.Adam(1e-3, parameters=network.parameters())
    model.prepare(optimizer, nn.CrossEntropyLoss())
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


def in_a_loop(epochs, steps_per_epoch=None):
    """The head's factor at each step of some epochs of 10 steps; resets after 5 and 10."""
    paddle.seed(0)
    layer = nn.Linear(64, 5)
    optimizer = paddle.optimizer.Adam(1e-3, parameters=layer.parameters())
    rifle = RIFLE(layer, 5, 2, optimizer=optimizer, steps_per_epoch=steps_per_epoch)
    seen = {}
    for epoch in epochs:
        rifle.apply(current_epoch=epoch)
        for step in range(10):
            seen[epoch, step] = layer.weight.optimize_attr["learning_rate"]
            rifle.step()
    rifle.end()
    return seen


@pytest.mark.parametrize("start", [5, 6, 9, 10, 13])
def test_a_loop_of_ones_own_goes_on_as_it_would_have(start):
    whole = in_a_loop(range(15))
    assert set(whole.values()) > {1.0}
    resumed = in_a_loop(range(start, 15), steps_per_epoch=10)
    assert resumed == {key: whole[key] for key in resumed}


def test_lsuv_in_a_loop_of_ones_own():
    layer = nn.Linear(8, 5)
    rifle = RIFLE(layer, 1, weight_initializer="LSUV")
    rifle.apply(current_epoch=1)
    output = layer(paddle.rand([32, 8]))
    assert float(output.var(unbiased=True)) == pytest.approx(1.0, rel=1e-3)
