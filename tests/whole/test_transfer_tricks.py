"""The tricks of the transfer benchmark do what they say, on real models of both toolkits."""

import numpy as np
import paddle
import pytest
from conftest import ROOT

from benchmarks.transfer import tricks
from rifle_ext.commands.training_options import toolkits
from rifle_ext.heads.outputs import tensors_in
from rifle_ext.training.setup import Request

CONFIGS = {"seg": "configs/seg/pp_liteseg.yml", "det": "configs/det/gfl.yml"}


@pytest.fixture(params=sorted(CONFIGS))
def run(request):
    config = str(ROOT / CONFIGS[request.param])
    with toolkits()[request.param].load()(Request(config, synthetic=True)) as (_, run):
        run.model.train()
        yield run


@pytest.fixture
def seg_run():
    config = str(ROOT / CONFIGS["seg"])
    with toolkits()["seg"].load()(Request(config, synthetic=True)) as (_, run):
        run.model.train()
        yield run


def outputs(run):
    paddle.seed(3)
    return [t.numpy() for t in tensors_in(run.forward()) if "float" in str(t.dtype)]


def differ(first, second):
    return any(not np.array_equal(a, b) for a, b in zip(first, second))


def output_weights(run):
    layers = tricks.output_layers(run)
    return [layer.weight for layer in layers.values() if hasattr(layer, "weight")]


def backward(run):
    floats = [t for t in tensors_in(run.forward()) if "float" in str(t.dtype)]
    sum(t.square().mean() for t in floats).backward()


def test_dropout_changes_training_outputs(run):
    before = outputs(run)
    tricks.HeadDropout(rate=0.5).on_train_begin(run)
    assert differ(before, outputs(run))


def test_dropconnect_changes_training_outputs_and_trains_the_weights(run):
    weights, before = output_weights(run), outputs(run)
    tricks.DropConnect(rate=0.5).on_train_begin(run)
    assert differ(before, outputs(run))
    backward(run)
    for weight, again in zip(weights, output_weights(run)):
        assert again is weight
        assert float(weight.grad.abs().sum()) > 0


def test_dropconnect_drops_its_share_of_the_weights(seg_run):
    def without_gradient():
        paddle.seed(0)
        backward(seg_run)
        shares = [float((w.grad == 0).astype("float32").mean()) for w in output_weights(seg_run)]
        seg_run.optimizer.clear_grad()
        return shares

    assert max(without_gradient()) < 0.1
    tricks.DropConnect(rate=0.5).on_train_begin(seg_run)
    assert without_gradient() == pytest.approx([0.5] * 3, abs=0.15)


def test_dropconnect_is_idle_in_evaluation(seg_run):
    image = paddle.rand([1, 3, 64, 64])
    seg_run.model.eval()
    before = seg_run.model(image)[0].numpy()
    tricks.DropConnect(rate=0.5).on_train_begin(seg_run)
    tricks.HeadDropout(rate=0.5).on_train_begin(seg_run)
    seg_run.model.eval()
    assert np.array_equal(seg_run.model(image)[0].numpy(), before)


def block_of(toolkit):
    if toolkit == "seg":
        from paddleseg.models.backbones.stdcnet import AddBottleneck

        return AddBottleneck(8, 8, block_num=2)
    from ppdet.modeling.backbones.cspresnet import BasicBlock

    return BasicBlock(8, 8)


@pytest.mark.parametrize("toolkit", sorted(CONFIGS))
def test_stochastic_depth_leaves_a_block_out_and_scales_it_up(seg_run, toolkit):
    block = block_of(toolkit)
    block.eval()
    x = paddle.rand([2, 8, 4, 4])
    whole = block(x).numpy()
    seg_run.model = paddle.nn.Sequential(("backbone", paddle.nn.Sequential(block)))
    tricks.StochasticDepth(rate=0.25).on_train_begin(seg_run)
    assert np.array_equal(block(x).numpy(), whole), "in evaluation"
    paddle.seed(1)
    block.training = True  # the normalization inside keeps its statistics
    seen = [block(x).numpy() for _ in range(60)]
    left_out = [np.array_equal(y, x.numpy()) for y in seen]
    assert 3 < sum(left_out) < 30
    for y, out in zip(seen, left_out):
        if not out:
            scaled = x.numpy() + (whole - x.numpy()) / 0.75
            assert np.allclose(y, scaled, atol=1e-5)


def test_stochastic_depth_refuses_a_model_without_residual_blocks(seg_run):
    with pytest.raises(ValueError, match="no residual blocks in PPLiteSeg"):
        tricks.StochasticDepth(rate=0.2).on_train_begin(seg_run)


def test_a_recreated_head_is_never_trained_again(run):
    run.total_steps = 10
    trick = tricks.RecreatedHead(resets=1)
    trick.on_train_begin(run)
    old = output_weights(run)
    trick.on_step_begin(run, 4)
    assert all(a is b for a, b in zip(output_weights(run), old))
    trick.on_step_begin(run, 5)
    new = output_weights(run)
    assert not any(a is b for a, b in zip(new, old))
    before = [weight.numpy() for weight in new]
    backward(run)
    run.optimizer.step()
    run.optimizer.clear_grad()
    assert all(np.array_equal(a, w.numpy()) for a, w in zip(before, new))


def test_cyclic_rates_restart_and_end_low(seg_run):
    run = seg_run
    run.total_steps = 40
    trick = tricks.CyclicRate(periods=4)
    trick.on_train_begin(run)
    parameter = next(p for p in run.model.parameters() if not p.stop_gradient)
    own = parameter.optimize_attr["learning_rate"]
    rates = []
    for step in range(40):
        trick.on_step_begin(run, step)
        rates.append(run.optimizer.get_lr() * parameter.optimize_attr["learning_rate"] / own)
    highest = max(rates)
    for start in (0, 10, 20, 30):
        assert rates[start] == highest
        assert rates[start + 9] < 0.05 * highest
        assert all(a > b for a, b in zip(rates[start : start + 9], rates[start + 1 : start + 10]))


@pytest.mark.parametrize("toolkit", sorted(CONFIGS))
def test_what_is_saved_for_fine_tuning_lacks_the_output_layers_alone(toolkit, tmp_path):
    file = str(tmp_path / "w.pdparams")
    config = str(ROOT / CONFIGS[toolkit])
    with toolkits()[toolkit].load()(Request(config, synthetic=True)) as (_, run):
        trick = tricks.SaveWithoutOutputs(file)
        trick.on_train_begin(run)
        trick.on_train_end(run)
        names = set(run.model.state_dict())
        layers = tuple(f"{name}." for name in tricks.output_layers(run))
    left_out = names - set(paddle.load(file))
    assert left_out == {name for name in names if name.startswith(layers)} != set()


def test_the_head_is_faster_for_a_while_and_then_as_before(run):
    def factors(of_heads):
        chosen = [p for p in run.model.parameters() if (id(p) in heads) == of_heads]
        return [p.optimize_attr["learning_rate"] for p in chosen]

    heads = {id(p) for layer in tricks.output_layers(run).values() for p in layer.parameters()}
    own, rest = factors(True), factors(False)
    trick = tricks.FasterHead(scale=3.0, iterations=2, after=[4, 10])
    trick.on_train_begin(run)
    for step in range(14):
        trick.on_step_begin(run, step)
        scale = 3.0 if step in (4, 5, 10, 11) else 1.0
        assert factors(True) == [scale * factor for factor in own]
    assert factors(False) == rest


def test_another_rate_is_that_of_every_parameter(run):
    own = {name: p.optimize_attr["learning_rate"] for name, p in run.model.named_parameters()}
    tricks.OtherRate(factor=0.5).on_train_begin(run)
    for name, parameter in run.model.named_parameters():
        assert parameter.optimize_attr["learning_rate"] == 0.5 * own[name], name
