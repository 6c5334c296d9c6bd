"""The examples that users copy from, each run as a user runs it."""

import json
import re

import pytest
from conftest import ROOT
from processes import run


def example(name, *arguments):
    """What `python examples/NAME.py` prints, in a process that knows nothing of these tests."""
    script = ROOT / "examples" / f"{name}.py"
    done = run(script, *arguments, RIFLE_EXT_AUTOLOAD="0", FLAGS_set_to_1d=None)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def around_reset(output, reset, loss):
    """The losses that a log shows before and after the line with the one reset."""
    before, *after = re.split(re.escape(reset), output)
    assert len(after) == 1, output
    return [[float(found) for found in re.findall(loss, part)] for part in (before, after[0])]


def check_recovery(before, after, end, within=0.0):
    """Accuracies right before each reset, right after it, and at the end; five classes."""
    assert len(before) == len(after) == 2
    assert min(before) > 0.6
    assert max(after) < 0.45
    assert end >= max(before) - within


def test_plain_loop():
    output = example("plain_loop")
    resets = re.findall(
        r"^reset after (\d+) epochs: accuracy ([\d.]+) before, ([\d.]+) after$", output, re.M
    )
    assert [int(epoch) for epoch, _, _ in resets] == [10, 20]
    (end,) = re.findall(r"^after 50 epochs: accuracy ([\d.]+)$", output, re.M)
    check_recovery([float(b) for _, b, _ in resets], [float(a) for _, _, a in resets], float(end))


def test_hapi_classifier():
    output = example("hapi_classifier")
    before, after = (
        {
            int(epoch): float(accuracy)
            for epoch, accuracy in re.findall(
                rf"^after (\d+) epochs, {when} RIFLE: accuracy ([\d.]+)$", output, re.M
            )
        }
        for when in ("before", "after")
    )
    assert list(before) == list(after) == [0, 10, 20, 30, 40]
    assert [epoch for epoch in before if before[epoch] != after[epoch]] == [10, 20]
    (end,) = re.findall(r"^after 50 epochs: accuracy ([\d.]+)$", output, re.M)
    # It ends a few images in a thousand below its best.
    check_recovery([before[10], before[20]], [after[10], after[20]], float(end), within=0.01)


def test_paddleseg_script(tmp_path):
    pytest.importorskip("paddleseg")
    output = example("paddleseg_script", "--data", tmp_path / "new")
    before, after = around_reset(
        output, "[RIFLE] reset 1 of 1 after iteration 20 ", r"\[TRAIN\].* loss: ([\d.]+)"
    )
    assert len(before) == len(after) == 4
    assert after[0] > 1.2 * before[-1]
    assert after[-1] < 0.85 * after[0]
    assert output.splitlines()[-1] == "iteration 20: 3 tensors were reset"
    events = (tmp_path / "new/output/rifle_events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in events] == ["plan", "reset", "end"]


def test_paddledetection_script():
    pytest.importorskip("ppdet")
    output = example("paddledetection_script")
    # The loss of the boxes. That of the classes starts low, as long as no box is good.
    before, after = around_reset(
        output, "[RIFLE] reset 1 of 1 after iteration 30 ", r"Epoch: .* loss_iou: ([\d.]+)"
    )
    assert len(before) == len(after) == 5
    after = after[1:]  # medians of six iterations: the first is of those before the reset
    assert after[0] > 1.2 * before[-1]
    assert after[-1] < 0.85 * after[0]
    assert output.splitlines()[-1] == "iteration 30: 12 tensors were reset"
