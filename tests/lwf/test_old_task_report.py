"""`rifle-ext report`: the old task's number beside the new one's."""

import io

import pytest
from old_and_new import Tasks
from seg_runs import said_into

from rifle_ext import cli
from rifle_ext.commands.report.old_task import OldTask
from rifle_ext.commands.report.runs import load
from rifle_ext.methods.lwf.export import export

pytestmark = pytest.mark.timeout(240)


def evaluated(config, weights):
    """What PaddleSeg's evaluation prints of some weights, and the mIoU that it returns."""
    from paddleseg.core import evaluate
    from paddleseg.cvlibs import Config, SegBuilder
    from paddleseg.utils import utils

    builder = SegBuilder(Config(str(config)))
    utils.load_entire_model(builder.model, str(weights))
    log = io.StringIO()
    with said_into(log):
        miou = evaluate(builder.model, builder.val_dataset)[0]
    return log.getvalue(), float(miou)


def trained(tasks, name, block):
    out = tasks.seg.folder / name
    out.mkdir()
    with (out / "train.log").open("w") as log, said_into(log):
        tasks.new(block, name, log_iters=1, evaluate=True)
    return out


def test_the_old_tasks_number_stands_beside_the_new_ones(seg, capsys):
    tasks = Tasks(seg)
    out, plain = trained(tasks, "new", {"weight": 2}), trained(tasks, "plain", "plain")
    export(out / "iter_12/model.pdparams", seg.folder / "kept.pdparams")
    texts, values = zip(
        *(evaluated(seg.folder / "old.yml", w) for w in (seg.folder / "kept.pdparams", tasks.old))
    )
    files = [seg.folder / "after.txt", seg.folder / "before.txt"]
    for file, text in zip(files, texts):
        file.write_text(text)
    now, before = (round(value, 4) for value in values)
    assert load(out).old_task is None
    assert load(out, old_task=files[:1]).old_task == OldTask(now, None)
    assert load(out, old_task=files).old_task == OldTask(now, before)
    (out / "old_task.log").write_text(texts[0])
    assert load(out).old_task == OldTask(now, None)
    (out / "old_task_before.log").write_text(texts[1])
    assert load(out).old_task == OldTask(now, before)
    assert load(out).curves.metrics.keys() == {4, 8, 12}  # which are not the old task's

    capsys.readouterr()
    assert cli.main(["report", str(out)]) == 0
    said = capsys.readouterr().out
    kept = f", {now / before:.0%} of that kept" if before else ""
    assert f"old task: mIoU {before:.4f} before the training, {now:.4f} after it{kept}\n" in said
    assert "without resets, 12 iterations; lwf: {'weight': 2.0}; logged until 12\n" in said
    assert "  lwf: distillation 12 times, after iterations 0 to 11\n" in said
    assert cli.main(["report", str(out), str(plain)]) == 0
    compared = capsys.readouterr().out.split("compared")[1]
    assert "old task's mIoU" in compared
    rows = [line.rstrip() for line in compared.splitlines() if "without" in line]
    assert [row.endswith(f" {now:.4f}") for row in rows] == [True, False]
    assert "not evaluated" in compared


@pytest.mark.parametrize(
    ("files", "folders", "said"),
    [
        (["no.log"], 1, "--old-task no.log: there is no such file"),
        (["config.yml"], 1, "config.yml: no mIoU is in it; it is to hold what the toolkit's"),
        (["config.yml"], 2, "--old-task: for one SAVE_DIR only"),
        (["config.yml"] * 3, 1, "--old-task: for one SAVE_DIR only"),
    ],
)
def test_what_tells_no_number_is_refused(seg, capsys, monkeypatch, files, folders, said):
    monkeypatch.chdir(seg.folder)
    seg.config("config.yml")
    seg.out.mkdir()
    line = "[TRAIN] epoch: 1, iter: 1/1, loss: 3.0, lr: 0.1, batch_cost: 0.1"
    (seg.out / "train.log").write_text(line)
    assert cli.main(["report", *[str(seg.out)] * folders, "--old-task", *files]) == 2
    assert said in capsys.readouterr().err
