"""FreezeOut and RIFLE in one config: the clock starts after the last reset."""

import json

import pytest
from test_freezing import STEPS, table

from rifle_ext import cli

pytestmark = pytest.mark.timeout(120)

RIFLE = {"re_init_iter": 2, "max_re_num": 2, "keep_last": 0}
BOTH = {"rifle": RIFLE, "freeze_out": {"layers": "all", "t_0": 0.25, "lr": "own"}}


def test_in_paddleseg(seg, said):
    _, _, after = seg.train(seg.config(**BOTH))
    assert [e["step"] for e in seg.events("reset")] == [2, 4]
    wanted = table(BOTH["freeze_out"], 3, STEPS, start=4)
    assert [wanted.freezes_at(index) for index in range(3)] == [6, 8, 10]
    assert [e["step"] for e in seg.events("freeze")] == [6, 8, 10]
    highest = after.rate[4]  # the schedule's highest since then
    for step in range(STEPS):
        factor = after.rates[step]["backbone.0.weight"]
        if step < 4:
            assert factor == 1
        else:
            assert factor * after.rate[step] == pytest.approx(highest * wanted.factor(0, step))
    assert "nothing happens before iteration 4: until then rifle needs gradients" in said()


def test_their_rates_are_multiplied(seg):
    """RIFLE's `ramp` sets those of the same layers; its `warm_up` is waited for."""
    block = {**RIFLE, "max_re_num": 1, "warm_up": 1, "ramp": 3}
    freezing = {"layers": "all", "t_0": 0.5, "lr": "follow"}
    _, _, after = seg.train(seg.config(rifle=block, freeze_out=freezing))
    wanted = table(freezing, 3, STEPS, start=3)
    ramp = {2: 0, 3: 0.25, 4: 0.5, 5: 0.75}
    for step in range(2, STEPS):
        factor = after.rates[step]["neck.weight"]
        assert factor == pytest.approx(ramp.get(step, 1) * wanted.factor(1, step)), step


def test_in_paddledetection(det):
    path = det.config(epoch=2, **BOTH)
    det.train(path)
    assert [e["step"] for e in det.events(path, "reset")] == [2, 4]
    assert min(e["step"] for e in det.events(path, "freeze")) == 5


def test_the_plan_says_it(seg, capsys):
    path = seg.config(**BOTH)
    flags = ["plan", "--toolkit", "seg", "-c", str(path)]
    assert cli.main(flags) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "after iteration 4: the clock starts, as rifle needs all gradients until then" in text
    assert cli.main([*flags, "--json"]) == 0
    said = capsys.readouterr().out
    freezing = json.loads(said[said.index("{") :])["methods"]["freeze_out"]
    assert freezing["start"] == 4 and freezing["waits_for"] == ["rifle"]
    assert [layer["freezes_at"] for layer in freezing["layers"]] == [6, 8, 10]
