"""Writing in place, and what forgets the old values."""

import hashlib

import numpy as np
import paddle
import pytest
from paddle import nn

from rifle_ext.errors import RifleError
from rifle_ext.redraw.reset import digest, forget, reinitialize, write

OPTIMIZERS = {
    "SGD": lambda p: paddle.optimizer.SGD(0.1, parameters=p),
    "Momentum": lambda p: paddle.optimizer.Momentum(0.1, parameters=p),
    "Adam": lambda p: paddle.optimizer.Adam(0.1, parameters=p),
    "AdamW": lambda p: paddle.optimizer.AdamW(0.1, parameters=p),
    "Adamax": lambda p: paddle.optimizer.Adamax(0.1, parameters=p),
    "Adagrad": lambda p: paddle.optimizer.Adagrad(0.1, parameters=p, initial_accumulator_value=0.5),
    "Adadelta": lambda p: paddle.optimizer.Adadelta(0.1, parameters=p),
    "RMSProp": lambda p: paddle.optimizer.RMSProp(0.1, parameters=p, centered=True),
    "Lamb": lambda p: paddle.optimizer.Lamb(0.1, parameters=p),
}
if hasattr(paddle.optimizer, "NAdam"):  # paddle 3
    OPTIMIZERS.update(
        {
            "NAdam": lambda p: paddle.optimizer.NAdam(0.1, parameters=p),
            "RAdam": lambda p: paddle.optimizer.RAdam(0.1, parameters=p),
            "ASGD": lambda p: paddle.optimizer.ASGD(0.1, batch_num=2, parameters=p),
            "Rprop": lambda p: paddle.optimizer.Rprop(0.1, parameters=p),
            "AMSGrad": lambda p: paddle.optimizer.AdamW(0.1, parameters=p, amsgrad=True),
        }
    )


def make(kind):
    """A model of two layers with its optimizer, as a process of its own would name them."""
    with paddle.utils.unique_name.guard():
        paddle.seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        return model, OPTIMIZERS[kind](model.parameters())


def step(model, optimizer):
    model(paddle.ones([5, 3])).square().sum().backward()
    with paddle.utils.unique_name.guard():
        optimizer.step()
    optimizer.clear_grad()


def state(optimizer):
    return {
        (kind, name): tensor.numpy()
        for kind, tensors in optimizer._accumulators.items()
        for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("kind", sorted(OPTIMIZERS))
def test_state_of_the_head_is_that_of_a_fresh_optimizer(kind):
    model, optimizer = make(kind)
    for _ in range(3):
        step(model, optimizer)
    before = state(optimizer)
    objects = {key: id(t) for d in optimizer._accumulators.values() for key, t in d.items()}
    head = dict(model[1].named_parameters())
    forget(optimizer, head)
    after = state(optimizer)
    assert before.keys() == after.keys()
    assert objects == {key: id(t) for d in optimizer._accumulators.values() for key, t in d.items()}

    other_model, other = make(kind)
    with paddle.utils.unique_name.guard():
        other.helper = paddle.base.layer_helper.LayerHelper("x")
        block = paddle.base.framework.default_main_program().global_block()
        other._create_accumulators(block, other_model.parameters())
    fresh = state(other)
    names = {p.name for p in head.values()}
    for key, value in after.items():
        assert np.array_equal(value, (fresh if key[1] in names else before)[key]), key


@pytest.mark.parametrize("kind", sorted(set(OPTIMIZERS) - {"SGD"}))
def test_state_that_was_loaded_and_not_consumed_yet_is_replaced(kind, tmp_path):
    model, optimizer = make(kind)
    for _ in range(3):
        step(model, optimizer)
    paddle.save(optimizer.state_dict(), str(tmp_path / "o.pdopt"))
    loaded = paddle.load(str(tmp_path / "o.pdopt"))

    model, optimizer = make(kind)
    optimizer.set_state_dict(loaded)
    forget(optimizer, dict(model[1].named_parameters()))
    resumed = {}
    keep = type(optimizer)._append_optimize_op

    def seen(self, block, pair):
        resumed.update(state(self)) if not resumed else None
        return keep(self, block, pair)

    type(optimizer)._append_optimize_op = seen
    try:
        step(model, optimizer)
    finally:
        type(optimizer)._append_optimize_op = keep

    model, whole = make(kind)
    for _ in range(3):
        step(model, whole)
    forget(whole, dict(model[1].named_parameters()))
    wanted = state(whole)
    assert wanted.keys() == resumed.keys()
    for key, value in wanted.items():
        assert np.array_equal(value, resumed[key]), key


def test_state_of_which_nothing_is_known_stops_the_reset():
    model, optimizer = make("Momentum")
    step(model, optimizer)
    head = dict(model[1].named_parameters())
    weight = head["weight"]
    optimizer._accumulators["curvature"] = {weight.name: paddle.ones(weight.shape)}
    with pytest.raises(RifleError, match="Momentum of paddle .* keeps curvature for the output"):
        forget(optimizer, head)
    backbone = dict(model[0].named_parameters())
    forget(optimizer, backbone)


def test_an_optimizer_that_has_done_no_step_needs_nothing():
    model, optimizer = make("Adam")
    forget(optimizer, dict(model[1].named_parameters()))
    assert not any(optimizer._accumulators.values())
    step(model, optimizer)


def test_master_weights_take_the_full_precision():
    with paddle.utils.unique_name.guard():
        layer = nn.Linear(3, 2)
        layer.to(dtype="bfloat16")
        optimizer = paddle.optimizer.AdamW(0.1, parameters=layer.parameters(), multi_precision=True)
        helper = paddle.base.layer_helper.LayerHelper("x")
        optimizer.helper = helper
        block = paddle.base.framework.default_main_program().global_block()
        optimizer._create_accumulators(block, layer.parameters())
    for tensors in optimizer._accumulators.values():
        for tensor in tensors.values():
            tensor.set_value(tensor * 0 + 5)
    tensors = dict(layer.named_parameters())
    values = {name: paddle.rand(t.shape) for name, t in tensors.items()}
    reinitialize(tensors, values, optimizer)
    for name, tensor in tensors.items():
        master = optimizer._master_weights[tensor.name]
        assert np.array_equal(master.numpy(), values[name].numpy())
        assert np.array_equal(
            tensor.astype("float32").numpy(),
            values[name].astype("bfloat16").astype("float32").numpy(),
        )
    assert all((value != 5).all() for value in state(optimizer).values())


def test_write_is_in_place_and_keeps_the_gradient_switch():
    layer = nn.Linear(3, 2)
    weight, identity = layer.weight, id(layer.weight)
    write({"w": weight}, {"w": paddle.ones([3, 2])})
    assert id(layer.weight) == identity
    assert (layer.weight.numpy() == 1).all()
    assert not layer.weight.stop_gradient
    layer(paddle.ones([1, 3])).sum().backward()
    assert layer.weight.grad is not None


def test_gradients_of_the_old_values_are_forgotten():
    """They are there at a reset where the gradients of several steps are added up."""
    model, optimizer = make("SGD")
    model(paddle.ones([5, 3])).square().sum().backward()
    kept = model[0].weight.grad.numpy()
    head = {"weight": model[1].weight, "bias": model[1].bias}
    reinitialize(head, {name: t * 0 + 1 for name, t in head.items()}, optimizer)
    assert all((t.grad.numpy() == 0).all() for t in head.values())
    assert kept.any()
    assert np.array_equal(model[0].weight.grad.numpy(), kept)


def test_digest_is_over_float32_bytes_in_order():
    a, b = np.float32([[1, 2], [3, 4]]), np.float32([5])
    wanted = hashlib.sha256(a.tobytes() + b.tobytes()).hexdigest()
    assert digest({"a": paddle.to_tensor(a), "b": paddle.to_tensor(b)}) == wanted
    assert digest({"b": paddle.to_tensor(b), "a": paddle.to_tensor(a)}) != wanted
