"""The order in which layers run, and their work, read from one forward pass."""

import numpy as np
import paddle
import pytest
from models import X, conv, model_of
from paddle import nn

from rifle_ext.heads.execution import execution, is_weight, layers_in_order


def ran(model, second=None):
    image = paddle.to_tensor(X[:, :, :8, :8])
    return execution(model, lambda m=model: m(image), second)


def layers(model):
    """Names of the parameters of each layer, in the order of execution."""
    found = ran(model).order
    return layers_in_order(found, {name: p.shape for name, p in model.named_parameters()})


def test_the_order_is_that_of_execution_not_of_construction():
    model = model_of(
        lambda self, x: self.first(self.last(self.backbone(x))), first=conv(4, 5), last=conv(4, 4)
    )
    owners = list(dict.fromkeys(name.split(".")[0] for name in ran(model).order))
    assert owners == ["backbone", "last", "first"]
    assert [name for name, _ in model.named_children()] == ["backbone", "first", "last"]


def test_a_layer_that_runs_twice_comes_where_it_runs_first():
    model = model_of(
        lambda self, x: self.shared(self.other(self.shared(self.backbone(x)))),
        other=conv(4, 4),
        shared=conv(4, 4),
    )
    assert [names[0] for names in layers(model)] == [
        "backbone.weight", "shared.weight", "other.weight",
    ]  # fmt: skip


def test_branches_come_in_the_order_in_which_the_code_runs_them():
    def forward(self, x):
        feature = self.backbone(x)
        return self.deep(self.down(feature)) + self.skip(feature)

    model = model_of(forward, skip=conv(4, 4), down=conv(4, 4), deep=conv(4, 4))
    assert [names[0].split(".")[0] for names in layers(model)] == [
        "backbone", "down", "deep", "skip",
    ]  # fmt: skip


def test_several_inputs():
    model = model_of(
        lambda self, x, y: self.head(self.backbone(y) + self.left(x)), left=conv(3, 4),
        head=conv(4, 2),
    )  # fmt: skip
    image = paddle.to_tensor(X)
    found = execution(model, lambda: model(image, image)).order
    assert list(dict.fromkeys(n.split(".")[0] for n in found)) == ["backbone", "left", "head"]


def test_what_belongs_to_a_module_itself_comes_where_its_code_reads_it():
    class Tokens(nn.Layer):
        def __init__(self):
            super().__init__()
            self.positions = self.create_parameter([1, 4, 8, 8])
            self.queries = nn.ParameterList([self.create_parameter([4, 4]) for _ in range(2)])
            self.inner = conv(4, 4)

        def forward(self, x):
            x = self.inner(x + self.positions)
            for query in self.queries:
                x = paddle.einsum("nchw,cd->ndhw", x, query)
            return x

    model = model_of(lambda self, x: self.tokens(self.backbone(x)), tokens=Tokens())
    assert [names[0] for names in layers(model)] == [
        "backbone.weight", "tokens.positions", "tokens.inner.weight", "tokens.queries.0",
    ]  # fmt: skip
    assert layers(model)[-1] == ["tokens.queries.0", "tokens.queries.1"]


def test_weights_that_another_layer_reads_come_there():
    model = model_of(
        lambda self, x: self.last(nn.functional.conv2d(self.backbone(x), self.read.weight)),
        last=conv(4, 4), read=conv(4, 4),
    )  # fmt: skip
    found = ran(model).order
    assert found.index("read.weight") < found.index("last.weight")
    assert "read.bias" not in found


def test_the_normalization_behind_a_layer_belongs_to_it_with_its_statistics():
    norm = nn.BatchNorm2D(4)
    model = model_of(
        lambda self, x: self.head(self.norm(self.backbone(x)) * self.gain),
        norm=norm, head=conv(4, 2), gain=None,
    )  # fmt: skip
    model.gain = model.create_parameter([1, 4, 1, 1])
    first, second = layers(model)
    assert set(first) == {
        "backbone.weight", "backbone.bias", "norm.weight", "norm.bias", "norm._mean",
        "norm._variance", "gain",
    }  # fmt: skip
    assert second == ["head.weight", "head.bias"]
    assert not is_weight([1, 4, 1, 1]) and not is_weight([4]) and is_weight([4, 1, 3, 3])


def test_what_does_not_run_has_no_place():
    model = model_of(lambda self, x: self.backbone(x), idle=conv(4, 4))
    assert set(ran(model).order) == {"backbone.weight", "backbone.bias"}


def test_work_is_counted_in_multiply_adds():
    model = nn.Sequential(
        nn.Conv2D(3, 4, 3, padding=1, stride=2), nn.Conv2D(4, 6, 1, groups=2),
        nn.Conv2DTranspose(6, 5, 2, stride=2), nn.Flatten(2), nn.Linear(64, 7), nn.BatchNorm1D(5),
    )  # fmt: skip
    assert ran(model).work == {
        "0": 2 * 4 * 4 * (4 * 3 * 9), "1": 2 * 4 * 4 * (6 * 2), "2": 2 * 4 * 4 * (6 * 5 * 4),
        "4": 2 * 5 * (64 * 7),
    }  # fmt: skip


def test_work_of_an_attempt_that_failed_does_not_count():
    model = nn.Sequential(nn.Conv2D(3, 4, 1), nn.Flatten(), nn.Linear(4 * 64, 2))

    def forward(m=model):
        try:
            return m(paddle.to_tensor(X))
        except ValueError:
            return m(paddle.to_tensor(X[:, :, :8, :8]))

    assert execution(model, forward).work == {"0": 2 * 64 * 12, "2": 2 * 4 * 64 * 2}


def test_a_second_model_is_looked_at_in_place_of_the_first():
    def made():
        return nn.Sequential(conv(3, 4), nn.BatchNorm2D(4))

    model, second, asked = made(), made(), []

    def forward(m=model):
        asked.append(m)
        return m(paddle.to_tensor(X))

    wanted = ran(made()).order
    assert execution(model, forward, second).order == wanted and asked == [second]
    assert execution(model, forward, nn.Linear(2, 2)).order == wanted and asked == [second, model]


def test_the_model_is_as_before():
    model = model_of(lambda self, x: self.norm(self.backbone(x)), norm=nn.BatchNorm2D(4))
    model.eval()
    before = {n: p.numpy() for n, p in model.named_parameters()}
    attribute = nn.Layer.__getattr__
    ran(model)
    assert all(np.array_equal(p.numpy(), before[n]) for n, p in model.named_parameters())
    assert not model.training and nn.Layer.__getattr__ is attribute
    assert not model.norm._forward_post_hooks and not model.backbone._forward_post_hooks


def test_what_a_model_raises_is_raised():
    def forward(self, x):
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        ran(model_of(forward))
