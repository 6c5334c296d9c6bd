"""`rifle-ext report`: read from what real trainings of both toolkits leave behind."""

import json
import math
import sys

import numpy as np
import pytest
from det_runs import DetRuns
from old_and_new import Twice
from processes import run as run_process
from seg_runs import SegRuns, said_into

from det_hooks import logs as det_logs
from rifle_ext import cli
from rifle_ext.commands.report.recovery import recoveries
from rifle_ext.commands.report.runs import load
from seg_hooks import logs as seg_logs

pytestmark = pytest.mark.timeout(240)

RIFLE = {"re_init_iter": 8, "max_re_num": 2, "keep_last": 0}


def train_seg(runs, name, block, seed=7, model="TinySeg", **arguments):
    """Train 24 iterations; what the toolkit prints goes into the output folder."""
    out = runs.folder / name
    out.mkdir()
    fields = {"model": {"type": model, "num_classes": 6}}
    fields.update({} if block is None else {"rifle": block})
    path = runs.config(f"{name}.yml", iters=24, **fields)
    arguments = {"save_interval": 4, "log_iters": 2, "evaluate": True, **arguments}
    with (out / "train.log").open("w") as log, said_into(log):
        _, before, after = runs.train(path, out=out, seed=seed, **arguments)
    return out, before, after


@pytest.fixture(scope="module")
def seg_run(scenes, tmp_path_factory):
    runs = SegRuns(scenes, tmp_path_factory.mktemp("seg"))
    block = {**RIFLE, "track": True}
    return runs, *train_seg(runs, "rifle", block, use_vdl=True, keep_checkpoint_max=9)


@pytest.fixture(scope="module")
def det_run(scenes, tmp_path_factory):
    runs = DetRuns(scenes, tmp_path_factory.mktemp("det"))
    path = runs.config(epoch=4, rifle={**RIFLE, "track": False}, use_ema=False, log_iter=1)
    flags = ["--enable_ce", "True", "--use_vdl", "True", "--vdl_log_dir", runs.folder / "vdl"]
    done = run_process("-m", "det_hooks.train", "-c", path, "--eval", *flags, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    (runs.out(path) / "train.log").write_text(done.stdout)
    return runs, runs.out(path)


def test_a_segmentation(seg_run):
    _, out, _, _ = seg_run
    run = load(out)
    lines = (out / "train.log").read_text().splitlines()
    logged = [float(line.split("loss: ")[1].split(",")[0]) for line in lines if "[TRAIN]" in line]
    assert run.curves.losses == dict(zip(range(2, 25, 2), logged))
    evaluated = [float(line.split("mIoU: ")[1].split()[0]) for line in lines if "mIoU: " in line]
    assert run.curves.metrics == dict(zip(range(4, 25, 4), evaluated))
    assert run.reset_steps == [8, 16] and run.total_steps == 24
    assert run.curves.metric == "mIoU"
    assert run.best[1] == max(evaluated) and run.last == (24, evaluated[-1])


def test_visualdl_says_what_the_log_says(seg_run, det_run):
    _, out, _, _ = seg_run
    text, scalars = load(out), load(out, logs=[next(out.glob("vdlrecords.*"))])
    assert scalars.curves.losses == pytest.approx(text.curves.losses, abs=6e-5)
    assert scalars.curves.metrics == pytest.approx(text.curves.metrics, abs=6e-5)
    runs, out = det_run
    text, scalars = load(out), load(out, logs=[runs.folder / "vdl"])
    assert scalars.curves.losses == pytest.approx(text.curves.losses, abs=1e-5)
    # VisualDL may lose what is written right before a process ends: here the last evaluation.
    shown = {step: text.curves.metrics[step] for step in scalars.curves.metrics}
    assert list(shown) in ([4, 8, 12], [4, 8, 12, 16])
    assert scalars.curves.metrics == pytest.approx(shown, abs=1e-3)


def test_a_detection(det_run):
    _, out = det_run
    run = load(out)
    assert list(run.curves.losses) == list(range(1, 17))
    assert list(run.curves.metrics) == [4, 8, 12, 16] and run.curves.metric == "mAP"
    assert run.reset_steps == [8]
    lines = (out / "train.log").read_text().splitlines()
    first = next(line for line in lines if "Epoch: [0] [0/4]" in line)
    assert run.curves.losses[1] == float(first.split(" loss: ")[1].split()[0])
    assert run.change_from == "checkpoints" and list(run.change) == [4, 8]
    assert (out / "model_final.pdparams").is_file()  # of iteration 16: the second period ends there
    assert all(change > 0 for change in run.change[8].values())


def test_how_far_the_weights_moved(seg_run):
    """The same from the checkpoints as from the tracker, where both saw the same steps."""
    runs, out, before, _ = seg_run
    tracked = load(out)
    assert tracked.change_from == "track" and list(tracked.change) == [0, 8, 16]
    events = (out / "rifle_events.jsonl").read_text().splitlines()
    untracked = runs.folder / "untracked"
    untracked.mkdir()
    for file in [*out.glob("iter_*"), out / "train.log"]:
        (untracked / file.name).symlink_to(file)
    kept = [line for line in events if json.loads(line)["event"] != "weights"]
    (untracked / "rifle_events.jsonl").write_text("\n".join(kept) + "\n")
    found = load(untracked)
    assert found.change_from == "checkpoints" and list(found.change) == [4, 8, 16]
    assert found.change[8] == pytest.approx(tracked.change[8], rel=1e-5)
    assert set(found.change[8]) == {"backbone", "neck", "head"}  # no output layer among them
    old, new = (before.others[step]["neck.weight"] for step in (8, 16))
    bias = [before.others[step]["neck.bias"] for step in (8, 16)]
    moved = math.hypot(np.linalg.norm(new - old), np.linalg.norm(bias[1] - bias[0]))
    wanted = moved / math.hypot(np.linalg.norm(old), np.linalg.norm(bias[0]))
    assert tracked.change[8]["neck"] == pytest.approx(wanted, rel=1e-4)


def test_an_output_layer_of_two_names_is_left_out_under_both(seg):
    out, _, _ = train_seg(
        seg, "twice", {**RIFLE, "max_re_num": 1}, model=Twice.__name__, evaluate=False
    )
    run = load(out)
    assert run.change_from == "checkpoints" and run.reset_steps == [8]
    assert set(run.change[8]) == {"backbone", "neck", "head"}


def test_text_and_picture_of_one(seg_run, capsys, tmp_path):
    _, out, _, _ = seg_run
    picture = tmp_path / "report.png"
    assert cli.main(["report", str(out), "-o", str(picture)]) == 0
    said = capsys.readouterr().out
    assert f"{out}: reset after 8, 16 of 24 iterations; logged until 24" in said
    assert "  reset 1 after iteration 8: training loss " in said
    assert "change of the weights in each period, % of their norm (tracked)" in said
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000
    assert cli.main(["report", str(out), "-o", str(tmp_path / "report.nonsense")]) == 2
    assert "report.nonsense: Format 'nonsense' is not supported" in capsys.readouterr().err


def test_several_are_compared_over_their_seeds(seg_run, capsys, tmp_path):
    runs, out, _, _ = seg_run
    second, _, _ = train_seg(runs, "second", {**RIFLE, "seed": 5}, seed=8)
    plain = [train_seg(runs, f"plain{seed}", None, seed=seed)[0] for seed in (7, 8)]
    folders = [out, second, *plain]
    assert cli.main(["report", *map(str, folders), "-o", str(tmp_path / "all.svg")]) == 0
    compared = capsys.readouterr().out.split("compared\n")[1].splitlines()
    lasts = [load(folder).last[1] for folder in folders]
    means = [np.mean(lasts[:2]), np.mean(lasts[2:])]
    deviations = [np.std(lasts[:2], ddof=1), np.std(lasts[2:], ddof=1)]
    rows = [line for line in compared if line.strip().startswith(("reset after", "without"))]
    assert [row.split("  ")[0].strip() for row in rows] == [
        "reset after 8, 16 of 24 iterations", "without resets, 24 iterations"
    ]  # fmt: skip
    for row, mean, deviation in zip(rows, means, deviations):
        assert f"{mean:.4f} ± {deviation:.4f}" in row
    assert f"{means[0] - means[1]:+.4f}" in rows[0]
    assert (tmp_path / "all.svg").read_text().count("<svg") == 1


def test_a_training_that_was_resumed(seg_run, scenes, tmp_path):
    """Both parts of a log; what was trained twice counts as it was the second time."""
    runs = SegRuns(scenes, tmp_path)
    out, _, _ = train_seg(runs, "resumed", RIFLE, iters=14)
    again = tmp_path / "again.log"
    with again.open("w") as log, said_into(log):
        path = tmp_path / "resumed.yml"
        runs.train(path, out=out, evaluate=True, resume_model=str(out / "iter_12"),
                   save_interval=4, log_iters=2)  # fmt: skip
    (out / "train2.log").write_text(again.read_text())
    run = load(out)
    first, second = (seg_logs.from_text((out / n).open()) for n in ("train.log", "train2.log"))
    assert list(first.losses) == list(range(2, 15, 2)) and min(second.losses) == 14
    assert run.curves.losses == {**first.losses, **second.losses}
    assert sorted(run.curves.metrics) == [4, 8, 12, 16, 20, 24]
    assert run.reset_steps == [8, 16]


def test_recovery_by_hand():
    losses = dict.fromkeys(range(2, 11, 2), 1.0)
    losses.update({12: 4.0, 14: 3.0, 16: 2.0, 18: 1.2, 20: 0.9, 22: 0.8, 24: 0.7, 26: 5.0})
    metrics = {10: 0.5, 15: 0.2, 20: 0.5, 30: 0.4}
    first, second = recoveries([10, 24], losses, metrics)
    assert (first.step, first.until, first.loss, first.peak) == (10, 24, 1.0, 4.0)
    assert first.loss_back == 12  # the mean of 1.2, 0.9 and 0.8 is below 1
    assert (first.metric, first.metric_back) == (0.5, 10)
    assert second.loss == pytest.approx(0.8) and second.loss_back is None
    assert (second.metric, second.metric_back, second.until) == (0.5, None, 30)
    (alone,) = recoveries([5], {}, {})
    assert (alone.loss, alone.peak, alone.loss_back, alone.metric) == (None, None, None, None)


def test_lines_of_paddleseg():
    assert seg_logs.from_text(["nothing", "loss: 3"]) is None
    best = "[EVAL] The {}model with the best validation mIoU ({}) was saved at iter {}."
    curves = seg_logs.from_text(
        [
            "x [INFO] [TRAIN] epoch: 1, iter: 10/60, loss: 1.5e-03, lr: 0.1",
            "[EVAL] #Images: 3 mIoU: 0.25 Acc: 0.5",
            best.format("", 0.25, 12),  # evaluated more often than logged
            "[EVAL] #Images: 3 mIoU: 0.75 Acc: 0.5",
            best.format("EMA ", 0.75, 12),
            "[EVAL] #Images: 3 mIoU: 0.35 Acc: 0.5",
            best.format("", 0.35, 16),
            "[TRAIN] epoch: 2, iter: 20/60, loss: nan, lr: 0.1",
            "[EVAL] #Images: 3 mIoU: 0.15 Acc: 0.5",
            best.format("", 0.35, 16),
            "[TRAIN] epoch: 2, iter: 30/60, loss: 1.0, lr: 0.1",
            "[EVAL] #Images: 3 mIoU: 0.45 Acc: 0.5",
        ]
    )
    assert math.isnan(curves.losses.pop(20)) and curves.losses == {10: 0.0015, 30: 1.0}
    assert curves.metrics == {12: 0.25, 16: 0.35, 20: 0.15, 30: 0.45}


def test_lines_of_paddledetection():
    assert det_logs.from_text(["nothing", "[TRAIN] epoch: 1, iter: 2/3, loss: 1.0"]) is None
    precision = " Average Precision  (AP) @[ IoU=0.50{} | area=   all | maxDets=100 ] = {}"
    curves = det_logs.from_text(
        [
            "Epoch: [1] [ 5/20] learning_rate: 0.1 loss_cls: 7.0 loss: 2.5 eta: 0",
            precision.format("     ", 0.9),
            precision.format(":0.95", 0.4),
            precision.format(":0.95", 0.3),  # masks
            "Epoch: [2] [ 5/20] learning_rate: 0.1 loss: 2.0 eta: 0",
            precision.format(":0.95", 0.5),  # in the middle of an epoch
            "Epoch: [2] [15/20] learning_rate: 0.1 loss: 1.9 eta: 0",
            precision.format(":0.95", -1),
            "Epoch: [3] [ 5/20] learning_rate: 0.1 loss: 1.8 eta: 0",
            "INFO: mAP(0.50, 11point) = 85.30%",
        ]
    )
    assert curves.losses == {26: 2.5, 46: 2.0, 56: 1.9, 66: 1.8}
    assert curves.metrics == {40: 0.4, 46: 0.5, 60: 0.0, 80: pytest.approx(0.853)}
    assert curves.steps_per_epoch == 20


def test_what_is_trained_again_counts_as_it_was_the_last_time(tmp_path):
    """A log that goes on with another training, a reset that a resumed one left out."""
    line = "[TRAIN] epoch: 1, iter: {}/40, loss: {}, lr: 0.1"
    log = [line.format(step, 1.0) for step in (10, 20, 30, 40)]
    log += ["[EVAL] #Images: 3 mIoU: 0.9 Acc: 0.5", line.format(10, 2.0), line.format(20, 2.0)]
    log += ["[EVAL] #Images: 3 mIoU: 0.3 Acc: 0.5"]
    (tmp_path / "train.log").write_text("\n".join(log))
    plan = {"event": "plan", "block": {}, "steps_per_epoch": 5, "total_steps": 20}
    reset = {"event": "reset", "step": 15, "parameters": ["x"], "duration_ms": 1.0}
    look = {"event": "weights", "since": 0, "change": {"backbone": 0.5}}
    told = [plan, {**look, "step": 5}, {**look, "step": 15}, reset, {**plan, "total_steps": 30},
            {"event": "resume", "step": 10}]  # fmt: skip
    (tmp_path / "rifle_events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in told))
    run = load(tmp_path)
    assert run.curves.losses == {10: 2.0, 20: 2.0} and run.curves.metrics == {20: 0.3}
    assert run.resets == [] and run.label == "no reset done, 30 iterations"
    assert run.change == {0: {"backbone": 0.5}}


def test_trainings_that_were_not_evaluated_are_compared_all_the_same(tmp_path, capsys):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        lines = [f"[TRAIN] epoch: 1, iter: {step}/40, loss: 1.0, lr: 0.1" for step in (10, 20)]
        if name == "three":
            lines.append("[EVAL] #Images: 3 mIoU: 0.3 Acc: 0.5")
        (tmp_path / name / "train.log").write_text("\n".join(lines))
    (tmp_path / "one/odd.log").mkdir()
    folders = [str(tmp_path / name) for name in ("one", "two", "three")]
    assert cli.main(["report", *folders[:2]]) == 0
    assert capsys.readouterr().out.count("not evaluated") == 2
    assert cli.main(["report", *folders]) == 0
    said = capsys.readouterr().out.splitlines()
    (row,) = [line for line in said if line[1:].startswith("without")]
    assert row.split()[4:] == ["3", "0.3000", "0.3000"]


def test_what_cannot_be_put_together_is_refused(seg_run, det_run, capsys, tmp_path):
    _, out, _, _ = seg_run
    runs, det_out = det_run
    assert cli.main(["report", str(out), str(det_out)]) == 2
    assert "different metrics cannot be compared" in capsys.readouterr().err
    (record,) = (runs.folder / "vdl").glob("vdlrecords.*")
    for copy in ("vdlrecords.1.log", "vdlrecords.2.log"):
        (tmp_path / copy).write_bytes(record.read_bytes())
    assert cli.main(["report", str(tmp_path)]) == 2
    assert "2 VisualDL records of a training that was resumed 0 times" in capsys.readouterr().err


def test_errors_are_one_line(seg_run, capsys, tmp_path):
    _, out, _, _ = seg_run

    def refused(*arguments):
        assert cli.main(["report", *map(str, arguments)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    missing = tmp_path / "missing"
    assert refused(missing).startswith(f"[RIFLE] {missing}: there is no such folder")
    said = refused(tmp_path)
    assert f"{tmp_path}: nothing there says how the training went" in said
    # Where there is no such folder yet, tee would keep nothing.
    assert f"`mkdir -p {tmp_path}; python tools/train.py ... | tee {tmp_path}/train.log`" in said
    assert f"--log {missing}: there is no such file or folder" in refused(out, "--log", missing)
    assert "--log: for one SAVE_DIR only" in refused(out, out, "--log", out / "train.log")
    (tmp_path / "rifle_events.jsonl").write_text("nonsense\n")
    assert "rifle_events.jsonl: not the events of a training" in refused(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'\xff{"event": "end"}\n', "'utf-8' codec can't decode byte 0xff"),
        ('{"event": "end"}\n'.encode("utf-16"), "'utf-8' codec can't decode byte 0xff"),
        (b'{"event": "end"}\n[]\n', "line 2: no event"),
        (b'{"step": 3}\n', "line 1: no event"),
        (b'{"event": "end"}\n{"event": "resume"}\n', "line 2: resume has no step"),
        (b'{"event": "reset", "step": 3, "duration_ms": 1}\n', "line 1: reset has no parameters"),
        (b'{"event": "freeze", "step": 3}\n', "line 1: freeze has no method, layers, part"),
        (b'{"event": "weights", "step": 3}\n', "line 1: weights has no since, change"),
        (b'{"event": "laid_over"}\n', "line 1: laid_over has no block_of, source"),
        (b'{"event": "plan", "total_steps": 9}\n', "line 1: plan has no steps_per_epoch"),
    ],
)
def test_damaged_events_are_one_line(content, said, capsys, tmp_path):
    path = tmp_path / "rifle_events.jsonl"
    path.write_bytes(content)
    (tmp_path / "train.log").write_text("[TRAIN] epoch: 1, iter: 10/10, loss: 1.0, lr: 0.1\n")
    assert cli.main(["report", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"[RIFLE] {path}: not the events of a training: {said}"), line


def test_numbers_that_are_none_are_left_out():
    line = "[TRAIN] epoch: 1, iter: {}/40, loss: {}, lr: 0.1, batch_cost: {}, reader_cost: 0.1"
    lines = [line.format(10, 1.5, 0.2), line.format(20, "1.2.3", 0.2), line.format(30, 2, "0.1.2")]
    curves = seg_logs.from_text([*lines, "[EVAL] #Images: 3 mIoU: 0.3.1 Acc: 0.5"])
    assert curves.losses == {10: 1.5, 30: 2.0} and curves.metrics == {}
    assert curves.seconds == {10: 0.2}


def test_nothing_of_paddle_is_needed_for_a_log(seg_run, capsys, monkeypatch, tmp_path):
    """Reports are made where the pictures are looked at, which may be no training machine."""
    _, out, _, _ = seg_run
    code = (
        "import sys; sys.modules['paddle'] = None; from rifle_ext import cli; "
        f"sys.exit(cli.main(['report', {str(out)!r}]))"
    )
    done = run_process("-c", code, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "reset after 8, 16 of 24 iterations" in done.stdout
    assert sys.modules["paddle"] is not None
