"""When resets fall: pure functions."""

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.schedule import (
    AMPLE,
    MOST,
    cosine,
    make_schedule,
    measured_steps,
)


def steps(total, per_epoch=10, **block):
    return [reset.step for reset in make_schedule(parse_block(block), total, per_epoch).resets]


def test_equal_periods_over_the_whole_training_with_a_number_alone():
    assert steps(400, max_re_num=3) == [100, 200, 300]
    assert steps(400, max_re_num=1) == [200]
    assert steps(10, max_re_num=2) == [3, 6]


def falling(total):
    """Steps at the peak rate left, where the rate falls linearly to 0."""
    return lambda step: (total - step) ** 2 / (2 * total)


def test_default_of_a_long_training_is_the_papers():
    assert steps(40_000) == [10_000, 20_000, 30_000]
    assert measured_steps(40_000, falling(40_000), 100) == [10_000, 20_000, 30_000]


def test_more_than_one_reset_takes_ample_periods():
    assert steps(2999) == [1499]
    assert steps(3000) == [1000, 2000]
    assert steps(3999) == [1333, 2666]
    assert steps(4000) == [1000, 2000, 3000]


def test_by_default_resets_come_early_enough():
    # 6000 steps at a falling rate are worth 3000; the last third of them would be worth 333.
    assert measured_steps(6000, falling(6000), 100) == [2000, 4000]
    # Where it falls faster, equal thirds of what they are worth.
    total = 15_000
    done = measured_steps(total, lambda step: (total - step) ** 5 / (5 * total**4), 100)
    assert done == [int(total * (1 - (share / 3) ** (1 / 5))) for share in (2, 1)]


def test_a_head_that_needs_more_gets_fewer_and_earlier_resets():
    assert len(measured_steps(4000, lambda step: 4000 - step, 100)) == 3
    assert len(measured_steps(4000, lambda step: 4000 - step, 300)) == 1
    assert measured_steps(600, falling(600), 60) == [300]
    assert measured_steps(600, falling(600), 100) == [175]


def test_a_short_training_gets_one_reset_with_half_of_its_learning_left():
    assert steps(300) == [150]
    assert measured_steps(600, falling(600), 200) == [175]
    assert measured_steps(300, falling(300), 200) == [87]
    assert falling(300)(87) >= falling(300)(0) / 2 > falling(300)(88)
    assert steps(2) == [1]


def test_rates_count_only_where_the_block_leaves_it_open():
    for block in ({"max_re_num": 2}, {"re_init_iter": 30}, {"re_init_epoch": 3}):
        given = parse_block(block)
        assert make_schedule(given, 300, 10, falling(300)) == make_schedule(given, 300, 10)


@given(total=st.integers(1, 20_000), power=st.floats(0, 4))
def test_properties_of_the_default(total, power):
    def left(step):
        return total / (power + 1) * (1 - step / total) ** (power + 1)

    plan = make_schedule(parse_block({}), total, 10, left)
    done = [reset.step for reset in plan.resets]
    assert done == sorted(set(done))
    assert all(0 < step < total for step in done)
    if total > 1:
        assert 1 <= len(done) <= MOST
        ends = [*done[1:], total]
        periods = [left(start) - left(end) for start, end in zip(done, ends)]
        step = left(0) - left(1)  # places are whole steps
        assert min(periods) >= min(100, left(0) / 2) - step
        assert len(done) == 1 or left(0) / (len(done) + 1) >= AMPLE


def test_epochs_and_iterations():
    assert steps(100, per_epoch=10, re_init_epoch=2) == [20, 40, 60]
    assert steps(100, per_epoch=10, re_init_iter=20) == [20, 40, 60]
    assert steps(1000, re_init_iter=20, max_re_num=1) == [20]


def test_the_epoch_of_a_reset_is_that_of_the_last_step_done():
    resets = make_schedule(parse_block({"re_init_iter": 10}), 100, 10).resets
    assert [reset.epoch for reset in resets] == [1, 2, 3]
    resets = make_schedule(parse_block({"re_init_iter": 11}), 100, 10).resets
    assert [reset.epoch for reset in resets] == [2, 3, 4]


def test_a_reset_that_leaves_too_little_is_skipped_with_the_reason():
    plan = make_schedule(parse_block({"re_init_epoch": 2}), 70, 10)
    assert [reset.step for reset in plan.resets] == [20, 40]
    assert [(s.index, s.step) for s in plan.skipped] == [(3, 60)]
    assert plan.skipped[0].why == ("it would leave 10 iterations of the 20 that keep_last asks for")


def test_keep_last_is_in_the_unit_of_the_interval():
    assert steps(70, re_init_epoch=2, keep_last=1) == [20, 40, 60]
    assert steps(70, re_init_iter=20, keep_last=10) == [20, 40, 60]
    assert steps(70, re_init_iter=20, keep_last=11) == [20, 40]
    assert steps(60, re_init_iter=20, keep_last=0) == [20, 40]


def test_no_reset_at_the_very_end():
    plan = make_schedule(parse_block({"re_init_iter": 20, "keep_last": 0}), 40, 10)
    assert [reset.step for reset in plan.resets] == [20]
    assert [s.why for s in plan.skipped] == ["the training ends at iteration 40"] * 2


def test_a_training_shorter_than_its_periods():
    plan = make_schedule(parse_block({"max_re_num": 3}), 2, 1)
    assert [reset.step for reset in plan.resets] == [1]
    assert plan.resets[0].index == 1
    assert [s.why for s in plan.skipped] == ["the training ends at iteration 2"] * 2
    assert make_schedule(parse_block({}), 1, 1).resets == ()


@pytest.mark.parametrize(("total", "per_epoch"), [(0, 1), (10, 0)])
def test_a_training_without_steps_is_refused(total, per_epoch):
    with pytest.raises(RifleError, match="nothing to train"):
        make_schedule(parse_block({}), total, per_epoch)


@given(
    total=st.integers(1, 5000),
    per_epoch=st.integers(1, 200),
    number=st.integers(1, 20),
    interval=st.none() | st.integers(1, 300),
    unit=st.sampled_from(["re_init_epoch", "re_init_iter"]),
    keep=st.none() | st.integers(0, 300),
)
def test_properties_of_every_schedule(total, per_epoch, number, interval, unit, keep):
    block = parse_block({unit: interval, "max_re_num": number, "keep_last": keep})
    plan = make_schedule(block, total, per_epoch)
    done = [reset.step for reset in plan.resets]
    assert len(done) + len(plan.skipped) == number
    assert done == sorted(set(done))
    assert all(0 < step < total for step in done)
    if keep is not None:
        scale = per_epoch if interval and unit == "re_init_epoch" else 1
        assert all(total - step >= keep * scale for step in done)
    assert {reset.index for reset in [*plan.resets, *plan.skipped]} == set(range(1, number + 1))
    for step in (0, *done, total - 1):
        start, end = plan.period(step)
        assert start <= step < end
        assert start in (0, *done)
        assert end in (*done, total)


@given(interval=st.integers(1, 20), per_epoch=st.integers(1, 50), total=st.integers(1, 3000))
def test_epochs_and_as_many_iterations_are_the_same_schedule(interval, per_epoch, total):
    by_epoch = make_schedule(parse_block({"re_init_epoch": interval}), total, per_epoch)
    by_iter = make_schedule(parse_block({"re_init_iter": interval * per_epoch}), total, per_epoch)
    assert by_epoch == by_iter


def test_periods():
    plan = make_schedule(parse_block({"re_init_iter": 4, "max_re_num": 2}), 12, 2)
    assert [plan.period(step) for step in (0, 3, 4, 11)] == [(0, 4), (0, 4), (4, 8), (8, 12)]


def test_cosine_is_that_of_the_papers_code():
    epochs, periods = 40, 4
    u = epochs // periods
    for epoch in range(epochs):
        start = epoch // u * u
        wanted = 0.5 * (1 + math.cos(math.pi * (epoch % u) / u))
        assert cosine(epoch, start, start + u) == pytest.approx(wanted, abs=1e-12)


def test_the_schedule_imports_no_paddle():
    code = "import sys, rifle_ext.methods.rifle.schedule; sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
