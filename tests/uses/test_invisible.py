"""The plan leaves no trace in model, data set and transforms, nor in what follows."""

import own_data
import pytest
import small
from lasting import state_of_all
from seg_runs import Watch, same
from small import fields

pytestmark = pytest.mark.timeout(120)

MODELS = [
    "Small", "Decorated", "FullGraph", "DecoratedInside", "Averaged", "Counting", "Hooked",
    "Drawing", "Opening", "Registering", "TwoViews",
]  # fmt: skip


class Around(Watch):
    """Notes all state when training begins, before RIFLE's plan and after it."""

    def on_train_begin(self, run):
        self.model, self.optimizer = run.model, run.optimizer
        self.state = state_of_all(run.model, self.dataset)


def trained(seg, monkeypatch, path):
    """Train; returns what was noted around the plan, and the parameters at each step."""
    from paddleseg.core import train  # noqa: F401
    from paddleseg.cvlibs import SegBuilder

    made = type(SegBuilder.train_dataset)

    def train_dataset(builder):  # the property keeps it under this name
        Around.dataset = original(builder)
        return Around.dataset

    original = SegBuilder.train_dataset.func
    monkeypatch.setattr("seg_runs.Watch", Around)
    monkeypatch.setattr(SegBuilder, "train_dataset", made(train_dataset))
    small.begin_anew()
    own_data.begin_anew()
    _, before, after = seg.train(path)
    monkeypatch.undo()
    return before, after


def compared(seg, monkeypatch, model, **more):
    """The plan changes nothing; until the first reset all is as without a block, bit for bit."""
    before, after = trained(seg, monkeypatch, seg.config(**fields(model, **more)))
    changed = {
        path: (before.state.get(path), after.state.get(path))
        for path in {*before.state, *after.state}
        if before.state.get(path) != after.state.get(path)
    }
    assert not changed
    assert len(before.state) > 50
    plain, _ = trained(seg, monkeypatch, seg.config("plain.yml", **fields(model, None, **more)))
    for step in range(5):
        assert same(plain.others[step], before.others[step]), step
    assert not same(before.others[4], plain.others[3])
    assert not same(after.others[4], before.others[4])
    assert [e["step"] for e in seg.events("reset")] == [4, 8]
    (plan,) = seg.events("plan")
    return plan


@pytest.mark.parametrize("model", MODELS)
def test_models_of_the_users_kind(seg, monkeypatch, model):
    described = {"path": str(seg.scenes / "train.txt")} if model == "Opening" else {}
    plan = compared(seg, monkeypatch, model, described=described)
    assert [layer["name"] for layer in plan["layers"]] == ["head"]


def test_data_sets_and_transforms_of_the_users_kind(seg, monkeypatch):
    archive = own_data.write_archive(seg.folder / "data.zip", seg.scenes)
    dataset = {
        "type": "Zipped", "archive": str(archive), "dataset_root": str(seg.scenes),
        "train_path": str(seg.scenes / "train.txt"), "mode": "train",
        "transforms": [{"type": "OwnNoise"}, {"type": "Normalize"}],
    }  # fmt: skip
    compared(seg, monkeypatch, "Small", train_dataset=dataset)
