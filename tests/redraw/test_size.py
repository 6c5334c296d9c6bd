"""The size of fresh weights: of inputs, of draws, of what is left alone."""

import math

import numpy as np
import paddle
import pytest
from paddle import nn

from rifle_ext.redraw.lsuv import Calibration
from rifle_ext.redraw.size import SMALL, inputs_of, resized, root_mean_square


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.Linear(64, 5), 64),
        (nn.Conv2D(64, 5, 1), 64),
        (nn.Conv2D(8, 5, 3), 72),
        (nn.Conv2D(8, 8, 3, groups=8), 9),
        (nn.Conv2DTranspose(64, 5, 2, stride=2), 64),
        (nn.Conv2DTranspose(64, 5, 4, stride=2), 256),
        (nn.Conv2DTranspose(64, 64, 4, stride=2, groups=64), 4),
        (nn.Conv1D(4, 5, 3), 12),
    ],
)
def test_inputs_of_one_output(layer, inputs):
    assert inputs_of(layer, layer.weight.shape) == inputs


def test_the_most_that_a_raw_parameter_can_sum_up():
    assert inputs_of(nn.Layer(), [19, 192]) == 192
    assert inputs_of(nn.Layer(), [192, 19]) == 192


def draw(*shape, std=0.25):
    return paddle.to_tensor(np.random.RandomState(0).normal(0, std, shape).astype("float32"))


def test_auto_is_small_and_never_enlarges():
    values = {"a": draw(6, 64, 1, 1), "b": draw(6, 64, 1, 1, std=0.001), "bias": draw(6)}
    sized = resized(values, {"a": 64, "b": 64}, "auto")
    assert root_mean_square(sized["a"]) == pytest.approx(SMALL / 8, rel=1e-5)
    assert sized["b"] is values["b"] and sized["bias"] is values["bias"]
    ratio = (sized["a"] / values["a"]).numpy()
    assert np.allclose(ratio, ratio.reshape(-1)[0])


def test_a_table_that_is_looked_up_is_left_alone():
    values = {"queries": draw(100, 4)}
    assert resized(values, {}, "auto")["queries"] is values["queries"]


def test_a_number_multiplies_random_weights_alone():
    values = {"a": draw(6, 8), "constant": paddle.full([6, 8], 0.5), "bias": draw(6)}
    sized = resized(values, {"a": 8, "constant": 8}, 2.0)
    assert np.array_equal(sized["a"].numpy(), 2 * values["a"].numpy())
    assert sized["constant"] is values["constant"] and sized["bias"] is values["bias"]
    assert resized(values, {"a": 8, "constant": 8}, 1)["a"] is values["a"]


def test_root_mean_square():
    assert root_mean_square(draw(50, 40, std=0.3)) == pytest.approx(0.3, rel=0.05)
    assert root_mean_square(paddle.to_tensor([[3.0, 4.0]])) == pytest.approx(math.sqrt(12.5))
    assert root_mean_square(paddle.zeros([3, 3])) == 0
    assert root_mean_square(draw(9)) == 0


def test_lsuv_leaves_alone_what_it_cannot_see():
    """Paddle hands a hook no keyword arguments."""
    layer, told = nn.Linear(4, 3), []
    calibration = Calibration({"weight": layer}, 1.0, lambda *what: told.append(what))
    layer(input=paddle.rand([2, 4]))
    assert told == [] and calibration.end() == ["weight"]


NOTHING = {
    "infinite": paddle.full([3, 4], float("inf")),
    "one that is no number": paddle.to_tensor([[1.0, 2.0, 3.0, float("nan")], [0.0] * 4]),
    "all alike": paddle.zeros([5, 4]),
    "too large": paddle.to_tensor([[1e30] * 4, [-1e30] * 4]),
}
"""Batches through which no variance comes."""


def orthonormal(outputs):
    layer = nn.Linear(4, outputs)
    nn.initializer.Orthogonal()(layer.weight)
    return layer


@pytest.mark.parametrize("kind", sorted(NOTHING))
def test_lsuv_waits_for_a_batch_whose_outputs_vary(kind):
    layer, told = orthonormal(3), []
    before = layer.weight.numpy()
    calibration = Calibration({"weight": layer}, 0.25, lambda *what: told.append(what))
    for _ in range(2):
        layer(NOTHING[kind])
        assert np.array_equal(layer.weight.numpy(), before) and told == []
    output = layer(paddle.rand([32, 4]))
    assert float(output.var()) == pytest.approx(0.25, rel=1e-3)
    ((_, value, factor),) = told
    assert np.array_equal(layer.weight.numpy(), value.numpy())
    assert np.allclose(value.numpy(), factor * before)
    assert calibration.end() == []


def test_lsuv_leaves_a_weight_orthonormal_whose_output_is_a_single_value():
    layer = orthonormal(1)
    before = layer.weight.numpy()
    calibration = Calibration({"weight": layer}, 1.0, lambda *what: None)
    layer(paddle.rand([1, 4]))
    assert np.array_equal(layer.weight.numpy(), before)
    assert calibration.end() == ["weight"]


def test_lsuv_waits_on_every_rank_if_one_has_to(monkeypatch):
    others = [float("nan"), 0.0]  # the variance that the other of two ranks has

    def added_up(variance):
        variance.set_value(variance + others.pop(0))

    monkeypatch.setattr(paddle.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(paddle.distributed, "all_reduce", added_up)
    layer = orthonormal(3)
    before = layer.weight.numpy()
    Calibration({"weight": layer}, 1.0, lambda *what: None)
    layer(paddle.rand([32, 4]))
    assert np.array_equal(layer.weight.numpy(), before)
    output = layer(paddle.rand([32, 4]))
    assert float(output.var()) == pytest.approx(2.0, rel=1e-3)  # the mean of 2 and 0 is 1
