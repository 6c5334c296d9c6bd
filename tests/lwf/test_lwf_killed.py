"""Killed at random moments, a training with an old head does what it would have done.

A best model is written over and over, the old head beside it first: of what kills leave of the two,
a pair of one step is exported, and any other refused.
"""

import shutil

import paddle
import pytest
from conftest import ROOT
from old_and_new import Tasks, numpy
from processes import path_with, run
from seg_runs import REPEATABLE, same

from rifle_ext.errors import RifleError
from rifle_ext.methods.lwf import old_head_file
from rifle_ext.methods.lwf.export import export

pytestmark = pytest.mark.timeout(240)

KILLS, ITERS = 6, 40


def config(seg, name, old, **fields):
    described = {"pretrained": str(old), "dropout": 0.0}
    batch = REPEATABLE["batch_size"]
    fields = {"iters": ITERS, "batch_size": batch, "lwf": None, **fields}
    return Tasks(seg, old=old).config(name, described=described, **fields)


def train(path, folder, kills):
    path_of_tests = path_with(ROOT / "tests", ROOT / "examples", ROOT)
    script = ROOT / "tests/helpers/killed_runs.py"
    done = run(script, path, folder, kills, 3, "best", timeout=200, PYTHONPATH=path_of_tests)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split("LIVES ")[1].split()[0]) == kills + 1


def test_killed_at_random_moments(seg):
    path = config(seg, "new.yml", Tasks(seg).old)
    whole, killed = seg.folder / "whole", seg.folder / "killed"
    train(path, whole, 0)
    train(path, killed, KILLS)
    wanted, found = (
        [numpy(part) for part in old_head_file.read(out / f"iter_{ITERS}/model.pdparams")]
        for out in (whole, killed)
    )
    assert all(same(one, other) for one, other in zip(wanted, found))  # the model, the old head

    steps = {step: killed / f"iter_{step}/model.pdparams" for step in range(1, ITERS + 1)}
    pairs = {s: [numpy(part) for part in old_head_file.read(path)] for s, path in steps.items()}
    left = sorted((killed / "left").iterdir())
    assert len(left) >= KILLS // 2
    for folder in left:
        try:
            export(folder / "model.pdparams", folder / "old.pdparams")
        except RifleError as error:
            said = str(error)
            assert "belongs to another state" in said or "killed while it wrote" in said
            continue
        exported = numpy(paddle.load(str(folder / "old.pdparams")))
        assert any(same(exported, {**model, **head}) for model, head in pairs.values())


def test_a_pair_of_two_steps_is_refused(seg):
    """As a kill leaves it between the writing of the old head and of the model."""
    tasks = Tasks(seg)
    tasks.new(None)
    eighth, last = (seg.folder / f"new/iter_{step}" for step in (8, 12))
    assert export(last / "model", seg.folder / "old.pdparams")[1] == 4
    shutil.copy(last / "model.pdlwf", eighth / "model.pdlwf")
    said = "model.pdlwf: it belongs to another state of model.pdparams than the one beside it"
    with pytest.raises(RifleError, match=f"lwf-export: .*{said}"):
        export(eighth / "model.pdparams", seg.folder / "old.pdparams")
    with pytest.raises(RifleError, match=f"the training cannot be resumed: .*{said}"):
        tasks.new(None, "again", resume_model=str(eighth))
    half = (last / "model.pdparams").read_bytes()[:-9]
    (last / "model.pdparams").write_bytes(half)
    with pytest.raises(RifleError, match="model.pdparams: cannot be read .* killed while it wrote"):
        export(last / "model.pdparams", seg.folder / "old.pdparams")
