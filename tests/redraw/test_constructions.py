"""A build shows which initializer alone drew a tensor; then no second build is needed."""

import copy

import numpy as np
import paddle
import pytest
from paddle import nn
from seg_runs import TinySeg

from rifle_ext.redraw import fresh
from rifle_ext.runtime.isolation import beside_training

DRAWS = 20


def tensors_of(model):
    return dict(model.named_parameters())


def redraw(build, index=1):
    with beside_training(1):
        like = tensors_of(build())
    return fresh.from_rebuild(build, like, 0, index)


class Head(nn.Layer):
    """A head whose weight is treated by `treat` after Paddle's initializer drew it."""

    def __init__(self, treat=lambda layer: None, **options):
        super().__init__()
        self.stem = nn.Conv2D(3, 8, 3)
        self.out = nn.Conv2D(8, 40, 3, **options)
        treat(self)


INIT = nn.initializer
DRAWN_BY_INITIALIZERS = {
    "default": lambda: Head(),
    "attributes": lambda: Head(
        weight_attr=paddle.ParamAttr(initializer=INIT.Normal(0.1, 0.01)),
        bias_attr=INIT.Constant(-4.6),
    ),
    "kaiming": lambda: Head(weight_attr=INIT.KaimingUniform()),
    "xavier": lambda: Head(weight_attr=INIT.XavierNormal(), bias_attr=False),
    "truncated": lambda: Head(weight_attr=INIT.TruncatedNormal(std=0.02)),
    "drawn twice": lambda: Head(lambda layer: INIT.Normal(std=0.3)(layer.out.weight)),
    "other layers": lambda: nn.Sequential(nn.Linear(9, 99), nn.Conv2DTranspose(4, 50, 3)),
    "batch norm": lambda: nn.Sequential(nn.Conv2D(3, 50, 3), nn.BatchNorm2D(50)),
}


@pytest.mark.parametrize("kind", DRAWN_BY_INITIALIZERS)
def test_draws_by_the_initializers_have_the_distribution_of_builds(kind):
    build = DRAWN_BY_INITIALIZERS[kind]
    found = redraw(build)
    assert found.initializers is not None
    assert set(found.initializers) == set(found.values)
    ours = [
        fresh.from_initializers(found.initializers, found.values, 0, i) for i in range(1, DRAWS)
    ]
    paddle.seed(7)
    theirs = [tensors_of(build()) for _ in range(1, DRAWS)]
    for name, value in found.values.items():
        a = np.stack([draw[name].numpy() for draw in ours])
        b = np.stack([draw[name].numpy() for draw in theirs])
        assert a.shape[1:] == tuple(value.shape)
        if (b == b[0]).all():
            assert np.array_equal(a, b), name
            continue
        assert not np.array_equal(a[0], a[1]), name
        assert abs(a.mean() - b.mean()) < 4 * b.std() * np.sqrt(2 / b.size), name
        assert a.std() == pytest.approx(b.std(), rel=4 / np.sqrt(2 * value.size * DRAWS)), name


def scale(layer):
    layer.out.weight.set_value(layer.out.weight * 0.1)


def numpy_values(layer):
    values = np.random.normal(size=layer.out.weight.shape).astype("float32")
    layer.out.weight.set_value(values)


def assigned(layer):
    INIT.Assign(np.random.normal(size=layer.out.weight.shape))(layer.out.weight)


def set_prior(layer):
    with paddle.no_grad():
        layer.out.bias.set_value(paddle.full([40], -4.6))


def cloned(layer):
    layer.clone = copy.deepcopy(layer.out)


def equal(layer):
    layer.clone = nn.Conv2D(8, 40, 3)
    layer.clone.set_state_dict(layer.out.state_dict())


class OfTheUser(INIT.Initializer):
    """An initializer nothing is known of."""

    def forward(self, param, block=None):
        """Draw."""
        param.set_value(np.random.random(param.shape).astype("float32"))
        return param


class FromNumpy(INIT.Normal):
    """A known one that does something of its own."""

    def forward(self, param, block=None):
        """Draw."""
        param.set_value(np.random.random(param.shape).astype("float32"))
        return param


TREATED_OTHERWISE = {
    "scaled": lambda: Head(scale),
    "numpy": lambda: Head(numpy_values),
    "assigned": lambda: Head(assigned),
    "prior": lambda: Head(set_prior),
    "cloned": lambda: Head(cloned),
    "equal": lambda: Head(equal),
    "class of the user": lambda: Head(weight_attr=OfTheUser()),
    "derived class": lambda: Head(weight_attr=FromNumpy()),
}


@pytest.mark.parametrize("kind", TREATED_OTHERWISE)
def test_what_anything_else_had_a_hand_in_is_built_again(kind):
    assert redraw(TREATED_OTHERWISE[kind]).initializers is None


def test_noting_changes_no_value_and_leaves_paddle_as_it_was():
    call = INIT.Initializer.__call__
    first = redraw(Head).values
    assert INIT.Initializer.__call__ is call
    with beside_training(fresh.draw_seed(0, 1)):
        plain = tensors_of(Head())
    assert all(np.array_equal(first[name].numpy(), plain[name].numpy()) for name in plain)


def test_an_initializer_set_for_all_layers_does_not_win_over_the_constructors():
    found = redraw(lambda: Head(weight_attr=INIT.Constant(3.0)))
    assert found.initializers is not None
    INIT.set_global_initializer(INIT.Constant(9.0), INIT.Constant(9.0))
    try:
        values = fresh.from_initializers(found.initializers, found.values, 0, 2)
    finally:
        INIT.set_global_initializer(None)
    assert (values["out.weight"].numpy() == 3.0).all()
    assert (values["out.bias"].numpy() == 0.0).all()


def config_of(seg, prior=False, **block):
    """Three resets of a model whose head is drawn by initializers alone, or not."""
    model = {"type": "TinySeg", "num_classes": 6, "prior": prior}
    given = {"re_init_iter": 3, "max_re_num": 3, "keep_last": 0, **block}
    return seg.config(f"{prior}{len(block)}.yml", model=model, rifle=given)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("prior", "builds"), [(False, 2), (True, 4)])
def test_a_training_builds_no_more_models_than_it_needs(seg, prior, builds):
    before = TinySeg.built
    seg.train(config_of(seg, prior))
    assert [event["step"] for event in seg.events("reset")] == [3, 6, 9]
    assert TinySeg.built - before == builds


@pytest.mark.timeout(120)
def test_a_resumed_training_draws_the_same_heads_without_a_build(seg):
    path = config_of(seg)
    _, _, after = seg.train(path)
    digests = [event["digest"] for event in seg.events("reset")]
    assert len(set(digests)) == 3
    resumed = seg.folder / "resumed"
    seg.train(path, out=resumed, resume_model=str(seg.out / "iter_4"))
    assert [event["digest"] for event in seg.events("reset", out=resumed)] == digests[1:]
    for step in (3, 6, 9):
        weight = after.heads[step]["head.3.weight"]
        size = np.sqrt(np.square(weight).mean())
        assert size == pytest.approx(0.1 / np.sqrt(8), rel=1e-4)  # of 8 inputs
        assert (after.heads[step]["head.3.bias"] == 0).all()


@pytest.mark.timeout(120)
def test_other_seeds_and_named_initializers(seg):
    seg.train(config_of(seg))
    digests = {event["digest"] for event in seg.events("reset")}
    seg.train(config_of(seg, seed=1), out=seg.folder / "other")
    assert not digests & {
        event["digest"] for event in seg.events("reset", out=seg.folder / "other")
    }
    named = {"weight_initializer": {"type": "Constant", "value": 2.0}, "seed": 1}
    _, _, after = seg.train(config_of(seg, **named), out=seg.folder / "named")
    for step in (3, 6, 9):
        assert (after.heads[step]["head.3.weight"] == 2.0).all()
        assert (after.heads[step]["head.3.bias"] == 0).all()
