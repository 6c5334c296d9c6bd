"""What a frozen layer must not do: move statistics, cut off what recomputes, lose loaded state."""

import numpy as np
import paddle
import pytest
from models import X
from paddle import nn
from paddle.distributed.fleet.utils import recompute

from rifle_ext.training.freezing import take_up_loaded_state
from rifle_ext.training.parameter_rates import ParameterRates, SharedRates
from rifle_ext.training.recomputation import learning_without_operands
from rifle_ext.training.stillness import RunningStatistics, StillStatistics


def statistics(norm):
    return [norm._mean.numpy(), norm._variance.numpy()]


def norms():
    return {
        "2D": nn.BatchNorm2D(3),
        "old": nn.BatchNorm(3),
        "by the batch, even in evaluation": nn.BatchNorm2D(3, use_global_stats=False),
        "old, trainable statistics": nn.BatchNorm(3, trainable_statistics=True),
        "synchronized": nn.SyncBatchNorm(3),  # has no kernel on the CPU
    }


@pytest.mark.parametrize("kind", sorted(norms()))
def test_normalizations_compute_with_their_statistics_and_keep_them(kind):
    norm, image = norms()[kind], paddle.to_tensor(X)
    norm._mean.set_value(np.array([0.1, 0.2, 0.3], "float32"))
    norm._variance.set_value(np.array([0.5, 0.6, 0.7], "float32"))
    norm.train()
    before, held = statistics(norm), RunningStatistics()
    held.use([norm, nn.Conv2D(3, 3, 1)])
    held.use([norm])  # again: nothing
    image.stop_gradient = False
    found = norm(image)
    mean, variance = (s.reshape(1, 3, 1, 1) for s in before)
    assert np.allclose(found.numpy(), (X - mean) / np.sqrt(variance + norm._epsilon), atol=1e-5)
    assert all(np.array_equal(a, b) for a, b in zip(before, statistics(norm)))
    assert norm.training
    found.sum().backward()  # a layer before it may learn
    slope = np.broadcast_to(1 / np.sqrt(variance + norm._epsilon), X.shape)
    assert np.allclose(image.grad.numpy(), slope, rtol=1e-4)
    held.restore()
    assert "forward" not in vars(norm) and not norm._forward_pre_hooks
    if kind != "synchronized":
        norm(image)
        assert not np.array_equal(before[0], norm._mean.numpy())


def test_statistics_stand_still_in_a_model_that_was_converted_meanwhile():
    """PaddleDetection makes other layers of its normalizations, on several GPUs, as it begins."""
    model = nn.Sequential(nn.Conv2D(3, 3, 1), nn.BatchNorm2D(3), nn.BatchNorm2D(3, momentum=0.7))
    still = StillStatistics(model, but=["1"])
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(model[2], nn.SyncBatchNorm)
    own = [model[1]._momentum, model[2]._momentum]
    still.hold(True)
    assert [model[1]._momentum, model[2]._momentum] == [own[0], 1.0]
    still.hold(False)
    assert [model[1]._momentum, model[2]._momentum] == own


@pytest.mark.parametrize("order", ["the first one first", "the last one first", "one is gone"])
def test_several_may_hold_the_statistics_of_one_model(order):
    norm = nn.BatchNorm2D(3, momentum=0.7)
    model = nn.Sequential(nn.Conv2D(3, 3, 1), norm)
    holders = [StillStatistics(model), StillStatistics(model)]
    for holder in holders:
        holder.hold(True)
    if order == "the last one first":
        holders.reverse()
    if order == "one is gone":  # of a loop that was interrupted
        del holders[0], holder
    else:
        holders[0].hold(False)
        assert norm._momentum == 1.0
    holders[-1].hold(False)
    assert norm._momentum == 0.7
    norm._momentum = 0.6  # the user's, meanwhile
    holders[-1].hold(True)
    holders[-1].hold(False)
    assert norm._momentum == 0.6


def test_a_pass_that_breaks_off_leaves_no_mode_behind():
    norm, held = nn.BatchNorm2D(3), RunningStatistics()
    held.use([norm])
    with pytest.raises(ValueError):
        norm(paddle.to_tensor(X[0]))
    held.restore()
    assert norm.training


class Blocks(nn.Layer):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        for layer in (self.first, self.second, self.third):
            x = paddle.distributed.fleet.utils.recompute(layer, x)
        return x.sum()


def test_what_recomputes_behind_frozen_layers_learns():
    model, x = Blocks(), paddle.ones([2, 4])
    for parameter in model.first.parameters():
        parameter.stop_gradient = True

    def gradients():
        model(x).backward()
        named = dict(model.named_parameters())
        found = {n: p.grad.numpy() for n, p in named.items() if p.grad is not None}
        model.clear_gradients()
        for parameter in model.parameters():
            parameter.clear_gradient(False)
        return found

    with learning_without_operands():
        found = gradients()
    assert sorted(found) == ["second.bias", "second.weight", "third.bias", "third.weight"]
    plain = nn.Sequential(model.first, model.second, model.third)
    plain(x).sum().backward()
    for name, parameter in plain.named_parameters():
        if not name.startswith("0"):
            same_one = {"1": "second", "2": "third"}[name[0]] + name[1:]
            assert np.allclose(found[same_one], parameter.grad.numpy())
    assert paddle.distributed.fleet.utils.recompute is recompute


def test_without_it_they_would_not():
    """Paddle's `recompute` gives no gradient where no operand has one: the reason for the above."""
    model = Blocks()
    assert model(paddle.ones([2, 4])).stop_gradient


def resumed(state, model):
    optimizer = paddle.optimizer.Adam(0.1, parameters=model.parameters())
    optimizer.set_state_dict(state)
    return optimizer


def test_state_that_was_loaded_is_taken_up_for_what_will_not_be_trained():
    with paddle.utils.unique_name.guard():
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].bias.stop_gradient = True  # never trained: it has no state
    optimizer = paddle.optimizer.Adam(0.1, parameters=model.parameters())
    model(paddle.ones([1, 2])).sum().backward()
    optimizer.step()
    state = {k: v.numpy() if hasattr(v, "numpy") else v for k, v in optimizer.state_dict().items()}
    model[1].bias.stop_gradient = False
    again = resumed(state, model)
    named = dict(model.named_parameters())
    with paddle.utils.unique_name.guard():  # names as in a process of its own
        take_up_loaded_state(again, {n: named[n] for n in ("0.weight", "1.bias")})
    found = again.state_dict()
    ours = {key for key in state if key.startswith(named["0.weight"].name)}
    assert len(ours) == 4 and ours == {k for k in found if "pow" in k or "moment" in k}
    for key in ours:
        assert np.array_equal(found[key].numpy(), state[key])
    take_up_loaded_state(paddle.optimizer.SGD(0.1, parameters=model.parameters()), named)


def test_rates_are_computed_once_for_all_that_have_the_same():
    def trained(shared):
        paddle.seed(3)
        with paddle.utils.unique_name.guard():
            model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2), nn.Linear(2, 2))
        scheduler = paddle.optimizer.lr.PolynomialDecay(0.1, 5, 0.01)
        optimizer = paddle.optimizer.AdamW(scheduler, parameters=model.parameters())
        rates = SharedRates(optimizer) if shared else None
        for step in range(4):
            for layer, factor in zip(model, (1.0, 0.5 * step, 0.5 * step)):
                for parameter in layer.parameters():
                    parameter.optimize_attr["learning_rate"] = factor
            if rates is not None:
                rates.next_step()
            model(paddle.ones([1, 2])).sum().backward()
            optimizer.step()
            optimizer.clear_grad()
            scheduler.step()
        if rates is not None:
            assert len(rates._known) == 2  # two rates for six parameters
            rates.restore()
            rates.restore()
        assert "_create_param_lr" not in vars(optimizer)
        return [parameter.numpy() for parameter in model.parameters()]

    assert all(np.array_equal(a, b) for a, b in zip(trained(True), trained(False)))


def test_rates_that_several_set_are_multiplied():
    layer = nn.Linear(2, 2)
    layer.weight.optimize_attr["learning_rate"] = 0.5
    first = ParameterRates([layer.weight])
    first.multiply(4.0)
    second = ParameterRates([layer.weight, layer.bias])  # made while the first one acts
    second.multiply(0.1)
    assert layer.weight.optimize_attr["learning_rate"] == pytest.approx(0.5 * 4 * 0.1)
    assert layer.bias.optimize_attr["learning_rate"] == 0.1
    second.multiply(0.0)
    assert layer.weight.optimize_attr["learning_rate"] == 0
    first.restore()
    second.multiply(1.0)
    assert layer.weight.optimize_attr["learning_rate"] == 0.5
    layer.weight.optimize_attr["learning_rate"] = 0.25  # the user's own again, in between
    first.multiply(2.0)
    assert layer.weight.optimize_attr["learning_rate"] == 0.5
    first.restore()
    assert layer.weight.optimize_attr["learning_rate"] == 0.25
