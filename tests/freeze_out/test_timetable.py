"""When layers freeze, at what rate they learn until then, what that saves: pure functions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rifle_ext.methods.freeze_out.saving import left_out, saving
from rifle_ext.methods.freeze_out.schedule import Timetable, fractions

HOW = ("linear", "squared", "cubic")
AUTHORS = {"linear": lambda x: x, "squared": lambda x: x**2, "cubic": lambda x: x**3}
"""`scale_fn` of the authors' utils.py."""


def authors_rates(layers, t_0, how_scale, scale_lr, steps, lr=0.1):
    """For each layer its rate in each step, 0 once it is inactive: vgg.py of the authors' code."""
    found = []
    for layer_index in range(layers):
        lr_ratio = AUTHORS[how_scale](t_0 + (1 - t_0) * float(layer_index) / layers)
        max_j = steps * lr_ratio
        first = lr / lr_ratio if scale_lr else lr
        found.append(
            [
                0.0 if j > max_j else (first / 2) * (1 + math.cos(math.pi * j / max_j))
                for j in range(steps)
            ]
        )
    return found


def timetable(layers, t_0, how_scale, scale_lr, steps, start=0):
    return Timetable(start, steps, tuple(fractions(layers, t_0, how_scale)), scale_lr)


@pytest.mark.parametrize("scale_lr", [False, True])
@pytest.mark.parametrize("how_scale", HOW)
def test_rates_are_those_of_the_authors_code(how_scale, scale_lr):
    table = timetable(7, 0.5, how_scale, scale_lr, 90)
    wanted = authors_rates(7, 0.5, how_scale, scale_lr, 90)
    for index in range(7):
        rates = [0.1 * table.factor(index, step) for step in range(90)]
        assert rates == pytest.approx(wanted[index], abs=1e-12)


def test_the_fractions_are_those_of_the_paper():
    assert fractions(4, 0.5, "linear") == [0.5, 0.625, 0.75, 0.875]
    assert fractions(2, 0.8, "cubic") == pytest.approx([0.512, 0.729])
    assert fractions(2, 0.5, "squared") == pytest.approx([0.25, 0.5625])


def test_scaled_rates_go_as_far_in_every_layer():
    table = timetable(5, 0.6, "squared", True, 10_000)
    for index in range(5):
        way = sum(table.factor(index, step) for step in range(10_000))
        assert way == pytest.approx(5000, rel=1e-3)


def test_a_layer_freezes_where_its_rate_is_0():
    table = timetable(1, 0.1, "linear", False, 30)
    assert table.freezes_at(0) == 3  # 0.1 * 30 is a little more than that
    assert table.factor(0, 2) > 0 and table.factor(0, 3) == 0
    assert table.frozen_by(2) == [] and table.frozen_by(3) == [0]


@given(
    st.integers(1, 40), st.floats(0, 1), st.sampled_from(HOW), st.booleans(),
    st.integers(1, 300), st.integers(0, 400),
)  # fmt: skip
def test_layers_freeze_in_order_and_rates_never_rise(layers, t_0, how, scaled, steps, start):
    table = timetable(layers, t_0, how, scaled, steps, start)
    freezing = [table.freezes_at(index) for index in range(layers)]
    assert freezing == sorted(freezing) and freezing[0] >= start
    for index in {0, layers - 1}:
        rates = [table.factor(index, step) for step in range(start, steps)]
        assert all(a >= b for a, b in zip(rates, rates[1:]))
        for step, rate in enumerate(rates, start):
            assert (rate == 0) == (index in table.frozen_by(step))
        assert all(table.factor(index, step) == 1 for step in range(min(start, steps)))


def test_a_clock_that_starts_later_is_that_of_a_shorter_training():
    late, short = (timetable(3, 0.5, "cubic", True, 40 + s, s) for s in (60, 0))
    for index in range(3):
        assert late.freezes_at(index) == 60 + short.freezes_at(index)
        for step in range(40):
            assert late.factor(index, 60 + step) == short.factor(index, step)


def test_with_t_0_at_its_ends():
    table = timetable(2, 0, "linear", True, 10)
    assert table.freezes_at(0) == 0 and table.factor(0, 0) == 0
    assert timetable(2, 1, "cubic", True, 10).freezes_at(0) == 10


def calc_speedup(c, t_0, how_scale):
    """The authors' utils.py, given the work of each layer, without the 1.3 of linear schedules."""
    whole = 2 * sum(c)
    frozen = sum(c) + sum(
        c_i * AUTHORS[how_scale](t_0 + (1 - t_0) * float(index) / len(c))
        for index, c_i in enumerate(c)
    )
    return 1 - float(frozen) / whole


@pytest.mark.parametrize("how_scale", HOW)
def test_the_estimate_is_the_authors(how_scale):
    work = [3.0, 10.0, 2.0, 7.5]
    part = left_out(work, fractions(4, 0.5, how_scale))
    assert saving(part, backward=1) == pytest.approx(calc_speedup(work, 0.5, how_scale))


def test_a_backward_pass_takes_twice_as_long_as_a_forward_pass():
    assert saving(left_out([1.0], [0.0])) == pytest.approx(2 / 3)
    assert saving(left_out([1.0], [0.0], rest=1.0)) == pytest.approx(1 / 3)
    assert saving(left_out([1.0], [1.5])) == 0
    assert left_out([0.0], [0.5]) == 0
