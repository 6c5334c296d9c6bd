"""Killed ten times at random moments, a training does what it would have done."""

import json

import numpy as np
import paddle
import pytest
from conftest import ROOT
from processes import path_with, run
from seg_runs import OUTPUTS, REPEATABLE, same

from rifle_ext.commands.report.runs import events_of
from rifle_ext.commands.training_options import toolkits
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.training.setup import Request

pytestmark = pytest.mark.timeout(400)

KILLS, ITERS = 10, 80
RIFLE = {"re_init_iter": 20, "max_re_num": 3, "seed": 2}
FREEZE_OUT = {"layers": "all", "t_0": 0.2, "lr": "own", "how_scale": "squared"}


def train(path, folder, kills):
    path_of_tests = path_with(ROOT / "tests", ROOT / "examples", ROOT)
    script = ROOT / "tests/helpers/killed_runs.py"
    done = run(script, path, folder, kills, 5, timeout=300, PYTHONPATH=path_of_tests)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split("LIVES ")[1].split()[0])


def both(seg, **block):
    """The folders of a training that was left alone and of one that was killed."""
    path = seg.config(iters=ITERS, **REPEATABLE, **block)
    whole, killed = seg.folder / "whole", seg.folder / "killed"
    assert train(path, whole, 0) == 1
    assert train(path, killed, KILLS) == KILLS + 1
    starts = [e["step"] for e in seg.events("resume", out=killed)]
    assert starts == sorted(starts)
    assert len(set(starts)) > 2  # how many depends on how fast the machine is
    for end in ("model.pdparams", "model.pdopt"):
        wanted, found = (
            paddle.load(str(folder / f"iter_{ITERS}" / end), return_numpy=True)
            for folder in (whole, killed)
        )
        for state in (wanted, found):
            state.pop("LR_Scheduler", None)
        assert same(wanted, found), end
    return path, whole, killed


def head(checkpoint):
    state = paddle.load(str(checkpoint / "model.pdparams"))
    return {name: state[name].numpy() for name in OUTPUTS}


def test_resets(seg):
    path, whole, killed = both(seg, rifle=RIFLE)
    wanted = {e["step"]: e["digest"] for e in seg.events("reset", out=whole)}
    assert list(wanted) == [20, 40, 60]
    found = seg.events("reset", out=killed)
    assert {e["step"] for e in found} == set(wanted)
    assert all(e["digest"] == wanted[e["step"]] for e in found)

    with toolkits()["seg"].load()(Request(str(path))) as (_, run_):
        plan = Plan(parse_block(RIFLE), run_)
        fresh = {i: {n: t.numpy() for n, t in plan.draw(i).items()} for i in (1, 2, 3)}
    for folder in (whole, killed):
        for index, step in enumerate(wanted, start=1):
            before = head(folder / f"iter_{step}")
            assert not any(np.array_equal(before[n], fresh[index][n]) for n in OUTPUTS)
            after = head(folder / f"iter_{step + 1}")
            for name in OUTPUTS:  # one step away from the fresh head, not from the old one
                assert np.abs(after[name] - fresh[index][name]).max() < 0.2, (folder, step, name)
    lines = (killed / "rifle_events.jsonl").read_text().splitlines()
    assert all(json.loads(line) for line in lines)


def test_freezing(seg):
    _, whole, killed = both(seg, freeze_out=FREEZE_OUT)
    wanted, found = (
        [e for e in events_of(folder / "rifle_events.jsonl") if e["event"] == "freeze"]
        for folder in (whole, killed)
    )
    assert [e["step"] for e in wanted] == [4, 18, 44]
    assert found == wanted
