"""Finding output layers in models nobody has seen."""

from collections import namedtuple

import numpy as np
import paddle
import pytest
from models import X, conv, found, model_of
from paddle import nn
from paddle.distributed.fleet.utils import recompute

from rifle_ext.errors import CannotRun, RifleError
from rifle_ext.heads.outputs import find_outputs
from rifle_ext.heads.probing import probing


def test_the_last_of_several_layers():
    model = model_of(lambda s, x: s.head(s.mid(s.backbone(x))), mid=conv(4, 4), head=conv(4, 2))
    assert found(model) == ["head.weight", "head.bias"]


def test_several_outputs_in_nested_containers():
    Pair = namedtuple("Pair", "first second")
    model = model_of(
        lambda s, x: {"a": [s.a(s.backbone(x))], "b": Pair(s.b(s.backbone(x)), (None, 3))},
        a=conv(4, 2),
        b=nn.Conv2DTranspose(4, 2, 2),
    )
    assert found(model) == ["a.weight", "a.bias", "b.weight", "b.bias"]


def test_normalization_and_learned_scales_after_the_layer_belong_to_it():
    class Scale(nn.Layer):
        def __init__(self):
            super().__init__()
            self.scale = self.create_parameter([1], default_initializer=nn.initializer.Constant(1))

        def forward(self, x):
            return x * self.scale

    model = model_of(
        lambda s, x: s.scale(s.norm(s.head(s.before(s.backbone(x))))),
        before=nn.BatchNorm2D(4),
        head=conv(4, 2),
        norm=nn.BatchNorm2D(2),
        scale=Scale(),
    )
    assert found(model) == [
        "head.weight", "head.bias", "norm.weight", "norm.bias", "scale.scale",
    ]  # fmt: skip


def test_a_raw_parameter_that_mixes():
    class Classes(nn.Layer):
        def __init__(self):
            super().__init__()
            self.embedding = self.create_parameter([4, 2])

        def forward(self, x):
            return paddle.matmul(x.flatten(2).transpose([0, 2, 1]), self.embedding)

    model = model_of(lambda s, x: s.head(s.backbone(x)), head=Classes())
    assert found(model) == ["head.embedding"]


class Raw(nn.Layer):
    """Owns a raw weight, and whatever sublayers a test gives it."""

    def __init__(self, *shape, **sublayers):
        super().__init__()
        self.weight = self.create_parameter(list(shape))
        for name, layer in sublayers.items():
            setattr(self, name, layer)


def raw(forward, *shape, **sublayers):
    return type("RawHead", (Raw,), {"forward": forward})(*shape, **sublayers)


F = nn.functional
POOLED = [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]]

CUSTOM_HEADS = {
    "functional linear after a sublayer": (
        raw(lambda s, x: F.linear(F.relu(s.hidden(x)), s.weight), 4, 2, hidden=nn.Linear(4, 4)),
        ["weight"],
    ),
    "weight first": (
        raw(lambda s, x: paddle.einsum("kc,nc->nk", s.weight, s.hidden(x)), 2, 4,
            hidden=nn.Linear(4, 4)),
        ["weight"],
    ),
    "transposed and normalized weight (cosine classifier)": (
        raw(lambda s, x: F.linear(s.hidden(x), F.normalize(s.weight, axis=1).t()), 2, 4,
            hidden=nn.Linear(4, 4)),
        ["weight"],
    ),
    "product and sum by hand": (
        raw(lambda s, x: (s.hidden(x).unsqueeze(-1) * s.weight).sum(1), 4, 2,
            hidden=nn.Linear(4, 4)),
        ["weight"],
    ),
    "weight of two factors": (
        raw(lambda s, x: s.hidden(x) @ (s.weight @ s.narrow.weight), 4, 3,
            hidden=nn.Linear(4, 4), narrow=nn.Linear(3, 2, bias_attr=False)),
        ["weight", "narrow.weight"],
    ),
    "weight norm": (
        raw(lambda s, x: s.out(s.hidden(x)), 1, 1, hidden=nn.Linear(4, 4),
            out=nn.utils.weight_norm(nn.Linear(4, 2))),
        ["out.bias", "out.weight_v", "out.weight_g"],
    ),
    "scale of four dimensions": (
        raw(lambda s, x: s.out(s.hidden(x)).reshape([2, 2, 1, 1]) * s.weight, 1, 2, 1, 1,
            hidden=nn.Linear(4, 4), out=nn.Linear(4, 2)),
        ["weight", "out.weight", "out.bias"],
    ),
    "learned tokens before attention": (
        raw(lambda s, x: s.attention(paddle.concat([x.unsqueeze(1), s.weight], 1)),
            2, 3, 4, attention=nn.MultiHeadAttention(4, 2)),
        ["attention.out_proj.weight", "attention.out_proj.bias"],
    ),
    "recurrent": (
        raw(lambda s, x: s.cells(s.hidden(x).unsqueeze(1))[0], 1, 1, hidden=nn.Linear(4, 4),
            cells=nn.GRU(4, 2)),
        ["cells.weight_ih_l0", "cells.weight_hh_l0", "cells.bias_ih_l0", "cells.bias_hh_l0"],
    ),
    "table of class embeddings as prototypes": (
        raw(lambda s, x: s.hidden(x) @ s.classes(paddle.arange(2)).t(), 1, 1,
            hidden=nn.Linear(4, 4), classes=nn.Embedding(2, 4)),
        ["classes.weight"],
    ),
    "distance from prototypes by hand": (
        raw(lambda s, x: -((s.hidden(x).unsqueeze(1) - s.weight) ** 2).sum(-1), 3, 4,
            hidden=nn.Linear(4, 4)),
        ["weight"],
    ),
    "addmm": (
        raw(lambda s, x: paddle.addmm(s.weight, s.hidden(x), s.out.weight), 2, 3,
            hidden=nn.Linear(4, 4), out=nn.Linear(4, 3, bias_attr=False)),
        ["weight", "out.weight"],
    ),
    "written over, and interpolated": (
        raw(lambda s, x: paddle.lerp(s.out(x), s.weight, 0.5), 1, 3, out=nn.Linear(4, 3)),
        ["weight", "out.weight", "out.bias"],
    ),
    "scattered into": (
        raw(lambda s, x: paddle.scatter(s.out(x), paddle.to_tensor([0]), s.weight), 1, 3,
            out=nn.Linear(4, 3)),
        ["weight", "out.weight", "out.bias"],
    ),
    "recomputed": (
        raw(lambda s, x: recompute(s.out, s.hidden(x)), 1, 1, hidden=nn.Linear(4, 4),
            out=nn.Linear(4, 3)),
        ["out.weight", "out.bias"],
    ),
    "complex": (
        raw(lambda s, x: paddle.complex(s.re(x), s.im(x)), 1, 1, re=nn.Linear(4, 2),
            im=nn.Linear(4, 2)),
        ["re.weight", "re.bias", "im.weight", "im.bias"],
    ),
    "nested containers": (
        raw(lambda s, x: s.parts["out"][1](s.parts["out"][0](x)), 1, 1, parts=nn.LayerDict(
            {"out": nn.LayerList([nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 2))])})),
        ["parts.out.1.0.weight", "parts.out.1.0.bias"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(CUSTOM_HEADS))
def test_custom_heads(kind):
    head, expected = CUSTOM_HEADS[kind]
    names = found(head, paddle.to_tensor(POOLED))
    assert names == expected


def test_an_output_layer_inside_attention():
    """Attention weights as outputs: queries and keys make them, values do not."""

    class Maps(nn.Layer):
        def __init__(self):
            super().__init__()
            self.before, self.q, self.k = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            x = self.before(x)
            return F.softmax(self.q(x) @ self.k(x).t())

    names = found(Maps(), paddle.to_tensor(POOLED))
    assert names == ["q.weight", "q.bias", "k.weight", "k.bias"]


def test_a_tied_parameter_counts_once_and_under_its_first_name():
    class Tied(nn.Layer):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 4)
            self.mid = nn.Linear(4, 4)
            self.out = nn.Linear(4, 5)
            self.out.weight = self.table.weight

        def forward(self, ids):
            return self.mid(self.table(ids)) @ self.out.weight.t()

    assert found(Tied(), paddle.to_tensor([1, 2])) == ["table.weight"]


class Detector(nn.Layer):
    """Gives losses; that of boxes only where there are any, as detectors do.

    Of two levels of embeddings, one is classified.
    """

    def __init__(self):
        super().__init__()
        self.backbone, self.unused_stage = conv(3, 4), conv(4, 4)
        self.head = nn.LayerDict(
            {"tower": conv(4, 4), "cls": conv(4, 2), "box": conv(4, 4), "norm": nn.BatchNorm2D(4)}
        )
        self.head["embed"] = nn.LayerList([conv(4, 4), conv(4, 4)])
        self.head["identity"] = conv(4, 5)
        self.loss_weight = self.create_parameter([1])

    def forward(self, x, boxes):
        x = self.backbone(x)
        self.unused_stage(x)
        x = F.relu(self.head["tower"](x))
        cls, box = self.head["cls"](x), self.head["norm"](self.head["box"](x))
        losses = {"cls": F.sigmoid(cls).mean() * paddle.exp(-self.loss_weight)}
        losses["box"] = box.abs().mean() if boxes else paddle.zeros([1])
        embedded = [embed(x) for embed in self.head["embed"]]
        losses["identity"] = self.head["identity"](embedded[1]).abs().mean()
        losses["decay"] = 0.1 * (self.backbone.weight**2).sum()
        losses["loss"] = paddle.add_n([loss.reshape([1]) for loss in losses.values()])
        return losses


@pytest.mark.parametrize("boxes", [True, False])
def test_losses_and_batches_without_luck(boxes):
    names = found(Detector(), paddle.to_tensor(X), boxes, losses=True)
    assert names == [
        "head.cls.weight", "head.cls.bias", "head.box.weight", "head.box.bias",
        "head.norm.weight", "head.norm.bias", "head.identity.weight", "head.identity.bias",
    ]  # fmt: skip


def test_keyword_inputs_and_direct_calls_of_forward():
    class Head(nn.Layer):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, *, features):
            return self.fc.forward(input=features["x"])

    model = model_of(lambda s, x: s.head(features={"x": s.backbone(x).mean([2, 3])}), head=Head())
    assert found(model) == ["head.fc.weight", "head.fc.bias"]


def test_a_shared_layer_counts_once():
    shared = conv(4, 2)
    model = model_of(lambda s, x: [s.a(s.backbone(x)), s.b(s.backbone(x))], a=shared, b=shared)
    assert found(model) == ["a.weight", "a.bias"]


def test_frozen_layers_are_passed_through():
    model = model_of(lambda s, x: s.fixed(s.head(s.backbone(x))), head=conv(4, 2), fixed=conv(2, 2))
    for parameter in model.fixed.parameters():
        parameter.stop_gradient = True
    assert found(model) == ["head.weight", "head.bias"]


def test_dead_layers_are_no_outputs():
    model = model_of(lambda s, x: s.head(s.backbone(x)), head=conv(4, 2), dead=conv(4, 2))
    assert found(model) == ["head.weight", "head.bias"]


def test_an_output_of_a_constant_sum_still_shows():
    model = model_of(
        lambda s, x: nn.functional.softmax(s.head(s.backbone(x)), axis=1), head=conv(4, 2)
    )
    assert found(model) == ["head.weight", "head.bias"]


def test_a_model_whose_outputs_need_no_parameters_is_refused():
    model = model_of(lambda s, x: [x, s.backbone(x).detach()])
    with pytest.raises(RifleError, match="come from no trainable parameter"):
        found(model)


@pytest.mark.parametrize("method", ["freeze_out", None])
def test_messages_name_the_block_that_asks_or_none(method):
    """One that has no `layers` is not told to name some."""
    nothing = model_of(lambda s, x: [x, s.backbone(x).detach()])
    frozen, second = (
        model_of(lambda s, x: s.head(s.backbone(x)), head=conv(4, 2)) for _ in range(2)
    )
    for parameter in frozen.head.parameters():
        parameter.stop_gradient = True

    def run(model):
        return lambda other=model: other(paddle.to_tensor(X))

    def cannot(*unused):
        raise CannotRun("it cannot be run")

    for model, forward, advice in (
        (nothing, run(nothing), ["name layers in `layers`"]),
        (frozen, run(frozen), ["train them", "name layers in `layers`"]),
        (frozen, cannot, ["name the layers in freeze_out.layers"]),
    ):
        with pytest.raises(RifleError) as caught:
            find_outputs(model, forward, second=second, method=method)
        said = str(caught.value)
        assert "rifle.layers" not in said
        assert [a for a in advice if a in said] == [a for a in advice if method or "train" in a]
        assert ("freeze_out.layers" in said) == (method is not None)


def test_the_probe_is_invisible():
    model = model_of(
        lambda s, x: s.head(s.drop(s.norm(s.backbone(x)))),
        norm=nn.BatchNorm2D(4),
        drop=nn.Dropout(0.5),
        head=conv(4, 2),
    )
    model.eval()
    model.norm.train()
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    paddle.seed(3)
    expected = paddle.rand([4]).numpy()
    paddle.seed(3)
    found(model)
    assert np.array_equal(paddle.rand([4]).numpy(), expected)
    after = {name: value.numpy() for name, value in model.state_dict().items()}
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in model.parameters())
    assert [model.training, model.norm.training, model.drop.training] == [False, True, False]
    assert not any("forward" in vars(layer) for layer in model.sublayers(include_self=True))


def test_the_probe_is_invisible_after_an_exception():
    model = model_of(lambda s, x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        found(model)
    assert "forward" not in vars(model.backbone)


def test_synchronized_batch_norm_is_stood_in_for():
    model = model_of(
        lambda s, x: s.head(s.norm(s.backbone(x))), norm=nn.SyncBatchNorm(4), head=conv(4, 2)
    )
    synchronized = nn.SyncBatchNorm.forward
    assert found(model) == ["head.weight", "head.bias"]
    assert nn.SyncBatchNorm.forward is synchronized


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_as_it_would_compute_itself(layout):
    norm = nn.SyncBatchNorm(3, epsilon=0.5, data_format=layout)
    image = np.random.RandomState(0).rand(2, 4, 4, 3).astype("float32")
    axes = (0, 1, 2)
    wanted = (image - image.mean(axes)) / np.sqrt(image.var(axes) + 0.5)
    with probing(norm):
        channels_last = layout == "NHWC"
        given = image if channels_last else image.transpose(0, 3, 1, 2)
        found = norm(paddle.to_tensor(given)).numpy()
    found = found if channels_last else found.transpose(0, 2, 3, 1)
    assert np.allclose(found, wanted, atol=1e-5)
