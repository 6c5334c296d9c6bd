"""Fresh values are what the constructor would have drawn, and drawing them is invisible."""

import numpy as np
import paddle
import pytest
from conftest import ROOT
from paddle import nn
from paddleseg.cvlibs import Config, SegBuilder

from rifle_ext.errors import RifleError
from rifle_ext.redraw import fresh
from rifle_ext.runtime.isolation import beside_training, draw_seed
from seg_hooks.rebuild import rebuild

DRAWS = 8


def config_of(family):
    return Config(str(ROOT / f"configs/seg/{family}.yml"))


HEADS = {
    "bisenetv2": "head.",
    "unet": "cls.",
    "ocrnet": "head.cls_head",
    "segformer": "linear_pred",
}


@pytest.mark.parametrize(("family", "head"), HEADS.items())
def test_redraws_have_the_distribution_of_constructions(family, head):
    config = config_of(family)
    model = SegBuilder(config).model
    tensors = {
        n: p for n, p in model.named_parameters() if n.startswith(head) and not p.stop_gradient
    }
    assert tensors
    redraws = [fresh.from_rebuild(lambda: rebuild(config), tensors, 0, i) for i in range(1, DRAWS)]
    drawn = [redraw.values for redraw in redraws]
    paddle.seed(99)
    built = [dict(rebuild(config).named_parameters()) for _ in range(1, DRAWS)]
    for name in tensors:
        ours = np.stack([d[name].numpy() for d in drawn])
        theirs = np.stack([b[name].numpy() for b in built])
        if theirs.std() == 0:
            assert np.array_equal(ours, theirs), name
            continue
        assert not np.array_equal(ours[0], ours[1]), name
        error = theirs.std() * np.sqrt(2 / ours.size)
        assert abs(ours.mean() - theirs.mean()) < 4 * error, name
        if ours[0].size >= 1000:
            assert ours.std() == pytest.approx(theirs.std(), rel=0.05), name


def test_values_depend_on_seed_and_index_alone():
    config = config_of("unet")
    tensors = {"cls.weight": dict(SegBuilder(config).model.named_parameters())["cls.weight"]}

    def draw(seed, index):
        return fresh.from_rebuild(lambda: rebuild(config), tensors, seed, index).values[
            "cls.weight"
        ]

    first = draw(0, 1).numpy()
    paddle.seed(5)
    np.random.seed(5)
    assert np.array_equal(draw(0, 1).numpy(), first)
    assert not np.array_equal(draw(0, 2).numpy(), first)
    assert not np.array_equal(draw(1, 1).numpy(), first)
    assert draw_seed(1, 2) != draw_seed(2, 1) != draw_seed(12, 0)


def test_drawing_is_invisible():
    import random

    config = config_of("unet")
    tensors = {"cls.weight": dict(SegBuilder(config).model.named_parameters())["cls.weight"]}

    def streams():
        return paddle.rand([3]).numpy().tolist(), np.random.rand(), random.random()

    def start():
        paddle.seed(1)
        np.random.seed(1)
        random.seed(1)

    with paddle.utils.unique_name.guard():
        start()
        expected = streams()
        start()
        nn.Linear(2, 2)
        fresh.from_rebuild(lambda: rebuild(config), tensors, 0, 1)
        start()
        fresh.from_rebuild(lambda: rebuild(config), tensors, 0, 1)
        assert streams() == expected
        assert nn.Linear(2, 2).weight.name == "linear_1.w_0"
    assert paddle.device.get_device() == "cpu"
    assert paddle.is_grad_enabled()


def test_pretrained_weights_are_not_loaded_into_the_second_model(tmp_path, monkeypatch):
    from paddleseg.utils import utils

    config = config_of("unet")
    model = SegBuilder(config).model
    paddle.save({k: v * 0 + 7 for k, v in model.state_dict().items()}, str(tmp_path / "w.pdparams"))
    config.dic["model"]["pretrained"] = str(tmp_path / "w.pdparams")
    load = utils.load_entire_model
    assert (SegBuilder(config).model.cls.weight.numpy() == 7).all()
    again = rebuild(config)
    assert not (again.cls.weight.numpy() == 7).any()
    config.dic["model"]["pretrained"] = "https://nowhere.invalid/x/model.pdparams"
    rebuild(config)
    assert utils.load_entire_model is load


def test_a_model_changed_after_it_was_built_is_refused():
    config = config_of("unet")
    model = SegBuilder(config).model
    model.cls = nn.Conv2D(64, 9, 3, padding=1)
    tensors = {f"cls.{name}": p for name, p in model.cls.named_parameters()}
    with pytest.raises(
        RifleError, match=r"cls.weight cannot be redrawn.*has shape \[6, 64, 3, 3\]"
    ):
        fresh.from_rebuild(lambda: rebuild(config), tensors, 0, 1)
    model.extra = nn.Linear(2, 2)
    with pytest.raises(RifleError, match="has no such tensor"):
        fresh.from_rebuild(lambda: rebuild(config), {"extra.weight": model.extra.weight}, 0, 1)


BARE = {
    "linear": lambda: nn.Linear(40, 50),
    "conv": lambda: nn.Conv2D(20, 30, 3),
    "conv1d": lambda: nn.Conv1D(20, 30, 3),
    "transposed": lambda: nn.Conv2DTranspose(20, 30, 3),
    "norm": lambda: nn.BatchNorm2D(20),
    "layer norm": lambda: nn.LayerNorm(20),
    "group norm": lambda: nn.GroupNorm(2, 20),
    "prelu": lambda: nn.PReLU(20, init=0.1),
    "embedding": lambda: nn.Embedding(40, 30),
    "padded embedding": lambda: nn.Embedding(40, 30, padding_idx=-1),
    "gru": lambda: nn.GRUCell(20, 30),
    "lstm network": lambda: nn.LSTM(16, 64),
    "gru network": lambda: nn.GRU(16, 48, num_layers=2, direction="bidirect"),
    "rnn network": lambda: nn.SimpleRNN(16, 64),
    "attention": lambda: nn.MultiHeadAttention(32, 4),
    "attr": lambda: nn.Linear(
        40,
        50,
        weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(3.0, 0.2)),
        bias_attr=nn.initializer.Constant(-4.6),
    ),
}


@pytest.mark.parametrize("kind", sorted(BARE))
def test_bare_layers_are_redrawn_as_their_class_draws_them(kind):
    from rifle_ext.methods.rifle.loop_arguments import owners_of

    layer = BARE[kind]()
    owners = owners_of(layer)
    drawn = [fresh.from_layers(owners, 0, i) for i in range(1, DRAWS)]
    built = []
    for i in range(1, DRAWS):
        with beside_training(1000 + i):
            other = BARE[kind]()
            built.append([getattr(sub, key) for sub, key in owners_of(other).values()])
    for position, name in enumerate(owners):
        ours = np.stack([d[name].numpy() for d in drawn])
        theirs = np.stack([b[position].numpy() for b in built])
        assert ours.shape == theirs.shape
        if theirs.std() == 0:
            assert np.array_equal(ours, theirs), name
        else:
            assert abs(ours.mean() - theirs.mean()) < 4 * theirs.std() * np.sqrt(2 / ours.size)
            assert ours.std() == pytest.approx(theirs.std(), rel=0.05), name
            assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.5), name
        for row in range(len(theirs[0]) if theirs.ndim == 3 else 0):
            assert ours[:, row].any() == theirs[:, row].any(), (name, row)
