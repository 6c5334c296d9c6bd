"""The transfer benchmark: settings, arms and forks, from end to end."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import paddle
import pytest
from conftest import ROOT
from transfer_small import made_small

from benchmarks.transfer import __main__ as runner
from benchmarks.transfer import (
    arms,
    data,
    experiments,
    forking,
    outcome,
    settings,
    tricks,
)
from benchmarks.transfer.places import Place, Run
from benchmarks.transfer.regimes import REGIMES
from rifle_ext.commands.trial.records import append, is_done, read
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.schedule import make_schedule

RUNS = [run for experiment in experiments.EXPERIMENTS for run in experiment.runs()]


def test_overfit_takes_out_augmentation_and_decay_in_both_toolkits(tmp_path):
    for model, section, key in (
        ("pp_liteseg", "train_dataset", "transforms"),
        ("pp_liteseg_lite0", "train_dataset", "transforms"),
        ("gfl", "TrainReader", "sample_transforms"),
        ("ppyoloe_lite0", "TrainReader", "sample_transforms"),
    ):
        place = Place("digits", model, "overfit")
        config = settings.trunk_config(place, 0, tmp_path, tmp_path / "w")
        left = [t.get("type") or next(iter(t)) for t in config[section][key]]
        assert left in (["Normalize"], ["RandomPaddingCrop", "Normalize"], ["Decode", "Resize"])
        optimizer = config.get("optimizer") or config["OptimizerBuilder"]["optimizer"]
        assert optimizer == {"weight_decay": 0.0}
        clean = settings.trunk_config(replace(place, regime="clean"), 0, tmp_path, tmp_path / "w")
        assert key not in clean[section]
        assert not {"optimizer", "OptimizerBuilder"} & set(clean)


def test_every_arm_resets_where_it_says_and_its_control_never_does():
    for toolkit, chosen in arms.ARMS.items():
        for name, arm in chosen.items():
            blocks = arm.blocks(1200, seed=3)
            if name.endswith(arms.CONTROL):
                assert set(blocks) == {"trick"}
                twin = chosen[name[: -len(arms.CONTROL)]]
                assert arm.begins(1200) == twin.begins(1200)
                if not arm.defaults:
                    assert blocks["trick"]["after"] == arm.steps(1200)
                    rate = twin.blocks(1200, seed=3)["rifle"]["head_lr"]
                    assert {**blocks["trick"], **rate} == blocks["trick"]
                continue
            if not arm.places or not arm.must_reset:
                continue
            schedule = make_schedule(parse_block(blocks["rifle"]), 1200, 6)
            steps = [reset.step for reset in schedule.resets]
            assert steps == arm.steps(1200) != []
            assert arm.begins(1200) == steps[0]
            control = arms.control_of(toolkit, name)
            assert (control is None) == (arm.scale == 1)


def test_every_fine_tuning_has_a_key_and_settings_of_its_own():
    assert len({run.key for run in RUNS}) == len(set(RUNS)) == len(RUNS)
    few = [run for run in RUNS if run.seed == 1]
    digests = {settings.digest(run, runner.source_of(run.place)) for run in few}
    assert len(digests) == len(few)
    assert {run.place.data for run in RUNS} >= {"digits", "camvid", "bccd"}
    assert all("plain" in experiment.arms for experiment in experiments.EXPERIMENTS)


def test_a_digest_follows_what_a_run_does_and_nothing_else(monkeypatch, tmp_path):
    run = Run(Place("digits", "gfl", "overfit"), "one", 0)
    first = settings.digest(run, "s")
    assert settings.digest(run, "s") == first
    assert settings.digest(run, "t") != first
    assert settings.digest(replace(run, seed=1), "s") != first
    reworded = {"overfit": replace(REGIMES["overfit"], words="other words")}
    monkeypatch.setattr(settings, "REGIMES", {**REGIMES, **reworded})
    assert settings.digest(run, "s") == first
    monkeypatch.setattr(data, "VAL", 7)
    assert settings.digest(run, "s") != first


@pytest.mark.parametrize("toolkit", sorted(arms.ARMS))
def test_the_defaults_reset_after_they_are_forked_and_their_control_has_their_rates(toolkit):
    """Through a real model's plan: of the config that the package ships for its demo."""
    from rifle_ext.commands.training_options import toolkits
    from rifle_ext.methods.rifle.plan import Plan
    from rifle_ext.training.setup import Request

    config = {"seg": "configs/seg/pp_liteseg.yml", "det": "configs/det/gfl.yml"}[toolkit]
    arm = arms.ARMS[toolkit][arms.DEFAULT]
    with toolkits()[toolkit].load()(Request(str(ROOT / config), synthetic=True)) as (_, run):
        plan = Plan(parse_block(arm.blocks(run.total_steps, 0)["rifle"]), run)
        assert plan.schedule.resets[0].step >= arm.begins(run.total_steps)
        control = arms.control_of(toolkit, arms.DEFAULT)
        way = plan.recoveries[0]
        assert (control is None) == (way.scale == 1)
        if control:
            block = arms.ARMS[toolkit][control].blocks(run.total_steps, 0)["trick"]["block"]
            trick = tricks.RatesOnly(block)
            trick.on_train_begin(run)
            head = next(iter(plan.selection.parameters.values()))
            rates = []
            for step in range(way.start - 1, way.start + way.iterations + 1):
                trick.on_step_begin(run, step)
                rates.append(head.optimize_attr["learning_rate"])
            assert rates == [1.0, *[way.scale] * way.iterations, 1.0]


@pytest.fixture
def small(monkeypatch):
    made_small(monkeypatch)


def test_movement_is_relative_and_by_stage():
    before = {
        "backbone.stem.w": np.array([3.0, 4.0]),
        "backbone.stages.0.a.w": np.array([1.0]),
        "backbone.stages.0.b.w": np.array([0.0]),
        "backbone.stages.1.a.w": np.array([2.0]),
    }
    after = {**before, "backbone.stages.0.b.w": np.array([0.5])}
    after["backbone.stem.w"] = np.array([3.0, 5.0])
    assert outcome.moved(before, after) == {
        "backbone.stem": 0.2,
        "backbone.stages.0": 0.5,
        "backbone.stages.1": 0.0,
    }


@pytest.mark.parametrize(("toolkit", "model"), [("seg", "pp_liteseg"), ("det", "gfl")])
def test_a_forked_arm_is_that_arm_run_alone(toolkit, model, small, tmp_path):
    """Bit for bit, in both toolkits, with all that it draws and adds to the loss."""
    place = Place("digits", model, "clean")
    run = Run(place, "distill", 1)
    scenes = data.prepare(tmp_path / "data", "digits", None)
    data.write_few(scenes, "digits", "clean", REGIMES["clean"], 1)
    paddle.save({"nothing": paddle.zeros([1])}, str(tmp_path / "w.pdparams"))
    config = settings.trunk_config(place, 1, scenes, tmp_path / "w.pdparams")
    branch = forking.Branch(run.what.begins(12), str(tmp_path / "forked"), run.blocks())
    forking.write(tmp_path / "branches.json", [branch])
    fork = {"branches": str(tmp_path / "branches.json"), "limit": 100, "trunk": False}
    for name, extra in (("trunk", {"fork": fork}), ("alone", run.blocks())):
        (tmp_path / name).mkdir()
        runner.train(toolkit, {**config, **extra}, tmp_path / name, 1, "cpu", 100)
    folders = [tmp_path / "forked", tmp_path / "alone"]
    forked, alone = (
        paddle.load(str(outcome.last_weights(folder)), return_numpy=True) for folder in folders
    )
    assert all(np.array_equal(forked[name], alone[name]) for name in alone)
    first, second = (outcome.resets(folder) for folder in folders)
    assert first == second != []
    assert not list((tmp_path / "trunk").rglob("*.pdparams"))  # it was not asked for


def test_the_command_runs_what_is_missing_or_was_run_otherwise(
    small, tmp_path, monkeypatch, capsys
):
    place = Place("digits", "pp_liteseg", "noisy40")
    wanted = experiments.Experiment(place, ("plain", "three", "three-control"), (0,))
    monkeypatch.setattr(experiments, "EXPERIMENTS", [wanted])
    results = tmp_path / "runs.jsonl"
    flags = ["--work", str(tmp_path / "work"), "--results", str(results), "--seeds", "0"]
    monkeypatch.setattr("sys.argv", ["transfer", *flags])
    runner.main()
    assert "3 fine-tunings, 0 of them done" in capsys.readouterr().out
    lines = read(results)
    assert set(lines) == {*(run.key for run in wanted.runs()), "digits/pp_liteseg/source"}
    plain, three, control = (lines[run.key] for run in wanted.runs())
    assert (plain["resets"], three["resets"], control["resets"]) == ([], [3, 6, 9], [])
    for line in (plain, three, control):
        assert 0 <= line["metric"] <= 1
        assert 0 < max(line["moved"].values()) < 1
        assert len(line["digest"]) == len(line["package"]) == 16
        assert line["at"] == [5, 10]
        assert len(line["losses"]) == 2
    assert not list((tmp_path / "work/runs").rglob("*.pdparams"))

    trained = []
    monkeypatch.setattr(runner, "train", lambda *args, **options: trained.append(args))
    runner.main()
    assert "3 fine-tunings, 3 of them done" in capsys.readouterr().out
    assert not trained
    monkeypatch.setattr(data, "VAL", 3)
    runner.main()
    said = capsys.readouterr().out
    assert "3 fine-tunings, 0 of them done" in said
    assert "FAILED" in said  # nothing was trained: said, and no result is written
    assert read(results) == lines


def test_results_survive_a_kill(tmp_path):
    results = tmp_path / "runs.jsonl"
    assert read(results) == {}
    append(results, {"key": "a", "digest": "1"})
    append(results, {"key": "b", "digest": "1"})
    with results.open("a") as file:
        file.write('{"key": "c", "met')
    assert set(read(results)) == {"a", "b"}
    append(results, {"key": "a", "digest": "2"})
    assert read(results)["a"]["digest"] == "2"  # the later line counts
    assert is_done(read(results), "a", "2")
    assert not is_done(read(results), "a", "1")


CHILD = """
import atexit, os, sys
from benchmarks.transfer.forking import children_leave_at_once, fork
open("train.log", "w").close()
atexit.register(lambda: print("exit handlers", flush=True))
with children_leave_at_once():
    if fork("child", 60) and sys.argv[1] == "raises":
        raise RuntimeError("in the child")
    print("done")
"""


@pytest.mark.parametrize(("how", "said"), [("ends", "done"), ("raises", "in the child")])
def test_a_forked_arm_ends_without_exit_handlers(tmp_path, how, said):
    """They would wait for locks of threads that only the parent has."""
    command = [sys.executable, "-c", CHILD, how]
    where = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    done = subprocess.run(command, timeout=60, capture_output=True, text=True, **where)
    assert (done.returncode, done.stdout) == (0, "done\nexit handlers\n"), done.stderr
    log = (tmp_path / "child/train.log").read_text()
    assert said in log and "exit handlers" not in log
