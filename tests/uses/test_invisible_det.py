"""As test_invisible.py, with PaddleDetection."""

import copy

import det_runs
import own_detection
import pytest
from det_runs import DetWatch, same

pytestmark = pytest.mark.timeout(120)

RIFLE = {"re_init_iter": 4, "max_re_num": 1, "keep_last": 0}


class Around(DetWatch):
    """Notes what of the data has been used when training begins, around the plan."""

    def on_train_begin(self, run):
        dataset = self.trainer.dataset
        (shade,) = [t for t in dataset.transform.transforms_cls if type(t).__name__ == "OwnShade"]
        streams = (shade.stream, own_detection.STREAM)
        self.used = dataset.opened, shade.calls, [str(s.bit_generator.state) for s in streams]


def trained(det, monkeypatch, name, block):
    """With a worker process, in which alone data is read."""
    monkeypatch.setattr(det_runs, "DetWatch", Around)
    own_detection.begin_anew()
    own_detection.write_archive(det.scenes)
    reader = copy.deepcopy(det_runs.TINY["TrainReader"])
    reader["sample_transforms"].insert(1, {"OwnShade": {}})
    dataset = {**det_runs.TINY["TrainDataset"], "name": "ZippedCOCO", "anno_path": "train.json"}
    dataset["dataset_dir"] = str(det.scenes)
    path = det.config(
        name, epoch=2, snapshot_epoch=9, worker_num=1, TrainReader=reader, TrainDataset=dataset,
        **block,
    )  # fmt: skip
    _, before, after = det.train(path)
    return path, before, after


def test_data_sets_and_transforms_of_the_users_kind(det, monkeypatch):
    path, before, after = trained(det, monkeypatch, "block.yml", {"rifle": RIFLE})
    _, plain, _ = trained(det, monkeypatch, "plain.yml", {})
    assert before.used == after.used
    assert before.used[:2] == (None, 0)
    for step in range(5):
        assert same(plain.values[step], before.values[step]), step
    assert not same(before.values[4], after.values[4])
    assert [e["step"] for e in det.events(path, "reset")] == [4]
