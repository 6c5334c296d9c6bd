"""Each initializer a block may name, against the formula that defines it."""

import math

import numpy as np
import paddle
import pytest

from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.redraw import fresh
from rifle_ext.redraw.initializers import INITIALIZERS
from rifle_ext.runtime.numbers import LARGEST, SMALLEST

LINEAR, CONV = [300, 500], [120, 40, 3, 3]
FANS = {"linear": (300, 500), "conv": (40 * 9, 120 * 9)}
TRUNCATED = 0.8796256610342398


def drawn(spec, shape, key="weight_initializer", name="head.weight"):
    tensors = {name: paddle.zeros(shape)}
    initializers = parse_block({key: spec}).initializers().of(tensors)
    values = fresh.from_initializers(initializers, tensors, seed=3, index=1)
    return values[name].numpy().astype("float64")


def spec(kind, **arguments):
    return {"type": kind, **arguments}


def normal(std, mean=0.0):
    return lambda fan_in, fan_out: (mean, std(fan_in, fan_out), math.inf)


def truncated(std, mean=0.0):
    def expected(i, o):
        return mean, std(i, o) * TRUNCATED, 2 * std(i, o)

    return expected


def uniform(bound, mean=0.0):
    return lambda i, o: (mean, bound(i, o) / math.sqrt(3), bound(i, o))


CASES = {
    "constant": (spec("Constant", value=-4.6), lambda i, o: (-4.6, 0.0, 0.0)),
    "zeros": ("Constant", lambda i, o: (0.0, 0.0, 0.0)),
    "normal": (spec("Normal", mean=0.5, std=0.02), normal(lambda i, o: 0.02, 0.5)),
    "truncated": (
        spec("TruncatedNormal", mean=3.0, std=0.5),
        truncated(lambda i, o: 0.5, 3.0),
    ),
    "uniform": (spec("Uniform", low=1.0, high=2.0), uniform(lambda i, o: 0.5, 1.5)),
    "xavier normal": ("XavierNormal", normal(lambda i, o: math.sqrt(2 / (i + o)))),
    "xavier uniform": ("XavierUniform", uniform(lambda i, o: math.sqrt(6 / (i + o)))),
    "xavier, own fans": (
        spec("XavierNormal", fan_in=10, fan_out=40),
        normal(lambda i, o: math.sqrt(2 / 50)),
    ),
    "he normal": ("KaimingNormal", normal(lambda i, o: math.sqrt(2 / i))),
    "he uniform": ("KaimingUniform", uniform(lambda i, o: math.sqrt(6 / i))),
    "he, leaky": (
        spec("KaimingNormal", nonlinearity="leaky_relu", negative_slope=0.5),
        normal(lambda i, o: math.sqrt(2 / (1 + 0.25) / i)),
    ),
    "lecun": ("VarianceScaling", lambda i, o: (0.0, math.sqrt(1 / i), 2 / TRUNCATED / i**0.5)),
    "scaled by fan_out": (
        spec("VarianceScaling", scale=2.0, mode="fan_out"),
        lambda i, o: (0.0, math.sqrt(2 / o), 2 / TRUNCATED * math.sqrt(2 / o)),
    ),
    "scaled by fan_avg, uniform": (
        spec("VarianceScaling", scale=0.5, mode="fan_avg", distribution="uniform"),
        uniform(lambda i, o: math.sqrt(3 * 0.5 / ((i + o) / 2))),
    ),
}


@pytest.mark.parametrize("layer", ["linear", "conv"])
@pytest.mark.parametrize("case", list(CASES))
def test_moments_and_bounds_are_those_of_the_formula(case, layer):
    wanted, expected = CASES[case]
    values = drawn(wanted, {"linear": LINEAR, "conv": CONV}[layer])
    mean, std, bound = expected(*FANS[layer])
    assert values.mean() == pytest.approx(mean, abs=4 * std / math.sqrt(values.size) + 1e-6)
    assert values.std() == pytest.approx(std, rel=0.01, abs=1e-6)
    assert np.abs(values - mean).max() <= bound * (1 + 1e-5) + 1e-6
    if 0 < bound < math.inf:
        assert np.abs(values - mean).max() > 0.99 * bound  # the whole range, not less


@pytest.mark.parametrize(("shape", "rows"), [([30, 50], 30), ([50, 30], 50), ([20, 5, 3, 3], 20)])
def test_orthogonal_matrices(shape, rows):
    matrix = drawn(spec("Orthogonal", gain=2.0), shape).reshape([rows, -1])
    small = min(matrix.shape)
    product = matrix @ matrix.T if rows == small else matrix.T @ matrix
    assert np.allclose(product, 4 * np.eye(small), atol=1e-4)


def test_every_initializer_is_checked_here():
    named = {c[0] if isinstance(c[0], str) else c[0]["type"] for c in CASES.values()}
    apart = {"Orthogonal", "LSUV"}  # LSUV: rifle/test_recovery.py
    assert named | apart == set(INITIALIZERS)


def widest():
    """Each initializer with its first number at the largest allowed, and at the smallest."""
    for kind in sorted(INITIALIZERS):
        for argument in list(INITIALIZERS[kind].model_fields)[1:2]:
            for number in (-LARGEST, SMALLEST, LARGEST):
                yield kind, argument, number


@pytest.mark.parametrize(("kind", "argument", "number"), list(widest()))
def test_what_is_allowed_is_drawn_in_finite_numbers(kind, argument, number):
    try:
        values = drawn({"type": kind, argument: number}, [30, 50])
    except RifleError:
        assert number < SMALLEST or (kind, number) == ("Uniform", LARGEST)  # low above high
        return
    assert np.isfinite(values).all() and values.any()


def test_biases_have_an_initializer_of_their_own():
    tensors = {
        "head.weight": paddle.zeros([3, 4]),
        "head.bias": paddle.zeros([4]),
        "head.scale": paddle.ones([1]),
    }

    def values(**block):
        initializers = parse_block(block).initializers().of(tensors)
        return fresh.from_initializers(initializers, tensors, 0, 1)

    assert set(values()) == set()
    assert set(values(weight_initializer="XavierNormal")) == {"head.weight"}
    biases = values(bias_initializer={"type": "Constant", "value": -4.6})
    assert set(biases) == {"head.bias"}
    assert np.array_equal(biases["head.bias"].numpy(), np.full(4, -4.6, "float32"))
    both = values(weight_initializer="Orthogonal", bias_initializer="Normal")
    assert set(both) == {"head.weight", "head.bias"}
    assert drawn(spec("Uniform", low=0.0), [9000], "bias_initializer", "x.bias").min() >= 0
