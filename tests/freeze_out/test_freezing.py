"""FreezeOut in the toolkits' own trainings: rates at every step, what is still, what goes on."""

import numpy as np
import paddle
import pytest
from seg_runs import OUTPUTS, same

from rifle_ext.errors import RifleError
from rifle_ext.methods.freeze_out.hook import FreezeOutHook
from rifle_ext.methods.freeze_out.schedule import Timetable, fractions

pytestmark = pytest.mark.timeout(120)

STEPS = 12
READS = ("numpy", "item", "tolist", "__float__", "__int__", "__bool__", "__array__", "__index__")
LAYERS = [
    ["backbone.0.weight", "backbone.0.bias", "backbone.1.weight", "backbone.1.bias"],
    ["neck.weight", "neck.bias"],
    ["head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias"],
]
"""Of the tiny model for PaddleSeg, in the order in which they run."""

STATISTICS = {0: ["backbone.1._mean", "backbone.1._variance"], 2: ["head.1._mean"]}

COMBINATIONS = [
    (how, scaled, lr)
    for how in ("linear", "squared", "cubic")
    for scaled in (False, True)
    for lr in ("own", "follow")
]


def table(block, count, steps, start=0):
    times = fractions(count, block.get("t_0", 0.5), block.get("how_scale", "linear"))
    return Timetable(start, steps, tuple(times), block.get("scale_lr", False))


def moved(values, step, name):
    """Whether a tensor changes in the step that follows `step` done ones."""
    return not np.array_equal(values[step][name], values[step + 1][name])


@pytest.mark.parametrize(("how", "scaled", "lr"), COMBINATIONS)
def test_every_step_in_paddleseg(seg, how, scaled, lr):
    block = {"layers": "all", "t_0": 0.5, "how_scale": how, "scale_lr": scaled, "lr": lr}
    _, _, after = seg.train(seg.config(freeze_out=block))
    wanted = table(block, len(LAYERS), STEPS)
    values = after.others
    for step in range(STEPS):
        rate = after.rate[step]
        for index, names in enumerate(LAYERS):
            factor = wanted.factor(index, step)
            for name in names:
                found = rate * after.rates[step][name]
                assert found == pytest.approx((0.05 if lr == "own" else rate) * factor, rel=1e-9)
                if step + 1 < STEPS:
                    assert moved(values, step, name) == (factor > 0), (step, name)
            for name in STATISTICS.get(index, ()) if step + 1 < STEPS else ():
                assert moved(values, step, name) == (factor > 0), (step, name)
        assert all(after.rates[step][name] == 1 for name in OUTPUTS)
    heads = after.heads
    assert all(moved(heads, step, name) for step in range(STEPS - 1) for name in OUTPUTS)
    momenta = after.momenta
    first = wanted.freezes_at(0)
    for key in momenta[first]:
        if key[1] in LAYERS[0]:
            assert np.array_equal(momenta[first][key], momenta[STEPS - 1][key]), key
    frozen = seg.events("freeze")
    assert [e["step"] for e in frozen] == [wanted.freezes_at(i) for i in range(3)]
    assert [e["layers"] for e in frozen] == [["backbone.0"], ["neck"], ["head.0"]]
    sizes = {n: p.size for n, p in {**values[0], **heads[0]}.items() if "._" not in n}
    still = np.cumsum([sum(sizes[n] for n in names) for names in LAYERS]) / sum(sizes.values())
    assert [e["part"] for e in frozen] == pytest.approx(still, abs=1e-6)


@pytest.mark.parametrize("lr", ["own", "follow"])
def test_every_step_in_paddledetection(det, lr):
    from det_runs import OUTPUTS as DET_OUTPUTS

    block = {"layers": "all", "t_0": 0.3, "how_scale": "squared", "lr": lr, "scale_lr": True}
    path = det.config(epoch=3, freeze_out=block)
    trainer, _, after = det.train(path)
    (plan,) = det.events(path, "plan")
    layers = plan["layers"]
    wanted = table(block, len(layers), 12)
    assert [layer["freezes_at"] for layer in layers] == [
        wanted.freezes_at(index) for index in range(len(layers))
    ]
    named = dict(trainer.model.named_parameters())
    trained = {n for n in named if "._" not in n and "proj_conv" not in n}
    assert {n for layer in layers for n in layer["parameters"]} == trained - set(DET_OUTPUTS)
    highest = max(after.rate.values())
    for step in range(12):
        for index, layer in enumerate(layers):
            factor = wanted.factor(index, step)
            rate = after.rate[step]
            for name in layer["parameters"]:
                found = rate * after.rates[step][name]
                if lr == "follow" or rate == highest:
                    assert found == pytest.approx(rate * factor, rel=1e-9)
                if factor == 0 and step < 11:
                    assert not moved(after.values, step, name), (step, name)
    statistics = [n for n in named if n.startswith("backbone.stem.conv1.bn._")]
    assert len(statistics) == 2
    for name in statistics:
        assert moved(after.values, 0, name)
        assert not moved(after.values, wanted.freezes_at(0), name)
    assert any(moved(after.values, 10, name) for name in DET_OUTPUTS)
    # The average of the weights goes on, and so gets nearer to what is still.
    averages, name = after.averages, "backbone.stem.conv1.conv.weight"
    assert not np.array_equal(averages[9][name], averages[11][name])


def test_the_checkpoint_holds_everything(seg):
    seg.train(
        seg.config(freeze_out={"layers": "all", "t_0": 0.2}),
        save_interval=1,
        keep_checkpoint_max=99,
    )
    state = paddle.load(str(seg.out / "iter_12/model.pdopt"))
    weights = paddle.load(str(seg.out / "iter_12/model.pdparams"), return_numpy=True)
    early = paddle.load(str(seg.out / "iter_3/model.pdparams"), return_numpy=True)
    assert len([key for key in state if "velocity" in key]) == 14
    for name in (*LAYERS[0], *STATISTICS[0]):
        assert np.array_equal(weights[name], early[name])


def test_everything_is_given_back(seg):
    model, before, after = seg.train(seg.config(freeze_out={"layers": "all", "t_0": 0.2}))
    named = dict(model.named_parameters())
    for name in (*OUTPUTS, *(n for names in LAYERS for n in names)):
        assert not named[name].stop_gradient
        assert named[name].optimize_attr["learning_rate"] == 1
    assert not any(layer._forward_pre_hooks for layer in model.sublayers())


def test_only_what_is_named_freezes_in_the_order_in_which_it_runs(seg):
    seg.train(seg.config(freeze_out={"layers": ["neck", "backbone.0.weight"], "t_0": 0}))
    assert [(e["step"], e["layers"]) for e in seg.events("freeze")] == [
        (0, ["backbone.0"]), (6, ["neck"]),
    ]  # fmt: skip
    first, _ = seg.events("plan")[0]["layers"]
    assert first["parameters"] == ["backbone.0.weight"]


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [("auto", ["backbone.0"]), ("all", ["backbone.0", "neck", "head.0"])],
)
def test_the_backbone_alone_or_all_but_the_outputs(seg, layers, wanted):
    seg.train(seg.config(freeze_out={"layers": layers, "t_0": 0}))
    assert [layer["name"] for layer in seg.events("plan")[0]["layers"]] == wanted


def test_all_freezes_where_no_part_is_called_backbone(seg):
    model = {"type": "FastSCNN", "num_classes": 6, "enable_auxiliary_loss": False}
    path = seg.config(
        model=model, loss={"types": [{"type": "CrossEntropyLoss"}], "coef": [1]}, freeze_out=None
    )
    seg.train(path, iters=1)
    names = [layer["name"] for layer in seg.events("plan")[0]["layers"]]
    assert names[0].startswith("learning_to_downsample.") and names[-1].startswith("classifier.")


def test_normalizations_of_layers_that_go_on_go_on(seg):
    _, _, after = seg.train(seg.config(freeze_out={"layers": ["backbone.0"], "t_0": 0.25}))
    assert not moved(after.others, 5, "backbone.0.weight")
    for name in ("backbone.1.weight", *STATISTICS[0]):
        assert all(moved(after.others, step, name) for step in range(11))


def test_a_frozen_layer_behind_one_that_learns_passes_gradients_on(seg):
    _, _, after = seg.train(seg.config(freeze_out={"layers": ["neck", "head.1"], "t_0": 0}))
    frozen = {e["layers"][0]: e["step"] for e in seg.events("freeze")}
    assert frozen == {"neck": 0, "head.1": 6}
    for step in range(11):
        assert not moved(after.others, step, "neck.weight")
        assert moved(after.others, step, "head.1.weight") == (step < 6)
        assert moved(after.others, step, "head.1._mean") == (step < 6)
        assert moved(after.others, step, "backbone.0.weight")
        assert moved(after.others, step, "head.0.weight")


@pytest.mark.parametrize("lr", ["own", "follow"])
def test_nothing_is_read_from_the_device(seg, monkeypatch, lr):
    """That would wait for it. The record of the frozen part is made of sizes."""
    on_step_begin, steps = FreezeOutHook.on_step_begin, []

    def refuse(tensor, *args, **kwargs):
        raise AssertionError("a value was read")

    def refusing(self, run, step):
        steps.append(step)
        with monkeypatch.context() as patched:
            for name in READS:
                patched.setattr(paddle.Tensor, name, refuse, raising=False)
            return on_step_begin(self, run, step)

    monkeypatch.setattr(FreezeOutHook, "on_step_begin", refusing)
    seg.train(seg.config(freeze_out={"layers": "all", "t_0": 0.5, "lr": lr}))
    assert steps == list(range(12)) and len(seg.events("freeze")) == 3


def test_what_the_user_froze_stays_so_and_has_no_turn(seg):
    def freeze(builder):
        builder.model.backbone[0].weight.stop_gradient = True
        builder.model.neck.weight.stop_gradient = True
        builder.model.neck.bias.stop_gradient = True
        return type(builder).optimizer.func(builder)

    model, _, after = seg.train(
        seg.config(freeze_out={"layers": "all", "t_0": 0.5}), optimizer=freeze
    )
    assert [e["layers"] for e in seg.events("freeze")] == [["backbone.0"], ["head.0"]]
    assert [e["step"] for e in seg.events("freeze")] == [6, 9]
    assert model.neck.weight.stop_gradient and model.backbone[0].weight.stop_gradient
    assert not model.backbone[0].bias.stop_gradient
    assert not any(moved(after.others, step, "neck.weight") for step in range(11))


def test_rates_of_the_users_own_are_multiplied(seg):
    optimizer = {"type": "Momentum", "custom_cfg": [{"name": "backbone", "lr_mult": 0.1}]}
    block = {"layers": "all", "t_0": 0.5, "lr": "follow"}
    _, before, after = seg.train(seg.config(freeze_out=block, optimizer=optimizer))
    wanted = table(block, 3, STEPS)
    for step in range(STEPS):
        factor = wanted.factor(0, step)
        assert after.rates[step]["backbone.0.weight"] == pytest.approx(0.1 * factor)
        assert after.rates[step]["neck.weight"] == pytest.approx(wanted.factor(1, step))


def test_an_average_of_the_weights_goes_on(seg):
    plain = seg.folder / "plain"
    for out, block in ((seg.out, {"freeze_out": {"layers": "all", "t_0": 0.25}}), (plain, {})):
        seg.train(seg.config(**block), out=out, use_ema=True)
    averages = [
        paddle.load(str(out / f"iter_{step}/ema_model.pdparams"), return_numpy=True)
        for out, step in ((seg.out, 4), (seg.out, 8), (plain, 8))
    ]
    name = "backbone.0.weight"  # still since step 3
    assert not np.array_equal(averages[0][name], averages[1][name])
    assert averages[1].keys() == averages[2].keys()


def test_the_same_as_without_it_until_the_first_rate_differs(seg):
    """With t_0 = 1 and one layer the factor is a cosine over all: with a clock not run, nothing."""
    _, _, plain = seg.train(seg.config())
    block = {"freeze_out": {"layers": "all", "t_0": 1.0, "lr": "follow"}}
    _, _, with_it = seg.train(seg.config(**block), out=seg.folder / "with")
    assert same(plain.others[1], with_it.others[1])  # the first step is at the factor 1
    assert not same(plain.others[3], with_it.others[3])


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"layers": ["nekc"]}, 'freeze_out.layers: "nekc" matches no parameter and no sublayer; '
         "did you mean neck?"),
        ({"layers": ["*"]}, "freeze_out.layers: ['*']: that is all that learns in TinySeg; leave "
         "out what is to learn to the end, the output layers in the main (auto does)"),
        ({"layers": ["head.1._mean"]}, 'freeze_out.layers: "head.1._mean" matches only frozen'),
    ],
)  # fmt: skip
def test_layers_that_cannot_be(seg, block, said):
    path = seg.config(freeze_out=block)
    with pytest.raises(RifleError) as caught:
        seg.train(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert not seg.out.exists()


def test_a_static_graph_is_refused(seg):
    path = seg.config(freeze_out=True)
    with pytest.raises(RifleError, match="is trained as a static graph.*train without to_static"):
        seg.train(path, to_static_training=True)
    assert not (seg.out / "rifle_events.jsonl").exists()


def test_a_static_graph_is_refused_in_paddledetection(det):
    path = det.config(freeze_out=True, to_static=True)
    with pytest.raises(RifleError, match="is trained as a static graph.*train without to_static"):
        det.train(path)


def test_an_optimizer_with_one_direction_for_all_is_refused(seg):
    def lbfgs(builder):
        return paddle.optimizer.LBFGS(parameters=builder.model.parameters())

    with pytest.raises(RifleError, match="is a LBFGS: .*leave frozen layers alone"):
        seg.train(seg.config(freeze_out=True), optimizer=lbfgs)


def test_t_0_of_1_freezes_nothing_and_says_so(seg, said):
    seg.train(seg.config(freeze_out={"layers": "all", "t_0": 1}))
    assert not seg.events("freeze")
    assert seg.events("plan")[0]["warnings"] == ["nothing freezes before the training ends"]
    assert "[FreezeOut] nothing freezes before the training ends" in said()


def test_high_first_rates_are_warned_of(seg):
    seg.train(
        seg.config(freeze_out={"layers": "all", "t_0": 0.5, "how_scale": "cubic", "scale_lr": True})
    )
    (warning,) = seg.events("plan")[0]["warnings"]
    assert "begin at 8 times the rate" in warning
