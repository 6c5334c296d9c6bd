"""What `rifle-ext trial` makes of figures: arms, inputs, verdicts, limits. Trains nothing."""

import json
import math

import numpy as np
import pytest
import yaml
from scipy import stats

from rifle_ext.commands.trial import inputs
from rifle_ext.commands.trial.arms import Arm, arms
from rifle_ext.commands.trial.live import line, overall, visible
from rifle_ext.commands.trial.measuring import Measured, disk_space, jobs_that_fit
from rifle_ext.commands.trial.running import State
from rifle_ext.commands.trial.runs import Outcome, Run, Setting, finish
from rifle_ext.commands.trial.statistics import holm, seeds_needed, smallest_effect
from rifle_ext.commands.trial.verdict import rows, verdict
from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.training.curves import Curves
from seg_hooks import logs as seg_logs

PLAIN = [0.701, 0.713, 0.698, 0.722, 0.705]
OTHER = [0.712, 0.718, 0.702, 0.731, 0.719]


def by_seed(values):
    return dict(enumerate(values))


def test_the_figures_are_scipys():
    plain, other = rows({"plain": by_seed(PLAIN), "other": by_seed(OTHER)})
    assert plain.against is None
    assert plain.metric.mean == pytest.approx(np.mean(PLAIN))
    low, high = stats.t.interval(0.95, 4, loc=np.mean(PLAIN), scale=stats.sem(PLAIN))
    assert (plain.metric.low, plain.metric.high) == (pytest.approx(low), pytest.approx(high))
    test = stats.ttest_rel(OTHER, PLAIN)
    between = test.confidence_interval(0.95)
    assert other.p == pytest.approx(test.pvalue)
    assert other.against.difference.low == pytest.approx(between.low)
    assert other.against.difference.high == pytest.approx(between.high)
    assert (other.against.wins, other.against.seeds) == (5, 5)


def test_only_seeds_that_both_have_are_compared():
    plain, other = rows({"plain": {0: 0.5, 1: 0.6, 3: 0.7}, "other": {1: 0.7, 2: 0.9, 3: 0.8}})
    assert (plain.seeds, other.seeds) == ([0, 1, 3], [1, 2, 3])
    assert other.against.seeds == 2
    assert other.against.difference.mean == pytest.approx(0.1)
    assert verdict(other, "plain", "mIoU").startswith("other: no verdict from 2 seeds")


def test_several_arms_are_corrected_for():
    values = {"plain": by_seed(PLAIN), "a": by_seed(OTHER), "b": by_seed(PLAIN[::-1])}
    _, a, b = rows(values)
    alone = [stats.ttest_rel(list(values[name].values()), PLAIN).pvalue for name in "ab"]
    assert [a.p, b.p] == pytest.approx(holm(alone))
    assert a.p == pytest.approx(2 * alone[0])


def test_verdicts_in_words():
    _, better = rows({"plain": by_seed(PLAIN), "other": by_seed(OTHER)})
    c = better.against.difference
    assert verdict(better, "plain", "mIoU") == (
        f"other is better than plain by {100 * c.mean:.2f} ± {100 * c.half:.2f} points of mIoU on "
        f"5 seeds (p = {better.p:.2g})."
    )
    _, worse = rows({"plain": by_seed(OTHER), "other": by_seed(PLAIN)})
    assert "other is worse than plain by 0.86" in verdict(worse, "plain", "mIoU")
    _, unsure = rows({"plain": by_seed(PLAIN), "other": by_seed([0.71, 0.70, 0.71, 0.70, 0.72])})
    said = verdict(unsure, "plain", "mIoU")
    assert "no difference from plain was shown on 5 seeds" in said
    half, whole = unsure.needed
    assert f"{half - 5} more seeds would settle 0.5 points" in said
    assert f"{whole - 5} more seeds would settle 1.0 points" in said
    largest = max(abs(unsure.against.difference.low), abs(unsure.against.difference.high))
    assert f"A difference of {100 * largest:.2f} points of mIoU cannot be ruled out" in said
    _, same = rows({"plain": by_seed(PLAIN), "other": by_seed(PLAIN)})
    assert verdict(same, "plain", "mIoU") == (
        "other: the same as plain on all 5 seeds, to the last digit."
    )
    assert math.isnan(same.p)
    json.dumps(same.as_json(), allow_nan=False)


def test_the_seeds_needed_are_the_least_that_would_do():
    for effect, spread in ((0.005, 0.01), (0.01, 0.004), (0.01, 0.05)):
        needed = seeds_needed(effect, spread)
        assert smallest_effect(spread, needed) <= effect
        assert needed == 3 or smallest_effect(spread, needed - 1) > effect
    assert seeds_needed(0.005, 0.0) == 3


@pytest.mark.parametrize("others", [1, 3])
def test_no_difference_is_seldom_called_one(others):
    """2,000 trials of arms that do not differ: at most 5 % say that one does."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(2000):
        seeds = rng.normal(0.7, 0.02, 5)  # what arms share by their seed
        values = {f"arm{i}": by_seed(seeds + rng.normal(0, 0.01, 5)) for i in range(others + 1)}
        wrong += any(row.decided for row in rows(values))
    assert stats.binomtest(wrong, 2000, 0.05, alternative="greater").pvalue > 0.01
    assert wrong > 40


CONFIG = {"iters": 10, "rifle": {"max_re_num": 2, "head_lr": {"scale": 2}}, "other": True}


def test_arms_as_given():
    plain, one, fast = arms(
        [["plain:rifle=false"], ["one:rifle.max_re_num=1", "batch_size=2"],
         ["fast:rifle.head_lr.scale=10", "other.new.key=[1, a]"]],
        CONFIG, ["rifle", "other"],
    )  # fmt: skip
    assert plain == Arm("plain", (), {"rifle": False, "other": {}})
    assert one.options == ("batch_size=2",)
    assert one.blocks["rifle"] == {"max_re_num": 1, "head_lr": {"scale": 2}}
    assert fast.blocks == {
        "rifle": {"max_re_num": 2, "head_lr": {"scale": 10}},
        "other": {"new": {"key": [1, "a"]}},
    }
    models = {"rifle": RifleConfig}
    whole = one.blocks_for(7, models)
    assert set(whole["rifle"]) == set(RifleConfig.model_fields)
    assert RifleConfig.model_validate(whole["rifle"]) == RifleConfig.model_validate(
        {"max_re_num": 1, "head_lr": {"scale": 2}, "seed": 7}
    )
    assert whole["other"] == {}
    assert one.blocks_for(None, models)["rifle"]["seed"] == RifleConfig().seed
    assert plain.blocks_for(7, models)["rifle"] is False
    wrong = Arm("x", (), {"rifle": {"max_re_nun": 1}})  # for the method to refuse
    assert wrong.blocks_for(None, models) == {"rifle": {"max_re_nun": 1}}


def test_arms_where_none_are_given():
    plain, block = arms([], CONFIG, ["rifle", "other", "third"])
    assert plain == Arm("plain", (), {"rifle": False, "other": False})
    assert block == Arm("block", (), {"rifle": CONFIG["rifle"], "other": {}})


@pytest.mark.parametrize("off", [{}, {"rifle": False}, {"rifle": "false"}])
def test_nothing_to_compare_is_said(off):
    with pytest.raises(RifleError, match="nothing to compare"):
        arms([], {"iters": 1, **off}, ["rifle"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([["a"]], "one arm alone"),
        ([["a"], ["a:x=1"]], "two arms of this name"),
        ([["a"], ["b:x"]], "--arm b: x: allowed is KEY=VALUE"),
        ([["a"], ["../b:x=1"]], "allowed is NAME"),
        ([["a"], [".."]], "allowed is NAME"),
        ([["a"], [":x=1"]], "allowed is NAME"),
        ([["a"], ["b:rifle.layers=[*.conv_out]"]], "--arm b: rifle.layers=.*globs in quotes"),
    ],
)
def test_wrong_arms_are_one_message(given, said):
    with pytest.raises(RifleError, match=said):
        arms(given, CONFIG, ["rifle"])


def test_inputs_tell_what_changed(tmp_path):
    (tmp_path / "base").mkdir()
    base, path = tmp_path / "base/base.yml", tmp_path / "config.yml"
    base.write_text("TrainDataset: !COCODataSet {dataset_dir: %s, anno_path: a.json}" % tmp_path)
    path.write_text("_BASE_: [base/base.yml]\nTrainDataset: {image_dir: x}\nweights: w.pdparams")
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "w.pdparams").write_text("1")
    path.write_text(path.read_text().replace("w.pdparams", str(tmp_path / "w")))
    tool = tmp_path / "train.py"
    tool.write_text("1")
    before = inputs.inputs(path, ["a=1"], ["some.module"], str(tool))
    assert set(before["config files"]) == {str(path), str(base)}
    named = {str(tmp_path / "a.json"), str(tmp_path / "w.pdparams")}
    assert set(before["files named in the config"]) == named
    assert before["versions"]["numpy"] == np.__version__
    now = inputs.inputs(path, ["a=2"], ["some.module"], str(tool))
    assert inputs.difference(before, before) == []
    assert inputs.difference(before, now) == ["options: all arms"]
    tool.write_text("2")
    (tmp_path / "a.json").write_text("{ }")
    base.write_text(base.read_text() + "\n")
    now = inputs.inputs(path, ["a=1"], ["some.module"], str(tool))
    assert inputs.difference(before, now) == [
        f"code of others: {tool}",
        f"config files: {base}",
        f"files named in the config: {tmp_path / 'a.json'}",
    ]


@pytest.mark.parametrize("value", [".", "./", "/", "..", "~no-such-user/weights", "a\0b"])
def test_strings_that_are_no_file_are_no_inputs(value, tmp_path):
    path = tmp_path / "my.yml"
    data = {"dataset_root": value, "train_path": value}
    path.write_text(yaml.safe_dump({"train_dataset": data}))
    assert inputs.inputs(path, [f"weights={value}"])["files named in the config"] == {}


@pytest.mark.parametrize("key", ["_base_", "_BASE_"])
def test_a_base_of_nobody_is_left_to_the_toolkit(key, tmp_path):
    path = tmp_path / "my.yml"
    path.write_text(f"{key}: ~no-such-user/base.yml\n")
    assert inputs.config_files(path)[0] == path


def test_how_far_a_trial_is():
    states = [State(Run(Arm("a", (), {}), seed)) for seed in range(4)]
    for state, phase, seconds in zip(
        states, ("done", "running", "waiting", "waiting"), (60, 20, 0, 0)
    ):
        state.phase, state.seconds = phase, seconds
    states[0].outcome = Outcome(metric=0.5)
    states[1].curves = Curves("seg", "mIoU", {5: 0.25}, {4: 0.375})
    assert overall(states, 10) == "1 of 4 have ended, about 2:10 left"  # (60 + 40) / 2 * 3 - 20
    assert line(states[0], 10) == "a, seed 0: done, step 10/10, metric 0.5000, 1:00"
    assert line(states[1], 10) == (
        "a, seed 1: running, 0:20 left, step 5/10, loss 0.25, metric 0.3750, 0:20"
    )
    states[2].phase, states[2].outcome = "failed", Outcome("exit code 1")
    assert line(states[2], 10) == "a, seed 2: failed: exit code 1"


def test_a_long_trial_fits_on_a_page():
    states = [State(Run(Arm("a", (), {}), seed)) for seed in range(1000)]
    for state in states[:30]:
        state.phase = "done"
    states[30].phase = "running"
    assert [state.run.seed for state in visible(states)] == [*range(10, 34)]
    assert [state.run.seed for state in visible(states[:30])] == [*range(10, 30)]


@pytest.mark.parametrize("keep", [False, True])
def test_what_is_left_of_a_training(keep, tmp_path):
    setting = Setting(
        "seg", None, seg_logs, "", "", [], [], tmp_path, "cpu", 10, 5, 1, {}, keep=keep
    )
    run = Run(Arm("a", (), {}), 0)
    out = run.folder(setting) / "output"
    (out / "iter_10").mkdir(parents=True)
    checkpoints = [f"iter_10/model.{kind}" for kind in ("pdparams", "pdopt", "pdlwf")]
    checkpoints += ["rifle_teacher_1.pdteacher", "rifle_teacher_12.pdteacher", "model.pdmodel"]
    others = ["rifle_events.jsonl", "curve.pdf"]
    for name in (*checkpoints, *others):
        (out / name).write_text("")
    lines = ["[TRAIN] epoch: 1, iter: 10/10, loss: 1.0", "[EVAL] #Images: 3 mIoU: 0.5 Acc: 0.5"]
    (run.folder(setting) / "train.log").write_text("\n".join(lines))
    assert finish(run, setting, 0).metric == 0.5
    left = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert left == {*others, *(checkpoints if keep else [])}


def test_what_a_trial_takes():
    assert Measured(start=10.0, step=0.5, memory=0).seconds(100) == 60.0
    gib = 2**30
    assert jobs_that_fit(4, 2 * gib, 7 * gib) == 3
    assert jobs_that_fit(4, 9 * gib, 7 * gib) == 1
    assert jobs_that_fit(2, 2 * gib, 7 * gib) == 2
    assert jobs_that_fit(4, 0, 7 * gib) == jobs_that_fit(4, gib, None) == 4
    # a value and two moments of 4 bytes, in three checkpoints
    assert disk_space(1000, jobs=2, runs=6, keep=False) == 72_000
    assert disk_space(1000, jobs=2, runs=6, keep=True) == 216_000
