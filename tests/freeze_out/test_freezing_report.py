"""What FreezeOut saved, read from what a training left; and its plan on a page."""

import json

import pytest
from processes import run as run_process
from seg_runs import said_into

from rifle_ext import cli
from rifle_ext.commands.report.freezing import Freezing, saved
from rifle_ext.commands.report.runs import load

pytestmark = pytest.mark.timeout(120)

FREEZINGS = [Freezing("freeze_out", 40, 2, 0.1), Freezing("freeze_out", 60, 1, 0.5)]


def test_what_was_saved():
    seconds = {10: 9.0, 20: 2.0, 30: 2.0, 40: 2.0, 50: 1.5, 60: 1.25, 70: 1.0, 90: 1.0}
    found = saved(seconds, FREEZINGS)
    assert (found.before, found.after) == (2.0, 1.0)  # the first one is warming up
    assert found.seconds == pytest.approx(10 * 0.5 + 10 * 0.75 + 10 * 1.0 + 20 * 1.0)
    assert found.part == pytest.approx(42.5 / 180)


def test_nothing_is_said_of_what_was_not_logged():
    assert saved({}, FREEZINGS) is None
    assert saved({20: 1.0, 30: 1.0}, FREEZINGS) is None
    assert saved({70: 1.0}, FREEZINGS) is None
    assert saved({20: 1.0, 70: 1.0}, []) is None


def trained(seg):
    path = seg.config(freeze_out={"layers": "all", "t_0": 0.5})
    seg.out.mkdir()
    with (seg.out / "train.log").open("w") as log, said_into(log):
        seg.train(path, log_iters=1, use_vdl=True)
    return path


def test_of_a_segmentation(seg, capsys):
    trained(seg)
    capsys.readouterr()
    run = load(seg.out)
    assert [(f.step, f.layers) for f in run.freezings] == [(6, 1), (8, 1), (10, 1)]
    lines = (seg.out / "train.log").read_text().splitlines()
    logged = [line for line in lines if "batch_cost: " in line and "[TRAIN]" in line]
    costs = [float(line.split("batch_cost: ")[1].split(",")[0]) for line in logged]
    assert run.curves.seconds == dict(zip(range(1, 13), costs))
    assert cli.main(["report", str(seg.out)]) == 0
    text = capsys.readouterr().out
    part = f"{run.freezings[-1].part:.1%}"
    assert f"  freeze_out: 3 layers frozen after iterations 6 to 10, {part} of all values\n" in text
    found = saved(run.curves.seconds, run.freezings)
    assert (
        f"an iteration took {found.before:.3f} s before, {found.after:.3f} s after that; "
        f"{found.seconds:.1f} s saved in all, {found.part:.1%} of the training's iterations"
    ) in text
    assert "freeze_out: freeze after" not in text
    assert "without resets, 12 iterations; freeze_out: {'layers': 'all'}" in text


def test_visualdl_shows_the_part_that_is_frozen(seg):
    from visualdl import LogReader

    trained(seg)
    reader = LogReader(file_path=str(next(seg.out.glob("vdlrecords.*"))))
    found = [(r.id, r.value) for r in reader.get_data("scalar", "FreezeOut/frozen")]
    wanted = [(e["step"], e["part"]) for e in seg.events("freeze")]
    assert [step for step, _ in found] == [step for step, _ in wanted]
    assert [value for _, value in found] == pytest.approx([part for _, part in wanted], abs=1e-5)


def test_of_a_detection(det, capsys):
    path = det.config(freeze_out={"t_0": 0.5, "layers": ["backbone"]}, epoch=2, log_iter=1)
    done = run_process("-m", "det_hooks.train", "-c", path)
    assert done.returncode == 0, done.stderr[-2000:]
    out = det.out(path)
    (out / "train.log").write_text(done.stdout)
    run = load(out)
    assert list(run.curves.seconds) == list(range(1, 9))
    assert all(seconds > 0 for seconds in run.curves.seconds.values())
    assert [freezing.step for freezing in run.freezings] == [4, 5, 6, 7]
    assert cli.main(["report", str(out)]) == 0
    text = capsys.readouterr().out
    assert "layers frozen after iterations 4 to 7, " in text and " s saved in all, " in text


def test_the_plan_on_a_page(seg, capsys):
    flags = [
        "plan",
        "--toolkit",
        "seg",
        "-c",
        str(seg.config(freeze_out={"layers": "all", "t_0": 0.25})),
    ]
    assert cli.main(flags) == 0
    text = capsys.readouterr().out
    assert "TinySeg: 3 layers freeze one after the other" in text
    rows = [line.split() for line in text.splitlines() if line[:2] in ("1 ", "2 ", "3 ")]
    assert rows == [
        ["1", "backbone.0", "1", "240", "3", "3"],
        ["2", "neck", "1", "72", "6", "6"],
        ["3", "head.0", "1", "88", "9", "9"],
    ]
    assert "  2 after iteration 6: neck is frozen; 47.9% of all values are\n" in text
    line = next(line for line in text.splitlines() if line.startswith("0 "))
    inside = line[3:63]
    assert [inside.index(mark) for mark in "123"] == [15, 30, 45]
    assert cli.main([*flags, "--json"]) == 0
    said = capsys.readouterr().out
    plan = json.loads(said[said.index("{") :])
    assert [layer["freezes_at"] for layer in plan["layers"]] == [3, 6, 9]
    assert plan["saving"]["backward_twice"] > plan["saving"]["paper"] > 0
