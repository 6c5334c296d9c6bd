"""What a block's `layers` stands for: names, globs, whole heads, PaddleSeg's families."""

import paddle
import pytest
import yaml
from conftest import ROOT
from models import X, conv, model_of
from paddle import nn
from paddleseg.cvlibs import Config, SegBuilder

from rifle_ext.errors import RifleError
from rifle_ext.heads.outputs import find_outputs
from rifle_ext.heads.selection import select

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
    parameters = find_outputs(model, lambda: model(paddle.to_tensor(X))).parameters
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
