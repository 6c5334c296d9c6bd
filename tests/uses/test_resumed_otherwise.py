"""A PaddleDetection training that is resumed with another batch size."""

import copy

import det_runs
import pytest

from det_hooks import training

pytestmark = pytest.mark.timeout(120)


def trained(det, monkeypatch, **block):
    """Four epochs of 4 iterations, then from the end of the second one on epochs of 2."""
    fields = {"epoch": 4, "snapshot_epoch": 1, "rifle": {"keep_last": 0, **block}}
    det.train(first := det.config("first.yml", **fields))
    resets = [e["step"] for e in det.events(first, "reset")]
    reader = copy.deepcopy(det_runs.TINY["TrainReader"])
    reader["batch_size"] = 4
    path = det.config("second.yml", **fields, TrainReader=reader)
    said = []
    monkeypatch.setattr(training.logger, "warning", said.append)
    _, before, _ = det.train(path, resume=det.out(first) / "1")
    assert before.steps == [4, 5, 6, 7]
    text = "\n".join(said)
    assert "made after 8 iterations, which count as 4 now" in text
    rates = {rate for step in before.rates.values() for rate in step.values()}
    return resets, [e["step"] for e in det.events(path, "reset")], text, rates


def test_a_reset_by_iterations_is_not_done_again(det, monkeypatch):
    block = {"re_init_iter": 6, "max_re_num": 1, "head_lr": {"scale": 5}, "warm_up": 1}
    first, second, text, rates = trained(det, monkeypatch, **block)
    assert (first, second) == ([6], [])
    assert rates == {1.0}  # nor is there anything to recover from
    assert "done already, and left out: the reset after iteration 6" in text


def test_resets_by_epochs_stay_where_they_are(det, monkeypatch):
    first, second, text, _ = trained(det, monkeypatch, re_init_epoch=3, max_re_num=1)
    assert (first, second) == ([12], [6])
    assert "left out" not in text
