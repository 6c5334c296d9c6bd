"""The benchmark's trial of its own: other seeds, two tests, counted when it is complete."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.transfer import experiments, table
from benchmarks.transfer.comparisons import Results
from benchmarks.transfer.experiments import TRIAL, TRIED


def line(place, arm, seed, metric):
    about = {"data": place.data, "model": place.model, "regime": place.regime, "arm": arm}
    run = {"seed": seed, "metric": metric, "resets": [], "at": [5], "losses": [1.0], "steps": 5}
    return {"key": f"{place.model}/{arm}/{seed}", **about, **run, "moved": {}}


@pytest.fixture
def lines():
    """Four seeds of before, in the first place, and the trial's: a gain there, else a loss."""
    noise = np.random.default_rng(0).normal(0.01, 0.02, len(TRIAL))
    before = [
        line(TRIED[0], arm, s, 0.5 + s / 90) for s in range(5, 9) for arm in ("plain", "rifle")
    ]
    return noise, before + [
        line(place, arm, seed, 0.5 + (arm == "rifle") * sign * difference)
        for place, sign in zip(TRIED, (1, -1))
        for seed, difference in zip(TRIAL, noise)
        for arm in ("plain", "rifle")
    ]


def test_seeds_of_the_trial_are_of_nothing_else():
    others = {*experiments.SEARCH, *experiments.CONFIRM}
    assert not others & set(TRIAL) and set(experiments.SEEDS) == others | set(TRIAL)
    runs = [run for experiment in experiments.EXPERIMENTS for run in experiment.runs()]
    assert {run.place for run in runs if run.seed in TRIAL} == set(TRIED)


def test_p_is_corrected_for_its_two_tests(lines):
    noise, made_up = lines
    p = 2 * stats.ttest_1samp(noise, 0).pvalue
    first, second = table.summary(Results(made_up))[2:]
    assert f"| pp_liteseg | 20 (trial) | 0.500 | {noise.mean():+.3f} " in first
    assert f"| ppyoloe | 20 (trial) | 0.500 | {-noise.mean():+.3f} " in second
    assert f"| {table.probability(p)} |" in first and f"| {table.probability(p)} |" in second


def test_it_does_not_count_before_it_is_complete(lines):
    (shown,) = table.summary(Results(lines[1][:-1]))[2:]
    assert "| pp_liteseg | 4 | " in shown
