"""Finding output layers: models nobody has seen, and those of PaddleSeg."""

from collections import namedtuple

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT
from paddle import nn
from paddleseg.cvlibs import Config, SegBuilder

from rifle_ext.errors import RifleError
from rifle_ext.outputs import output_parameters
from rifle_ext.selection import select

X = np.random.RandomState(0).rand(2, 3, 64, 64).astype("float32")


def found(model, *inputs, **kwargs):
    inputs = [paddle.to_tensor(X)] if not inputs and not kwargs else inputs
    return list(output_parameters(model, lambda: model(*inputs, **kwargs)))


def conv(i, o):
    return nn.Conv2D(i, o, 1)


class Net(nn.Layer):
    """A backbone and whatever a test adds."""

    def __init__(self, **layers):
        super().__init__()
        self.backbone = conv(3, 4)
        for name, layer in layers.items():
            setattr(self, name, layer)


def model_of(forward, **layers):
    kind = type("Model", (Net,), {"forward": forward})
    return kind(**layers)


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


NAMED = model_of(
    lambda s, x: s.head(s.backbone(x)), head=nn.Sequential(conv(4, 4), conv(4, 2)), aux=conv(4, 2)
)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["head.1"], ["head.1.weight", "head.1.bias"]),
        (["aux.bias", "head.1.weight"], ["head.1.weight", "aux.bias"]),
        (["*.bias"], ["backbone.bias", "head.0.bias", "head.1.bias", "aux.bias"]),
        (["head"], ["head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias"]),
    ],
)
def test_names_and_globs(patterns, names):
    assert list(select(NAMED, patterns, lambda: None).parameters) == names


def test_a_name_that_matches_nothing_says_what_there_is():
    with pytest.raises(RifleError) as caught:
        select(NAMED, ["head.1", "auxx"], lambda: None)
    said = str(caught.value)
    assert '"auxx" matches no parameter and no sublayer; did you mean aux?' in said
    assert "top-level sublayers: backbone, head, aux" in said
    assert "head.1, aux" in said


def test_a_name_that_matches_frozen_parameters_only_is_refused():
    model = model_of(lambda s, x: s.head(s.backbone(x)), head=conv(4, 2))
    for parameter in model.backbone.parameters():
        parameter.stop_gradient = True
    with pytest.raises(RifleError, match="only frozen parameters"):
        select(model, ["backbone"], lambda: None)


def test_head_modules_hold_no_backbone_and_no_neck():
    inner = model_of(
        lambda s, x: s.head(s.neck(s.backbone(x))),
        neck=conv(4, 4),
        head=nn.Sequential(conv(4, 4), nn.BatchNorm2D(4), conv(4, 2)),
    )
    for parameter in inner.backbone.parameters():
        parameter.stop_gradient = True

    class Wrapping(nn.Layer):
        def __init__(self):
            super().__init__()
            self.detector, self.reid = inner, nn.Sequential(conv(2, 3), conv(3, 2))
            self.register_buffer("unsaved", paddle.ones([2]), persistable=False)
            self.reid.register_buffer("anchors", paddle.ones([2]), persistable=False)

        def forward(self, x):
            return self.reid(self.detector(x).detach()), self.detector(x)

    model = Wrapping()
    chosen = select(model, "head", lambda: model(paddle.to_tensor(X)))
    owners = {name.rpartition(".")[0] for name in chosen.parameters}
    assert owners == {"detector.head.0", "detector.head.1", "detector.head.2", "reid.0", "reid.1"}
    assert list(chosen.buffers) == ["detector.head.1._mean", "detector.head.1._variance"]


EXPECTED = {
    "pp_liteseg": {"seg_heads.0.conv_out", "seg_heads.1.conv_out", "seg_heads.2.conv_out"},
    "deeplabv3p": {"head.decoder.conv"},
    "ocrnet": {"head.cls_head", "head.aux_head.1"},
    "segformer": {"linear_pred"},
    "unet": {"cls"},
    "bisenetv2": {
        "head.conv_1x1", "aux_head1.conv_1x1", "aux_head2.conv_1x1", "aux_head3.conv_1x1",
        "aux_head4.conv_1x1",
    },
}  # fmt: skip


@pytest.mark.parametrize("family", sorted(EXPECTED))
def test_output_layers_of_paddleseg_families(family):
    config = Config(str(ROOT / f"configs/seg/{family}.yml"))
    model = SegBuilder(config).model
    selection = select(model, "auto", lambda: model(paddle.to_tensor(X)))
    owners = {name.rpartition(".")[0] for name in selection.parameters}
    assert owners == EXPECTED[family]
    classes = [s for s in selection.parameters.values() if 6 in s.shape]
    assert classes


def test_maskformer_outputs_classes_mask_embeddings_and_mask_features():
    config = Config(str(ROOT / "configs/seg/maskformer.yml"))
    model = SegBuilder(config).model
    parameters = output_parameters(model, lambda: model(paddle.to_tensor(X)))
    owners = {name.rpartition(".")[0] for name in parameters}
    assert any("class_embed" in name for name in owners), owners
    assert any("mask_embed" in name for name in owners), owners
    assert any("mask_features" in name for name in owners), owners
    assert not any(name.startswith("seg_model.backbone") for name in owners)


def test_every_ready_config_has_a_block():
    paths = sorted((ROOT / "configs/seg").glob("*.yml"))
    assert len(paths) >= 8
    for path in paths:
        assert "rifle" in yaml.safe_load(path.read_text()), path
