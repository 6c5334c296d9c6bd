"""Killed twenty times at random moments, a training does what it would have done."""

import json

import numpy as np
import paddle
import pytest
from conftest import ROOT
from processes import path_with, run
from seg_runs import OUTPUTS

from rifle_ext.commands.training_options import toolkits
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.training.setup import Request

pytestmark = pytest.mark.timeout(400)

KILLS, ITERS = 20, 200
RIFLE = {"re_init_iter": 50, "max_re_num": 3, "seed": 2}


def train(path, folder, kills):
    path_of_tests = path_with(ROOT / "tests", ROOT / "examples", ROOT)
    script = ROOT / "tests/helpers/killed_runs.py"
    done = run(script, path, folder, kills, 5, timeout=300, PYTHONPATH=path_of_tests)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split("LIVES ")[1].split()[0])


def head(checkpoint):
    state = paddle.load(str(checkpoint / "model.pdparams"))
    return {name: state[name].numpy() for name in OUTPUTS}


def test_twenty_kills_change_nothing(seg):
    path = seg.config(iters=ITERS, rifle=RIFLE)
    whole, killed = seg.folder / "whole", seg.folder / "killed"
    assert train(path, whole, 0) == 1
    assert train(path, killed, KILLS) == KILLS + 1

    wanted = {e["step"]: e["digest"] for e in seg.events("reset", out=whole)}
    assert list(wanted) == [50, 100, 150]
    found = seg.events("reset", out=killed)
    assert {e["step"] for e in found} == set(wanted)
    assert all(e["digest"] == wanted[e["step"]] for e in found)
    starts = [e["step"] for e in seg.events("resume", out=killed)]
    assert starts == sorted(starts)
    assert len(set(starts)) > 2  # how many depends on how fast the machine is

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
